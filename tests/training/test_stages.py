"""The stages of a recipe as one run: what each takes up, what is left alone, what refused. Training is a stand-in."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning

from cloudfix.errors import CloudfixWarning, DataError, OutputError, UsageError
from cloudfix.models import load, save
from cloudfix.training import stages
from cloudfix.training.datasets import open_dataset
from cloudfix.training.overrides import with_overrides
from cloudfix.training.recipe import Data, Recipe, Stage
from cloudfix.training.recipe_files import read_recipe
from cloudfix.training.simulated_pairs import write_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from cloudfix.training.datasets import Split

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
SIDE = 40
SMALL = ["data.crop=16", "simulate.images=3", "simulate.data.crop=24", "data.workers=0"]


@dataclass
class Trained:
    """Stands in for `fit`: writes the network as it gets it, a little changed, and remembers what it was given."""

    calls: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, stage: Stage, **given: Any) -> Path:
        weights: Path = given["out"] / f"{given['name']}.safetensors"
        if given["resume"] and weights.exists():
            return weights
        begun = {key: value.clone() for key, value in given["network"].state_dict().items()}
        self.calls.append({"stage": stage, "begun": begun, **given})
        given["out"].mkdir(parents=True)
        state = {key: value + 1 for key, value in begun.items()}
        given["network"].load_state_dict(state)
        save(weights, given["network"], given["card"])
        return weights


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    stand_in = Trained()
    monkeypatch.setattr(stages, "fit", stand_in)
    return stand_in


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Ten RGB pairs as PNG files."""
    random = np.random.default_rng(0)
    for kind in ("cloud", "label"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(10):
            write_png(
                tmp_path / "data" / kind / f"{number}.png", random.integers(0, 200, (3, SIDE, SIDE + 4), np.uint8)
            )
    return tmp_path / "data"


def write_png(path: Path, pixels: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        bands, height, width = pixels.shape
        shape = {"height": height, "width": width, "count": bands, "dtype": pixels.dtype}
        with rasterio.open(path, "w", driver="PNG", **shape) as file:
            file.write(pixels)


def thiefcloud() -> Recipe:
    return with_overrides(read_recipe("thiefcloud-plain"), SMALL)


def scpm() -> Recipe:
    """Pairs that are simulated, SCPM on them, and SCPM once more from there: quicker than ThiefCloud."""
    data = Data(crop=16, workers=0)
    trained = {"task": "thickness", "architecture": "scpm", "source": "simulate", "steps": 1, "data": data}
    stages = {
        "simulate": Stage(task="simulate", images=3, data=replace(data, crop=24)),
        "coarse": Stage(**trained),
        "fine": Stage(**trained, start="coarse"),
    }
    return Recipe("scpm.test", "a test", "none", "noise", stages)


def small_aca(*overrides: str) -> Recipe:
    given = ["options.blocks=4", "options.features=8", "data.crop=16", "data.resize=null", "data.dataset=pairs"]
    return with_overrides(read_recipe("aca-crnet-rice1"), [*given, *overrides])


@pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
def test_thiefcloud_runs_its_stages_one_on_the_other(trained: Trained, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert stages.run(thiefcloud(), pairs, out) == (out / "thiefcloud.plain.safetensors",)
    scpm, frozen, tunable = trained.calls
    assert (scpm["data"], scpm["stage"].data.dataset) == (out / "simulate", "simulated")
    assert (frozen["data"], frozen["stage"].data.dataset) == (pairs, "pairs")
    assert [call["name"] for call in trained.calls] == [
        "scpm.plain-scpm",
        "thiefcloud.plain-frozen",
        "thiefcloud.plain",
    ]
    prior = load(out / "scpm" / "scpm.plain-scpm.safetensors")[0].state_dict()
    for name, tensor in prior.items():
        assert torch.equal(frozen["begun"][f"prior.{name}"], tensor)
    before = load(out / "frozen" / "thiefcloud.plain-frozen.safetensors")[0].state_dict()
    assert all(torch.equal(tunable["begun"][name], tensor) for name, tensor in before.items())
    card = load(out / "thiefcloud.plain.safetensors")[1]
    assert card.name == "thiefcloud.plain"
    assert json.loads(card.recipe)["data"]["dataset"] == "pairs"


@pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
def test_a_resumed_run_leaves_alone_what_is_done(trained: Trained, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stages.run(scpm(), pairs, out)
    kept = {path: path.stat().st_mtime_ns for path in (out / "simulate").rglob("*.png")}
    (out / "scpm.test.safetensors").unlink()
    (out / "fine" / "scpm.test.safetensors").unlink()
    (out / "fine").rmdir()
    assert stages.run(scpm(), pairs, out, resume=True) == (out / "scpm.test.safetensors",)
    assert [call["name"] for call in trained.calls] == ["scpm.test-coarse", "scpm.test", "scpm.test"]
    assert kept == {path: path.stat().st_mtime_ns for path in (out / "simulate").rglob("*.png")}


@pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
def test_stages_run_alone_on_what_the_others_left(trained: Trained, pairs: Path, tmp_path: Path) -> None:
    out, recipe = tmp_path / "out", scpm()
    with pytest.raises(UsageError, match=r"stage coarse: source=simulate is not done, .* run --stage simulate first"):
        stages.run(recipe, pairs, tmp_path / "other", only="coarse")
    assert stages.run(recipe, pairs, out, only="simulate") == (out / "simulate",)
    with pytest.raises(UsageError, match="stage fine: start=coarse is not done"):
        stages.run(recipe, pairs, out, only="fine")
    assert stages.run(recipe, pairs, out, only="coarse") == (out / "coarse" / "scpm.test-coarse.safetensors",)
    with pytest.raises(UsageError, match=r"--out .*coarse: not empty; .*--resume"):
        stages.run(recipe, pairs, out, only="coarse")
    assert stages.run(recipe, pairs, out, only="coarse", resume=True)
    with pytest.raises(UsageError, match="--stage fien: unknown; did you mean 'fine'"):
        stages.run(recipe, pairs, out, only="fien")
    assert len(trained.calls) == 1
    assert stages.run(recipe, pairs, out, only="fine") == (out / "scpm.test.safetensors",)


@pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
def test_a_folder_belongs_to_one_run(trained: Trained, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stages.run(small_aca(), pairs, out)
    with pytest.raises(UsageError, match=r"--out .*out: not empty; go on with the run there by --resume"):
        stages.run(small_aca(), pairs, out)
    with pytest.raises(UsageError, match=r"recipe\.yaml: the run there has lr=7e-05, this recipe 0\.001;"):
        stages.run(small_aca("lr=1e-3"), pairs, out, resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: a file; expected a folder"):
        stages.run(small_aca(), pairs, tmp_path / "file")
    assert len(trained.calls) == 1


@pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
def test_every_stage_that_no_other_takes_up_is_a_result(trained: Trained, pairs: Path, tmp_path: Path) -> None:
    given = ["architecture=unet", "options.features=4", "data.crop=16"]
    recipe = with_overrides(read_recipe("attention-comparison"), given)
    results = stages.run(recipe, pairs, tmp_path / "out")
    assert [path.name for path in results] == [
        f"unet.attention-{kind}.safetensors" for kind in ("none", "dense", "attentive")
    ]
    assert [load(path)[1].options["attention"] for path in results] == ["none", "dense", "attentive"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["tunable.start=nowhere.safetensors"], "nowhere.safetensors: no such file"),
        (["frozen.prior=aca-crnet.multi"], "prior=aca-crnet.multi: weights of aca-crnet"),
        (["tunable.options.features=3"], "unknown option 'features'"),
        (["simulate.data.clouds.covre=[0, 1]"], r"clouds\.covre: unknown.* cover"),
        (["tunable.data.dataset=rice3"], "rice3: unknown"),
        (["tunable.data.validation=[nowhere]"], "nowhere: no such region"),
    ],
)
@pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
def test_what_would_end_the_last_stage_ends_the_run_before_it_begins(
    trained: Trained, pairs: Path, tmp_path: Path, overrides: list[str], told: str
) -> None:
    with pytest.raises(Exception, match=told):
        stages.run(with_overrides(thiefcloud(), overrides), pairs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unnamed_data_set_is_recognised_and_recorded(trained: Trained, pairs: Path, tmp_path: Path) -> None:
    with pytest.warns(CloudfixWarning, match="taken for pairs"):
        (weights,) = stages.run(small_aca("data.dataset=null"), pairs, tmp_path / "out")
    assert json.loads(load(weights)[1].recipe)["data"]["dataset"] == "pairs"
    # what the user said is what a resumed run is compared with
    assert read_recipe(tmp_path / "out" / "recipe.yaml") == small_aca("data.dataset=null")


@pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
def test_only_the_first_process_writes(
    trained: Trained, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert stages.run(small_aca(), pairs, tmp_path / "out") == ()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train"]


def simulate(**settings: Any) -> Stage:
    return Stage(task="simulate", **{"images": 3, "data": Data(crop=24), **settings})


@pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
def test_simulated_pairs_are_what_the_data_set_reads(pairs: Path, tmp_path: Path) -> None:
    clear = open_dataset("pairs", pairs, "train")
    write_pairs(simulate(images=12), clear, tmp_path / "made")
    made = open_dataset("simulated", tmp_path / "made", "train")
    samples = [made[index] for index in range(len(made))]
    clears, cloudies, thickness = (
        np.stack([getattr(s, key) for s in samples]) for key in ("clear", "cloudy", "thickness")
    )
    assert clears.shape[1:] == (3, 24, 24)
    changed = np.abs(cloudies - clears).mean(axis=1)
    assert 0.3 < thickness.max() <= 1
    assert changed[thickness > 0.3].mean() > 2 * changed[thickness < 0.03].mean()
    with rasterio.open(tmp_path / "made" / "thickness" / "0_p00000.png") as file:
        assert file.dtypes == ("uint16",)
    # whole images where they are smaller than the crop
    write_pairs(simulate(data=Data(crop=512)), clear, tmp_path / "whole")
    with rasterio.open(tmp_path / "whole" / "label" / "0_p00000.png") as file:
        assert file.shape == (SIDE, SIDE + 4)
        assert np.array_equal(file.read(), (clear[0].clear * 255).round().astype(np.uint8))


@pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
def test_simulated_pairs_depend_on_the_seed_and_their_number_alone(pairs: Path, tmp_path: Path) -> None:
    clear = open_dataset("pairs", pairs, "train")

    def written(name: str, **settings: Any) -> list[bytes]:
        write_pairs(simulate(**settings), clear, tmp_path / name)
        return [path.read_bytes() for path in sorted((tmp_path / name).rglob("*_p0000[0-2].png"))]

    first = written("first")
    assert written("again", images=5) == first
    assert len(set(first)) == len(first)
    assert not {*written("other", seed=1)} & {*first}


@pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
def test_simulated_pairs_of_one_image_are_in_one_split(pairs: Path, tmp_path: Path) -> None:
    clear = open_dataset("pairs", pairs, "train")
    write_pairs(simulate(images=2 * len(clear)), clear, tmp_path / "made")
    regions = [{*open_dataset("simulated", tmp_path / "made", split).regions()} for split in SPLITS]
    assert {*clear.regions()} == regions[0] | regions[1] | regions[2]
    assert sum(map(len, regions)) == len(clear)


@pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
def test_pairs_appear_whole_or_not_at_all(pairs: Path, tmp_path: Path) -> None:
    clear = open_dataset("pairs", pairs, "train")

    def interrupted(_title: str) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs(simulate(), clear, tmp_path / "made", interrupted)
    assert not (tmp_path / "made").exists()
    write_pairs(simulate(), clear, tmp_path / "made")
    assert len([*(tmp_path / "made").rglob("*.png")]) == 9
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
def test_an_unreadable_image_is_refused_or_skipped(pairs: Path, tmp_path: Path) -> None:
    clear = open_dataset("pairs", pairs, "train")
    damaged = pairs / "label" / "0.png"
    damaged.write_bytes(damaged.read_bytes()[:300])
    with pytest.raises(DataError, match=r"0\.png"):
        write_pairs(simulate(), clear, tmp_path / "refused")
    with pytest.warns(CloudfixWarning, match="skipped"):
        write_pairs(simulate(data=Data(crop=24, unreadable="skip")), clear, tmp_path / "skipped")
    assert len([*(tmp_path / "skipped").rglob("*.png")]) == 9


def test_images_without_colour_are_refused(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(CloudfixWarning, match="are taken"):
        clear = open_dataset("pairs", pairs, "train")
    monkeypatch.setattr(clear, "slots", ("red", "nir"))
    with pytest.raises(DataError, match="no green, blue; expected colour images"):
        write_pairs(simulate(), clear, tmp_path / "made")
