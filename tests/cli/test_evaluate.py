"""`cloudfix evaluate` and `cloudfix models card`, as a user calls them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from cloudfix.cli import app
from cloudfix.errors import CloudfixError
from cloudfix.models import Card, create, read_card, save

RGB = ("red", "green", "blue")

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write_png(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", "PNG", *image.shape[:0:-1], 3, dtype="uint8") as file:
        file.write(image)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """RGB weights that hardly change their input, under two names."""
    import torch

    folder = tmp_path_factory.mktemp("weights")
    options = {"in_channels": 3, "out_channels": 3, "blocks": 1, "features": 4}
    paths = []
    for seed, tag in enumerate(("one", "two")):
        torch.manual_seed(seed)
        path = folder / f"{tag}.safetensors"
        save(path, create("dsen2-cr", **options), Card(f"dsen2-cr.{tag}", "dsen2-cr", options, RGB, tile=32, overlap=8))
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A folder of paired RGB images, 40 × 40, with haze over the left half."""
    root = tmp_path_factory.mktemp("pairs")
    random = np.random.default_rng(0)
    for index in range(1, 13):
        clear = np.kron(random.integers(40, 160, (3, 5, 5)), np.ones((8, 8))).astype(np.uint8)
        cloudy = clear.copy()
        cloudy[:, :, :20] = clear[:, :, :20] // 2 + 110
        write_png(root / "cloud" / f"{index}.png", cloudy)
        write_png(root / "label" / f"{index}.png", clear)
    return root


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def failure(*arguments):
    result = invoke(*arguments)
    assert result.stdout == ""
    assert isinstance(result.exception, CloudfixError), result.exception
    assert "\n" not in str(result.exception)
    return result.exception


def test_a_data_set_is_judged_and_kept_in_files(pairs, weights, tmp_path) -> None:
    result = invoke(
        "evaluate", "--model", weights[0], "--model", weights[1], "--data", pairs, "--dataset", "pairs",
        "--json", tmp_path / "r.json", "--csv", tmp_path / "r.csv", "--panels", tmp_path / "panels",
        "--precision", "fp32",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for method in ("copy", "nearest-clear", "dsen2-cr.one", "dsen2-cr.two"):
        assert f"| all | {method} |" in result.stdout
    record = json.loads((tmp_path / "r.json").read_text())
    assert (record["dataset"], record["split"]) == ("pairs", "test")
    assert [model["name"] for model in record["models"]] == ["dsen2-cr.one", "dsen2-cr.two"]
    assert record["models"][0]["checksum"] == read_card(weights[0]).checksum
    names = {image["image"] for image in record["images"]}
    with (tmp_path / "r.csv").open() as file:
        assert {row["image"] for row in csv.DictReader(file)} == names
    assert len(list((tmp_path / "panels").glob("*.png"))) == len(names)


def test_the_numbers_are_stable(pairs, weights) -> None:
    arguments = ("evaluate", "--model", weights[0], "--data", pairs, "--dataset", "pairs", "--simulated")
    first, again = (invoke(*arguments, "--precision", "fp32").stdout for _ in range(2))
    assert "### Simulated cloud, all bands" in first
    assert first == again
    assert invoke(*arguments, "--seed", "1", "--precision", "fp32").stdout != first


def test_figures_go_onto_a_card_and_the_card_onto_a_page(pairs, weights, tmp_path) -> None:
    known = tmp_path / "failures.md"
    known.write_text("- It changes next to nothing.\n")
    judged = tmp_path / "judged.safetensors"
    result = invoke(
        "evaluate", "--model", weights[0], "--data", pairs, "--dataset", "pairs", "--limit", 1, "--tile", 40,
        "--write-card", judged, "--failures", known,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    card = read_card(judged)
    assert (card.tile, card.checksum) == (40, read_card(weights[0]).checksum)
    assert card.metrics["test/real cloud/all bands/all pixels/copy/psnr"] > 0
    page = invoke("models", "card", judged).stdout
    assert "### Test split, real cloud" in page
    assert "- It changes next to nothing." in page
    output = tmp_path / "card.md"
    assert invoke("models", "card", judged, "-o", output).stdout == f"{output}\n"
    assert output.read_text() == page


def test_the_recipe_names_what_was_held_back(pairs, weights, tmp_path) -> None:
    pytest.importorskip("pydantic")
    regions = [str(index) for index in range(1, 13)]
    recipe = tmp_path / "held.yaml"
    recipe.write_text(
        "name: dsen2-cr.held\nabout: a test\nlicence: none\ntraining_data: noise\narchitecture: dsen2-cr\nepochs: 1\n"
        f"data: {{dataset: pairs, resize: 24, crop: 16, validation: ['2'], test: {regions[4:6]}}}\n"
        "stages: {crops: {}, whole: {start: crops, data: {resize: 16}}}\n"
    )
    arguments = ("evaluate", "--model", weights[0], "--data", pairs, "--recipe", recipe, "--json", tmp_path / "r.json")
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "r.json").read_text())
    assert len(record["images"]) == 2 * 3
    assert record["images"][0]["scores"]["all"]["pixels"] == 24 * 24
    assert invoke(*arguments, "--split", "validation").stdout.count("Images: 1.") == 1


def test_one_part_of_what_the_recipe_held_back_can_be_judged_alone(pairs, weights, tmp_path) -> None:
    pytest.importorskip("pydantic")
    for part in ("RICE1", "RICE2"):
        (tmp_path / part).symlink_to(pairs)
    recipe = tmp_path / "held.yaml"
    recipe.write_text(
        "name: dsen2-cr.held\nabout: a test\nlicence: none\ntraining_data: noise\narchitecture: dsen2-cr\nepochs: 1\n"
        "data: {dataset: rice1+rice2, crop: 16, validation: ['rice1:2'], test: ['rice1:3', 'rice2:4', 'rice2:5']}\n"
    )
    for part, names in (((), ["3", "4", "5"]), (("--dataset", "rice2"), ["4", "5"])):
        arguments = ("--data", tmp_path, "--recipe", recipe, "--json", tmp_path / "r.json", *part)
        assert invoke("evaluate", "--model", weights[0], *arguments).exit_code == 0
        images = json.loads((tmp_path / "r.json").read_text())["images"]
        assert [image["image"] for image in images if image["method"] == "copy"] == names


def test_wrong_use_ends_in_one_line(pairs, weights, tmp_path) -> None:
    one = ("evaluate", "--model", weights[0], "--data", pairs, "--dataset", "pairs")
    assert "tripels: unknown" in str(failure(*one[:-1], "tripels"))
    assert "unknown name" in str(
        failure("evaluate", "--model", "aca-crnet.none", "--data", pairs, "--dataset", "pairs")
    )
    assert "nowhere" in str(failure("evaluate", "--model", weights[0], "--data", tmp_path / "nowhere"))
    assert "there is no folder" in str(failure(*one, "--json", tmp_path / "nowhere" / "r.json"))
    assert "--bands landsat-9: unknown" in str(failure(*one, "--bands", "landsat-9"))
    assert "--tile 12" in str(failure(*one, "--tile", 12))
    card = tmp_path / "c.safetensors"
    assert "2 models are judged" in str(failure(*one, "--model", weights[1], "--write-card", card))
    assert "ends in .safetensors" in str(failure(*one, "--write-card", tmp_path / "c.pth"))
    assert "--write-card" in str(failure(*one, "--failures", tmp_path / "f.md"))
    assert invoke(*one, "--split", "some").exit_code == 2


def test_an_empty_split_names_one_that_is_not(weights, tmp_path) -> None:
    for role in ("cloudy", "clear"):
        write_png(tmp_path / role / "one.png", np.full((3, 40, 40), 90, np.uint8))
    arguments = ("evaluate", "--model", weights[0], "--data", tmp_path, "--dataset", "pairs")
    assert "none of 1 images is in the test split; `evaluate` judges others with --split train" in str(
        failure(*arguments)
    )
    assert invoke(*arguments, "--split", "train").exit_code == 0


def test_a_model_that_lacks_bands_is_named(pairs, tiny_weights, weights, tmp_path) -> None:
    options = {"in_channels": 4, "out_channels": 4, "blocks": 1, "features": 4}
    card = Card("dsen2-cr.nir", "dsen2-cr", options, (*RGB, "nir"), required=("red", "nir"), tile=32, overlap=8)
    path = tmp_path / "nir.safetensors"
    save(path, create("dsen2-cr", **options), card)
    error = failure("evaluate", "--model", path, "--data", pairs, "--dataset", "pairs")
    assert "dsen2-cr.nir: needs red, nir, and pairs has no nir" in str(error)


def test_a_damaged_image_is_refused_or_skipped_as_asked(pairs, weights, tmp_path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(pairs, broken)
    damaged = broken / "cloud" / "12.png"
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    arguments = ("evaluate", "--model", weights[0], "--data", broken, "--dataset", "pairs", "--split", "train")
    splits = ("train", "validation", "test")
    errors = [invoke(*arguments[:-1], split).exception for split in splits]
    assert sum("12.png" in str(error) for error in errors) == 1
    assert all(invoke(*arguments[:-1], split, "--skip-unreadable").exit_code == 0 for split in splits)


def test_thickness_networks_are_judged_on_simulated_cloud(pairs, tmp_path) -> None:
    path = tmp_path / "scpm.safetensors"
    save(path, create("scpm"), Card("scpm.test", "scpm", {}, RGB, role="thickness", tile=40, overlap=8))
    result = invoke("evaluate", "--model", path, "--data", pairs, "--dataset", "pairs", "--limit", 1)
    assert result.exit_code == 0, result.output
    assert "### Simulated cloud, all bands" in result.stdout
    assert "| all | constant |" in result.stdout
    assert "| all | scpm.test |" in result.stdout
    assert "| all | copy |" not in result.stdout


def test_a_page_needs_its_panels(weights, tmp_path) -> None:
    assert "no such file" in str(failure("models", "card", weights[0], "--panel", tmp_path / "none.png"))


def test_the_page_needs_no_torch(weights) -> None:
    code = (
        "import sys; sys.argv = ['cloudfix', 'models', 'card', sys.argv[1]]\n"
        "from cloudfix.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'rasterio') if m in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(weights[0])], capture_output=True, text=True)
    assert result.stdout.startswith("# dsen2-cr.one")
    assert result.stderr.strip() == "[]"
