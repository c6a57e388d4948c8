from __future__ import annotations

import json
import math
import os
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import cloudfix.training
from cloudfix.errors import UsageError
from cloudfix.models import load
from cloudfix.sensors import SLOTS
from cloudfix.training.cases import real_cases, restore, simulated_cases
from cloudfix.training.corpus import Sample, build
from cloudfix.training.corpus import load as load_corpus
from cloudfix.training.datasets import BAND_SETS, BatchSampler
from cloudfix.training.loop import SAR_INPUTS, Training
from cloudfix.training.recipe import Phase, Recipe, Sampling
from cloudfix.training.report import PLAIN, Judged, card_metrics, panel, per_image, restorations, table

SIDE = 40
RECIPE = Path(cloudfix.training.__file__).parent / "recipes" / "aca-crnet-multi.yaml"


def sample(name: str, *, region: str = "here", paired: bool = False, sar: bool = True) -> Sample:
    random = np.random.default_rng(zlib.crc32(name.encode()))
    clear = random.integers(200, 3000, (len(SLOTS), SIDE, SIDE + 6)).astype(np.uint16)
    decibels = random.uniform(-30, 0, (2, SIDE, SIDE + 6)).astype(np.float32)
    cloudy, mask = None, None
    if paired:
        mask = random.random((SIDE, SIDE + 6)) < 0.5
        cloudy = np.where(mask, 8000, clear).astype(np.uint16)
    return Sample(name, region, SLOTS, clear, cloudy, mask, decibels if sar else None)


@pytest.fixture
def samples() -> list[Sample]:
    return [
        sample("pair", paired=True),
        sample("clear", sar=False),
        sample("small", region="elsewhere"),
        sample("judge", region="judged", paired=True),
    ]


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        name="tiny.test",
        architecture="aca-crnet",
        options={"in_channels": 15, "out_channels": 13, "blocks": 4, "features": 8},
        phases=(Phase(0.5, 16, 4), Phase(1.0, 24, 3)),
        validation=("judged",),
        test=("elsewhere",),
        card={"licence": "none", "training_data": "noise", "source": "a test"},
        steps=2,
        validate_every=2,
    )


def test_samples_survive_their_file(tmp_path: Path) -> None:
    original = sample("pair", paired=True)
    original.save(tmp_path)
    again = Sample.read(tmp_path / "pair.npz")
    assert (again.name, again.region, again.slots) == (original.name, original.region, original.slots)
    for name in ("clear", "cloudy", "mask", "sar"):
        np.testing.assert_array_equal(getattr(again, name), getattr(original, name))
    replace(original, name="bare", cloudy=None, mask=None, sar=None).save(tmp_path)
    assert Sample.read(tmp_path / "bare.npz").cloudy is None


def test_wrong_data_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--data .*expected a folder with sen12mscr/"):
        build(tmp_path / "nowhere", tmp_path / "cache")


def test_real_originals_are_harmonised(tmp_path: Path) -> None:
    originals = Path(os.environ.get("CLOUDFIX_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (originals / "sen12mscr").is_dir():
        pytest.skip("the training images are not here: set CLOUDFIX_DATA")
    build(originals, tmp_path)
    corpus = {sample.name: sample for sample in load_corpus(tmp_path)}
    recipe = Recipe.read(RECIPE)
    assert {*recipe.validation, *recipe.test} <= {sample.region for sample in corpus.values()}
    for sample in corpus.values():
        real = [SLOTS.index(slot) for slot in sample.slots]
        assert (sample.clear[real].reshape(len(real), -1).max(axis=1) > 0).all(), sample.name
        assert sample.clear[[i for i in range(13) if i not in real]].max(initial=0) == 0
    # dry air lets no sunlight through at the cirrus wavelength, so an offset that was left in shows there
    for name in ("282D_485L_3_3", "433D_629L_3_1", "609U_541L_3_0"):
        assert np.median(corpus[f"terramind_l1c_{name}"].clear[SLOTS.index("cirrus")]) < 100


def test_cases_lose_what_is_withheld() -> None:
    case = real_cases([sample("pair", paired=True)])[0]
    assert case.sar is not None
    assert case.without_sar().sar is None
    assert case.with_slots({"red", "nir"}).judged(case.clear).shape[0] == 2


def test_batches_depend_on_the_seed_alone(samples: list[Sample]) -> None:
    def drawn(seed: int) -> list[torch.Tensor]:
        batch = BatchSampler(samples, Sampling(band_sets={"landsat-8-l2": 0.5}), seed).batch(16, 6)
        return [batch.cloudy, batch.clear, batch.mask, batch.sar.nan_to_num(99), batch.present]

    for first, again in zip(drawn(3), drawn(3), strict=True):
        assert torch.equal(first, again)
    assert not torch.equal(drawn(3)[0], drawn(4)[0])


def test_batches_have_the_shapes_and_units_they_say(samples: list[Sample]) -> None:
    batch = BatchSampler(samples, Sampling(), 0).batch(24, 5)
    assert batch.cloudy.shape == batch.clear.shape == (5, 13, 24, 24)
    assert batch.mask.shape == (5, 1, 24, 24)
    assert batch.sar.shape == (5, 2, 24, 24)
    assert batch.present.shape == (5, 13)
    assert 0 < batch.clear.max() < 0.5
    assert set(batch.mask.unique().tolist()) <= {0.0, 1.0}


def test_real_pairs_are_cropped_alike(samples: list[Sample]) -> None:
    batch = BatchSampler(samples, Sampling(real=1.0), 0).batch(20, 16)
    clear_sky = (batch.mask == 0).expand_as(batch.clear)
    assert torch.equal(batch.cloudy[clear_sky], batch.clear[clear_sky])
    assert (batch.cloudy - batch.clear)[~clear_sky].min() > 0.2


def test_band_sets_and_sar_are_withheld(samples: list[Sample]) -> None:
    landsat = Sampling(band_sets={"landsat-8-l2": 1.0}, slot_dropped=0.0, sar_dropped=1.0)
    batch = BatchSampler(samples, landsat, 0).batch(16, 4)
    shown = {slot for slot, present in zip(SLOTS, batch.present[0], strict=True) if present}
    assert shown == BAND_SETS["landsat-8-l2"]
    assert batch.sar.isnan().all()
    one_less = BatchSampler(samples, Sampling(slot_dropped=1.0), 0).batch(16, 8).present
    assert (one_less.sum(dim=1) == 12).all()
    assert one_less[:, [SLOTS.index(slot) for slot in ("blue", "green", "red")]].all()


def test_too_large_crops_and_empty_data_are_refused(samples: list[Sample]) -> None:
    with pytest.raises(UsageError, match="no image of 64 pixels"):
        BatchSampler(samples, Sampling(), 0).batch(64, 1)
    with pytest.raises(UsageError, match="no sample"):
        BatchSampler([], Sampling(), 0)


def test_parts_make_up_the_batch(samples: list[Sample]) -> None:
    batch = BatchSampler(samples, Sampling(), 0).batch(16, 5)
    parts = batch.split(2)
    assert sum(share for _, share in parts) == pytest.approx(1)
    assert torch.equal(torch.cat([part.cloudy for part, _ in parts]), batch.cloudy)


def test_two_steps_give_weights_that_load_and_run(samples: list[Sample], recipe: Recipe, tmp_path: Path) -> None:
    path = Training(recipe, samples, tmp_path).run()
    network, card = load(path)
    assert card.slots == SLOTS
    assert card.sar == SAR_INPUTS
    assert json.loads(card.recipe)["validation"] == ["judged"]
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 2
    case = real_cases([sample("odd", paired=True)])[0]
    restored = restore(network, card, case, tile=32, bf16=False)
    assert restored.shape == case.cloudy.shape
    assert np.isfinite(restored).all()


def test_training_is_reproducible(samples: list[Sample], recipe: Recipe, tmp_path: Path) -> None:
    first, again = (load(Training(recipe, samples, tmp_path / part).run())[1].checksum for part in "ab")
    assert first == again


def test_training_starts_as_the_identity(samples: list[Sample], recipe: Recipe, tmp_path: Path) -> None:
    training = Training(recipe, samples, tmp_path)
    inputs = torch.rand(1, 15, 16, 16)
    assert torch.equal(training.network(inputs), inputs[:, 2:])


def test_a_step_is_adamw_on_the_gradient_of_the_batch(samples: list[Sample], recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.replace(warm_up=1, clip=1e9, weight_decay=0.0)
    trained, reference = (Training(recipe, samples, tmp_path) for _ in range(2))
    for training in (trained, reference):
        for parameter in training.network.parameters():
            torch.nn.init.normal_(parameter, 0.0, 0.1, generator=torch.Generator().manual_seed(1))
    before = [parameter.detach().clone() for parameter in reference.network.parameters()]
    _, gradients = reference._gradients((reference._sampler.batch(16, 4), 1.0))
    trained._step(1, 0.0)
    for parameter, old, gradient in zip(trained.network.parameters(), before, gradients, strict=True):
        # the first step of Adam moves each weight by the learning rate against the sign of its gradient
        large = gradient.abs() > max(0.1 * float(gradient.abs().max()), 1e-6)
        moved = (parameter.detach() - old)[large]
        assert torch.allclose(moved, -recipe.learning_rate * gradient[large].sign(), rtol=0.05)


def test_training_goes_on_from_weights(samples: list[Sample], recipe: Recipe, tmp_path: Path) -> None:
    path = Training(recipe, samples, tmp_path).run()
    further = Training(recipe.replace(seed=9), samples, tmp_path / "further", start=path)
    for name, tensor in load(path)[0].state_dict().items():
        assert torch.equal(further.network.state_dict()[name], tensor)


def test_recipes_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Recipe.read(tmp_path / "missing.yaml")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: x\nphases: []\nlearning_rat: 1\n")
    with pytest.raises(UsageError, match="learning_rat"):
        Recipe.read(wrong)


@pytest.mark.parametrize("path", sorted(RECIPE.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_complete(path: Path) -> None:
    recipe = Recipe.read(path)
    assert recipe.phases[-1].until == 1
    assert set(recipe.sampling.band_sets) <= set(BAND_SETS)
    assert not {*recipe.validation} & {*recipe.test}


def test_phases_follow_progress(recipe: Recipe) -> None:
    assert [recipe.phase(progress).crop for progress in (0.0, 0.49, 0.5, 1.0)] == [16, 16, 24, 24]


def test_the_report_names_each_method_and_draws_each_case(tmp_path: Path) -> None:
    cases = [*real_cases([sample("pair", paired=True)]), *simulated_cases([sample("clear")], seed=3)]
    judged = [Judged.of(case, {"copy": case.cloudy, PLAIN: case.clear}) for case in cases]
    rows = table(judged).splitlines()
    assert rows[2].startswith("| copy |")
    assert rows[3].startswith(f"| {PLAIN} | inf | 1.000 | 0.00 | 0.0000")
    assert len(per_image(judged).splitlines()) == 2 + len(cases)
    assert judged[0].changed["copy"] == 0
    figures = card_metrics(judged[:1], judged[1:])
    assert figures["test psnr, simulated cloud"] == math.inf
    assert figures["test sam"] == 0
    panel(judged, tmp_path / "panel.png")
    assert (tmp_path / "panel.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_restores_by_every_method(samples: list[Sample], recipe: Recipe, tmp_path: Path) -> None:
    training = Training(recipe, samples, tmp_path)
    case = real_cases([sample("pair", paired=True)])[0]
    images = restorations(training.network, replace(training.card, tile=32, overlap=0), case)
    assert images["nearest-clear"].max() < images["copy (the input)"].max()
    kept = images[f"{PLAIN}, clear pixels kept"]
    assert np.array_equal(kept[:, ~case.mask], case.cloudy[:, ~case.mask])
