"""A run of the training loop: what it learns by, what it leaves, what it refuses."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cloudfix.errors import CloudfixWarning, DataError, OutputError, UsageError
from cloudfix.models import Card, create, load
from cloudfix.training import checkpoints
from cloudfix.training.averaging import Averaging
from cloudfix.training.checkpoints import BEST, JOURNAL, LAST, WholeFiles
from cloudfix.training.draws import Crop
from cloudfix.training.fit import fit
from cloudfix.training.module import Learner
from cloudfix.training.panels import panel
from cloudfix.training.recipe import Data, Loss, Stage
from cloudfix.training.schedule import Plan, learning_rate
from cloudfix.training.validation import Judged

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*are taken")

RGB = ("red", "green", "blue")
OPTIONS = {"in_channels": 3, "out_channels": 3, "blocks": 4, "features": 4}
CARD = Card("aca-crnet.t", "aca-crnet", OPTIONS, RGB, tile=32, overlap=0)
SCPM = Card("scpm.t", "scpm", {}, RGB, role="thickness", tile=32, overlap=0)
SMALL = Data(crop=16, workers=0)
TWO_STEPS = Stage(steps=2, validate_every=1, batch=2, data=SMALL)


@pytest.fixture
def pairs(dataset_files: Any) -> Path:
    """Ten pairs: seven train, one validates, two test."""
    return dataset_files.pairs("pairs", range(10), side=32)


@pytest.fixture
def train(pairs: Path, tmp_path: Path) -> Any:
    def run(stage: Stage, *, out: str = "run", card: Card = CARD, resume: bool = False, **given: Any) -> Path:
        torch.manual_seed(0)
        network = create(card.architecture, **card.options)
        places = {"data": pairs, "out": tmp_path / out, "accelerator": "cpu", "devices": 1}
        return fit(stage, name=card.name, card=card, network=network, resume=resume, **{**places, **given})

    return run


def journal(weights: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (weights.parent / JOURNAL).read_text().splitlines()]


def test_a_run_leaves_weights_with_what_was_measured(train: Any) -> None:
    weights = train(replace(TWO_STEPS, steps=3, seed=5))
    network, card = load(weights)
    assert network(torch.rand(1, 3, 16, 16)).shape == (1, 3, 16, 16)
    assert (card.slots, card.tile) == (CARD.slots, CARD.tile)
    assert [record["step"] for record in journal(weights)] == [1, 2, 3]
    best = max(journal(weights), key=lambda record: record["psnr"])
    assert card.metrics["validation psnr"] == pytest.approx(best["psnr"], abs=1e-3)
    expected = {"step of the best": best["step"], "steps": 3, "images": 6, "seed": 5}
    assert {name: card.metrics[name] for name in expected} == expected
    assert card.metrics["hardware"].startswith("1 × ")
    assert card.metrics["minutes"] < 5


def test_tensorboard_shows_losses_metrics_and_panels(train: Any) -> None:
    weights = train(replace(TWO_STEPS, steps=10, validate_every=5))
    events = EventAccumulator(str(weights.parent / "tensorboard"), {"images": 0}).Reload()
    scalars = {"train/loss", "train/lr", "train/mean loss", "validation/psnr", "validation/mae", "validation/sam"}
    assert scalars <= set(events.Tags()["scalars"])
    assert len(events.Scalars("validation/psnr")) == 2
    (tag,) = events.Tags()["images"]
    image = events.Images(tag)[-1]
    # cloudy, restored, truth, mask that nobody knows left out, difference
    assert (image.height, image.width) == (32, 4 * 32 + 3 * 4)


def test_panels_hold_everything_side_by_side() -> None:
    clear, cloudy, restored = (np.full((3, 8, 8), value, np.float32) for value in (0.4, 0.8, 0.5))
    centres = [4, 16, 28, 40, 52]
    shown = panel(Judged("a", RGB, cloudy, restored, clear, np.eye(8) > 0, {}))[0, 0, centres] / 255
    assert shown == pytest.approx([1, 1, 0.8, 0, 0.2], abs=0.01)
    output, truth = (np.full((1, 8, 8), value, np.float32) for value in (0.4, 0.6))
    shown = panel(Judged("a", RGB, cloudy, output, truth, None, {}))[0, 0, centres[:4]] / 255
    assert shown == pytest.approx([0.8, 0.4, 0.6, 0.2], abs=0.01)


def test_the_same_seed_gives_the_same_weights(train: Any) -> None:
    first, again, other = (
        load(train(replace(TWO_STEPS, seed=seed), out=out))[1].checksum for out, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other


def test_a_finished_run_is_left_as_it_is(train: Any) -> None:
    weights = train(TWO_STEPS)
    before = weights.stat().st_mtime_ns, (weights.parent / LAST).stat().st_mtime_ns
    assert train(TWO_STEPS, resume=True) == weights
    assert (weights.stat().st_mtime_ns, (weights.parent / LAST).stat().st_mtime_ns) == before


def test_a_run_that_only_lacks_its_last_file_trains_no_further(train: Any) -> None:
    weights = train(replace(TWO_STEPS, steps=9, patience=1, lr=1e-12))
    checksum, lines = load(weights)[1].checksum, journal(weights)
    assert len(lines) < 9
    weights.unlink()
    assert load(train(replace(TWO_STEPS, steps=9, patience=1, lr=1e-12), resume=True))[1].checksum == checksum
    assert journal(weights) == lines


def test_resuming_with_other_batches_is_refused(train: Any) -> None:
    train(TWO_STEPS).unlink()
    with pytest.raises(UsageError, match="the run had 2 images a step, now there are 3; go on with as many"):
        train(replace(TWO_STEPS, batch=3), resume=True)


def test_patience_ends_a_run_that_gets_no_better(train: Any) -> None:
    weights = train(replace(TWO_STEPS, steps=50, patience=2, lr=1e-12))
    assert len(journal(weights)) == 3
    assert load(weights)[1].metrics["step of the best"] == 1


def test_the_clock_ends_a_run(train: Any) -> None:
    weights = train(replace(TWO_STEPS, steps=None, minutes=0.01, validate_every=10_000))
    (line,) = journal(weights)
    assert 1 <= line["step"] < 10_000


def test_gradients_add_up_over_batches(train: Any) -> None:
    together, apart = (
        train(replace(TWO_STEPS, batch=batch, accumulate=4 // batch, optimiser="sgd", lr=0.1), out=str(batch))
        for batch in (4, 2)
    )
    for first, second in zip(journal(together), journal(apart), strict=True):
        assert first["loss"] == pytest.approx(second["loss"], rel=1e-4)
        assert first["psnr"] == pytest.approx(second["psnr"], rel=1e-4)


@pytest.mark.parametrize(
    ("optimiser", "precision"), [("adam", "fp32"), ("adamw", "bf16"), ("nadam", "fp32"), ("sgd", "bf16")]
)
def test_every_optimiser_learns(train: Any, optimiser: str, precision: str) -> None:
    stage = Stage(steps=8, validate_every=4, batch=4, data=SMALL, precision=precision, optimiser=optimiser, lr=0.01)
    first, last = journal(train(replace(stage, clip=1.0, warm_up=2, schedule="cosine", loss=Loss("carl"))))
    assert last["loss"] < first["loss"]


def test_half_precision_needs_a_gpu(train: Any) -> None:
    with pytest.raises(UsageError, match=r"precision=fp16: needs a GPU; on a CPU take bf16"):
        train(replace(TWO_STEPS, precision="fp16"))
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match=r"--accelerator gpu --devices 1: not on this machine"):
            train(TWO_STEPS, accelerator="gpu")


def test_the_thickness_network_learns_from_simulated_cloud(train: Any) -> None:
    weights = train(replace(TWO_STEPS, task="thickness", architecture="scpm", batch=4), card=SCPM)
    card = load(weights)[1]
    assert card.role == "thickness"
    assert 0 < card.metrics["validation mae"] < 2
    assert {"loss", "mae"} <= set(journal(weights)[0])


def test_what_is_frozen_stays_but_its_batch_norms_follow(train: Any, tmp_path: Path) -> None:
    card = Card("thiefcloud.t", "thiefcloud", {}, RGB, tile=32, overlap=0)
    stage = replace(TWO_STEPS, steps=1, architecture="thiefcloud", freeze=("prior",), loss=Loss("thiefcloud"))
    torch.manual_seed(0)
    before = {name: value.clone() for name, value in create("thiefcloud").state_dict().items()}
    after = load(train(stage, card=card))[0].state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    prior = {name for name in moved if name.startswith("prior.")}
    assert all(name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name in prior)
    assert prior
    assert "embed.weight" in moved
    with pytest.raises(UsageError, match=r"freeze=scpm: the network has no such part; it has prior, embed"):
        train(replace(stage, freeze=("scpm",)), card=card)


def test_averaged_weights_are_kept(train: Any) -> None:
    stage = replace(TWO_STEPS, steps=3, validate_every=3, lr=0.01)
    plain, averaged = (load(train(replace(stage, ema=ema), out=str(ema)))[0] for ema in (0.0, 0.999))
    states = torch.load(train(replace(stage, ema=0.999), out="again").parent / LAST)
    for name, weight in averaged.state_dict().items():
        assert torch.equal(states["state_dict"][f"network.{name}"], weight)
    for name, weight in plain.state_dict().items():
        assert torch.allclose(states["current_model_state"][f"network.{name}"], weight)
    assert not torch.equal(plain.get_parameter("stem.weight"), averaged.get_parameter("stem.weight"))


def test_the_average_follows_quickly_at_first() -> None:
    average = Averaging(0.9)._average
    old, count = [torch.zeros(3)], torch.tensor(1)
    average(old, [torch.ones(3)], count)
    assert old[0].tolist() == pytest.approx([1 - 2 / 11] * 3)
    average(old, [torch.zeros(3)], torch.tensor(1000))
    assert old[0].tolist() == pytest.approx([0.9 * (1 - 2 / 11)] * 3)
    counts = [torch.tensor([3])]
    average(counts, [torch.tensor([7])], count)
    assert counts[0].item() == 7


def test_a_step_is_adamw_on_the_gradient_of_the_batch() -> None:
    torch.manual_seed(1)
    stage = replace(TWO_STEPS, optimiser="adamw", lr=1e-3)
    learner = Learner(stage, CARD, create("aca-crnet", **OPTIONS))
    clear = torch.rand(4, 3, 16, 16)
    ones, zeros = torch.ones(4, 1, 16, 16), torch.zeros(4, 1, 16, 16)
    known = torch.ones(4, 3, dtype=torch.bool)
    crops = Crop(clear + 0.3, clear, ones, clear[:, :0], zeros, known, ~known[:, 0], torch.arange(4), [""] * 4)
    optimiser = learner.configure_optimizers()
    learner.log = lambda *_: None  # type: ignore[method-assign]
    learner.training_step(crops, 0).backward()
    gradients = {name: parameter.grad.contiguous() for name, parameter in learner.named_parameters()}
    before = {name: parameter.detach().clone() for name, parameter in learner.named_parameters()}
    for name, parameter in learner.named_parameters():
        # as they come out of a sum over processes, say: not in the memory format of the weights
        parameter.grad = gradients[name]
    optimiser.step()
    for name, parameter in learner.named_parameters():
        # the first step of Adam moves each weight by the learning rate against the sign of its gradient
        large = gradients[name].abs() > max(0.1 * float(gradients[name].abs().max()), 1e-6)
        moved = (parameter.detach() - before[name])[large]
        assert torch.allclose(moved, -1e-3 * gradients[name][large].sign(), rtol=0.05)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_file_is_named_and_refused_or_skipped(train: Any, pairs: Path, workers: int) -> None:
    picture = pairs / "cloud" / "3.png"
    picture.write_bytes(picture.read_bytes()[:-400])
    stage = replace(TWO_STEPS, steps=4, validate_every=4, data=replace(SMALL, workers=workers))
    with pytest.raises(DataError, match=r"3\.png.*data\.unreadable=skip") as refused:
        train(stage, out="refused")
    assert "\n" not in str(refused.value)
    with pytest.warns(CloudfixWarning, match=r"3\.png"):
        weights = train(replace(stage, data=replace(stage.data, unreadable="skip")))
    assert journal(weights)[-1]["step"] == 4


def test_a_failed_checkpoint_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, path = WholeFiles(), tmp_path / LAST
    files.save_checkpoint({"step": 1}, path)

    def half(_checkpoint: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(checkpoints.torch, "save", half)
    with pytest.raises(OutputError, match=r"last\.ckpt: cannot be written \(no space left\); free some space"):
        files.save_checkpoint({"step": 2}, path)
    assert files.load_checkpoint(path) == {"step": 1}


def test_the_best_weights_are_those_of_the_best_validation(train: Any) -> None:
    # at such a rate the network gets worse from step to step
    stage = replace(TWO_STEPS, steps=3, optimiser="sgd", lr=10.0, warm_up=3)
    weights = train(stage)
    scores = [record["psnr"] for record in journal(weights)]
    best = scores.index(max(scores)) + 1
    assert best < 3
    shorter = train(replace(stage, steps=best), out="shorter")
    assert load(shorter)[1].checksum == load(weights)[1].checksum
    assert (weights.parent / BEST).exists()


def test_plans_end_with_whatever_comes_first() -> None:
    stage = Stage(epochs=10, batch=3, accumulate=2, data=SMALL)
    assert Plan.of(stage, 100, 2) == Plan(images=12, interval=9, steps=84, minutes=None)
    assert Plan.of(replace(stage, steps=5), 100, 2) == Plan(images=12, interval=5, steps=5, minutes=None)
    timed = Plan.of(replace(stage, epochs=None, minutes=2.0, validate_every=50), 100, 1)
    assert timed == Plan(images=6, interval=50, steps=None, minutes=2.0)
    assert timed.progress(10**6, 60) == 0.5
    assert Plan(1, 1, steps=100, minutes=1.0).progress(25, 45) == 0.75
    assert Plan(1, 1, steps=100, minutes=1.0).progress(200, 45) == 1


def test_learning_rates_follow_the_run() -> None:
    stage = Stage(epochs=1, lr=8e-4, final_lr=2e-4, data=SMALL)
    cosine, poly = (replace(stage, schedule=schedule) for schedule in ("cosine", "poly"))
    assert [learning_rate(stage, 5, progress) for progress in (0, 0.5, 1)] == [8e-4] * 3
    assert [learning_rate(cosine, 5, p) for p in (0, 0.5, 1)] == pytest.approx([8e-4, 5e-4, 2e-4])
    assert [learning_rate(poly, 5, p) for p in (0, 0.5, 1)] == pytest.approx([8e-4, 8e-4 * 0.5**0.9, 0])
    warm = replace(stage, warm_up=4)
    assert [learning_rate(warm, step, 0) for step in (0, 1, 3, 9)] == pytest.approx([2e-4, 4e-4, 8e-4, 8e-4])
    assert math.isclose(learning_rate(replace(cosine, warm_up=4), 1, 0.5), 2.5e-4)
