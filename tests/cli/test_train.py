"""`cloudfix train` as a user types it: every recipe on a little real data, to weights that restore and are judged."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin
from typer.testing import CliRunner

from cloudfix.cli import app
from cloudfix.errors import CloudfixError
from cloudfix.models import load
from cloudfix.training.recipe_files import list_recipes, read_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

QUICK = (
    "data.crop=16",
    "data.workers=0",
    "batch=2",
    "epochs=null",
    "minutes=null",
    "steps=2",
    "validate_every=2",
    "tile=32",
    "overlap=8",
)
NARROW = ("options.blocks=4", "options.features=4")

PARTS = ("cloud", "label")

RUNS = {
    "aca-crnet-rice1": ("rice/RICE1", (*NARROW, "data.resize=32")),
    "aca-crnet-rice2": ("rice/RICE2", (*NARROW, "data.resize=32")),
    "aca-crnet-sen12mscr": ("sen12mscr", (*NARROW, "data.resize=32")),
    "dsen2-cr-sen12mscr": ("sen12mscr", (*NARROW, "data.resize=32")),
    "attention-comparison": ("rice/RICE2", (*NARROW, "data.resize=32")),
    "scpm": ("rice/RICE1", ("data.resize=32",)),
    "scpm-rgb": ("corpus", ("data.resize=32",)),
    "thiefcloud": ("rice/RICE1", ("data.resize=32", "simulate.images=12", "simulate.data.crop=32")),
    "thiefcloud-plain": ("rice/RICE1", ("data.resize=32", "simulate.images=12", "simulate.data.crop=32")),
    "thiefcloud-rgb": ("rice/RICE1", ("data.resize=32", "data.validation=[]", "data.test=[]")),
    "aca-crnet-rgb": ("corpus", (*NARROW, "data.resize=32", "precision=fp32")),
    "aca-crnet-scenes": ("scenes", ("data.resize=32",)),
    "aca-crnet-multi": ("corpus", (*NARROW, "data.resize=32", "precision=fp32")),
}
"""The folder of data of each recipe, and how it is cut down."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On tiny tensors threads cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where masks and corpus are kept for all tests of this file."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A little of the real imagery: ten pairs of each kind, clear scenes, and all that the corpus is made of."""
    folder = tmp_path_factory.mktemp("data")
    subsets = {
        **{f"rice/{kind}/{part}": f"rice/{kind}/{part}/*0.png" for kind in ("RICE1", "RICE2") for part in PARTS},
        "sen12mscr": "sen12mscr/sen12mscr_[1-4]*.tif",
        "scenes": "sen12mscr/*_summer_*_s2_clear.tif",
    }
    for subset, pattern in subsets.items():
        (folder / subset).mkdir(parents=True)
        for path in real_data.glob(pattern):
            (folder / subset / path.name).symlink_to(path)
    (folder / "corpus").symlink_to(real_data)
    return folder


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes into the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "120"})


def train(*arguments: object) -> list[Path]:
    result = invoke("train", *arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return [Path(line) for line in result.stdout.splitlines()]


def write_scene(path: Path, bands: int) -> None:
    """An 8-bit RGB scene, or a 13-band one of Sentinel-2, and mask.tif beside it."""
    values = np.random.default_rng(0).integers(20, 90, (bands, 40, 48)) * (1 if bands == 3 else 30)
    mask = np.zeros((1, 40, 48), np.uint8)
    mask[:, 10:22, 10:22] = 1
    for file, pixels in (
        (path, values.astype("uint8" if bands == 3 else "uint16")),
        (path.with_name("mask.tif"), mask),
    ):
        profile = {"count": len(pixels), "dtype": pixels.dtype, "height": 40, "width": 48, "crs": "EPSG:32617"}
        with rasterio.open(file, "w", driver="GTiff", transform=from_origin(5e5, 4e6, 10, 10), **profile) as target:
            target.write(pixels)


@pytest.mark.parametrize("name", list_recipes())
@pytest.mark.filterwarnings("ignore")
def test_a_recipe_ends_in_weights_that_serve(name: str, data: Path, tmp_path: Path) -> None:
    folder, cut = RUNS[name]
    products = train(name, "--data", data / folder, "--out", tmp_path / "out", "--accelerator", "cpu", *QUICK, *cut)
    assert len(products) == (3 if name == "attention-comparison" else 1)
    for weights in products:
        assert weights.parent == tmp_path / "out"
        card = load(weights)[1]
        assert card.name == weights.name.removesuffix(".safetensors")
        assert card.licence == read_recipe(name).licence
        assert json.loads(card.recipe)["steps"] == 2
    if card.role == "restore":
        _restores(products[0], len(card.slots), tmp_path)
        _are_judged(products, data / folder, tmp_path / "out" / "recipe.yaml")
    else:
        _maps_thickness(products[0], tmp_path)


def _restores(weights: Path, bands: int, tmp_path: Path) -> None:
    """The weights give another scene, whole or under a mask, through `cloudfix run`."""
    scene = tmp_path / "scene.tif"
    write_scene(scene, bands)
    sensor = ("--sensor", "rgb" if bands == 3 else "sentinel-2-l1c")
    given = ("run", scene, *sensor, "--model", weights, "--device", "cpu", "--precision", "fp32")
    for index, mode in enumerate([("--replace-all",), ("--mask", tmp_path / "mask.tif")]):
        out = tmp_path / f"clear{index}.tif"
        result = invoke(*given, "-o", out, *mode)
        assert result.exit_code == 0, (result.output, result.exception)
        with rasterio.open(scene) as before, rasterio.open(out) as after:
            assert (before.count, before.dtypes) == (after.count, after.dtypes)
            assert (before.read() != after.read()).any()


def _are_judged(products: list[Path], folder: Path, recipe: Path) -> None:
    """The weights stand beside the baselines in the table of `cloudfix evaluate`, on what the run held back."""
    models = [argument for weights in products for argument in ("--model", weights)]
    result = invoke("evaluate", *models, "--data", folder, "--recipe", recipe, "--limit", 1, "--device", "cpu")
    assert result.exit_code == 0, (result.output, result.exception)
    for method in ("copy", "nearest-clear", *(weights.name.removesuffix(".safetensors") for weights in products)):
        assert method in result.stdout


def _maps_thickness(weights: Path, tmp_path: Path) -> None:
    """The weights tell cloud from clear sky through `cloudfix mask`."""
    scene, mask = tmp_path / "scene.tif", tmp_path / "cloud.tif"
    write_scene(scene, 3)
    result = invoke("mask", scene, "-o", mask, "--sensor", "rgb", "--device", "cpu", "--mask", weights)
    assert result.exit_code == 0, (result.output, result.exception)
    with rasterio.open(mask) as file:
        assert set(np.unique(file.read())) <= {0, 1}


def test_results_go_to_stdout_and_the_rest_to_stderr(data: Path, tmp_path: Path) -> None:
    given = ("train", "aca-crnet-rice2", "--data", data / "rice" / "RICE2", "--out", tmp_path / "out", *QUICK, *NARROW)
    command = [sys.executable, "-m", "cloudfix", *map(str, given), "data.resize=32"]
    first = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"{tmp_path / 'out' / 'aca-crnet.rice2.safetensors'}\n"
    notes = [line for line in first.stderr.splitlines() if line.startswith("note:")]
    assert notes
    assert len(notes) == len(set(notes))
    again = invoke(*given, "data.resize=32", "--resume")
    assert (again.exit_code, again.stdout) == (0, first.stdout), again.output


@pytest.mark.parametrize("package", ["yaml", "lightning", "tensorboard"])
@pytest.mark.parametrize("arguments", [("--list",), ("aca-crnet-rice1", "--data", "x")])
def test_without_the_extra_it_says_what_to_install(
    package: str, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = invoke("train", *arguments)
    assert isinstance(result.exception, CloudfixError)
    assert result.exception.exit_code == 2
    assert str(result.exception) == f"train: {package} is not installed; pip install 'cloudfix[train]'"


def test_recipes_are_listed_one_a_line() -> None:
    lines = invoke("train", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(list_recipes())
    assert all(read_recipe(line.split()[0]).about in line for line in lines)


def test_all_settings_can_be_shown_and_used_again(tmp_path: Path) -> None:
    shown = invoke("train", "thiefcloud", "tunable.lr=0.5", "--show")
    path = tmp_path / "mine.yaml"
    path.write_text(shown.stdout, encoding="utf-8")
    assert read_recipe(path).stages["tunable"].lr == 0.5
    assert read_recipe(path).stages["frozen"] == read_recipe("thiefcloud").stages["frozen"]


def test_help_says_how_to_watch() -> None:
    text = invoke("train", "--help").stdout
    assert "tensorboard --logdir" in text
    assert "cloudfix train aca-crnet-rice1 --data" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "train: no recipe; name one, `cloudfix train --list` prints them"),
        (("aca-crnet-rice1",), "train: --data is missing"),
        (
            ("aca-crnet-rise1", "--data", "x"),
            "no such recipe .* did you mean 'aca-crnet-rice1'",
        ),
        (("aca-crnet-rice1", "crop=1", "--data", "x"), r"crop: unknown key; did you mean 'data\.crop'"),
        (("aca-crnet-rice1", "lr=fast", "--data", "x"), "lr='fast'; expected a valid number"),
        (("aca-crnet-rice1", "--stage", "tunable", "--data", "x"), "--stage tunable: unknown"),
        (("aca-crnet-rice1", "--data", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    result = invoke("train", *arguments, "--out", tmp_path / "out")
    assert isinstance(result.exception, CloudfixError)
    assert re.search(told, str(result.exception))
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "out").exists()
