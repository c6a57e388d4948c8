"""A report as tables, JSON, CSV and pictures."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import rasterio

from cloudfix.errors import OutputError
from cloudfix.evaluation.cases import cases
from cloudfix.evaluation.evaluate import Judging, evaluate
from cloudfix.evaluation.export import COLUMNS, write_csv, write_json
from cloudfix.evaluation.methods import Answers, Running, restorations
from cloudfix.evaluation.panels import write_panel
from cloudfix.evaluation.tables import draw, markdown, number, tables

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(scope="module")
def report(squares, shift):
    judging = Judging(Running(keep_clear=True), bands=("all", "landsat-8-l2"))
    return evaluate({"a": shift(by=0.05)}, squares(), "test", judging)


@pytest.fixture
def panel(squares, shift, tmp_path):
    def write(by=0.05, bands="all", simulated=False):
        case = list(cases(squares()[2], 0, simulated=simulated))[-1]
        answers = restorations(case, {"a": shift(by=by)}, Running())
        path = write_panel(tmp_path, case, answers, bands)
        with rasterio.open(path) as file:
            return case, path, file.read(), file.tags()

    return write


def test_markdown_holds_the_means(report) -> None:
    text = markdown(list(tables(report)))
    mean = report.sections[0].methods[0].part("all").metrics["psnr"]
    row = next(line for line in text.splitlines() if line.startswith("| all | copy |"))
    assert row.split(" | ")[2] == f"{mean.mean:.2f} [{mean.low:.2f}, {mean.high:.2f}]"
    assert "### Real cloud, bands of landsat-8-l2" in text
    assert "Images: 4. What told cloudy pixels: the data set's own (4)." in text
    assert "### Real cloud, all bands: PSNR by cloud cover (images)" in text
    assert "40–60 % (" not in text  # no image lies in it


def test_markdown_tables_are_well_formed(report) -> None:
    for block in re.findall(r"(?:^\|.*\|\n)+", markdown(list(tables(report, each=True))) + "\n", re.MULTILINE):
        lines = block.splitlines()
        assert len({line.count("|") for line in lines}) == 1
        assert set(lines[1]) <= {"|", "-", " "}


def test_each_image_has_a_row_when_asked(report) -> None:
    plain, each = (markdown(list(tables(report, each=each))) for each in (False, True))
    assert "| image 2 |" not in plain
    assert each.count("| image 2 |") == 2


def test_the_terminal_shows_the_same(report, capsys) -> None:
    shown = list(tables(report))
    draw(shown)
    printed = capsys.readouterr().out
    assert "nearest-clear" in printed
    assert "Real cloud, bands of landsat-8-l2" in printed


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [(1 / 3, "psnr", "0.33"), (1 / 3, "mae", "0.3333"), (float("inf"), "psnr", "∞"), (float("nan"), "mae", "–")],
)
def test_numbers_have_the_digits_they_deserve(value, metric, text) -> None:
    assert number(value, metric) == text


def test_json_is_the_report(report, tmp_path) -> None:
    write_json(report, tmp_path / "report.json")
    record = json.loads((tmp_path / "report.json").read_text())
    assert record == report.to_json()
    assert set(record) == {"version", "dataset", "split", "seed", "models", "sections", "images", "recipe", "part"}
    assert record["models"][0].keys() == {"name", "checksum", "tile", "overlap", "precision"}
    assert record["sections"][0]["methods"][0]["parts"][0]["metrics"]["psnr"].keys() == {"mean", "low", "high"}


def test_csv_has_a_row_for_each_image_method_and_part(report, tmp_path) -> None:
    write_csv(report, tmp_path / "report.csv")
    with (tmp_path / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 4 * 4 * 3 * 2  # images, methods, parts, band sets
    first = report.images[0].scores["all"]
    assert float(rows[0]["psnr"]) == pytest.approx(first.psnr)
    assert {row["method"] for row in rows} == {"copy", "nearest-clear", "a", "a, clear kept"}


def test_files_that_cannot_be_written_are_named(report, tmp_path) -> None:
    for write in (write_json, write_csv):
        with pytest.raises(OutputError, match="there is no folder"):
            write(report, tmp_path / "nowhere" / "report")


def test_a_panel_shows_every_method_above_its_error(panel) -> None:
    case, path, picture, tags = panel()
    height, width = case.mask.shape
    assert path.name == "image_2.png"
    assert picture.shape == (3, 2 * height + 4, 4 * width + 3 * 4)
    assert tags["Description"] == "cloudy | nearest-clear | a | truth"
    mask = picture[:, height + 4 :, -width:]
    np.testing.assert_array_equal(mask, np.broadcast_to(case.mask * np.uint8(255), mask.shape))
    error = picture[0, height + 4 :, :width]
    assert error[case.mask].min() > 100
    assert error[~case.mask].max() == 0


def test_the_stretch_is_that_of_the_truth(panel) -> None:
    _, _, dark, _ = panel(by=0.05)
    _, _, bright, _ = panel(by=0.5)
    np.testing.assert_array_equal(dark[:, :48, -48:], bright[:, :48, -48:])
    assert bright[:, :48, 104:152].mean() > dark[:, :48, 104:152].mean()


def test_panels_do_not_overwrite_each_other(panel) -> None:
    names = {panel()[1].name, panel(bands="landsat-8-l2")[1].name, panel(simulated=True)[1].name}
    assert names == {"image_2.png", "image_2.landsat-8-l2.png", "image_2.simulated.png"}


def test_thickness_is_shown_in_grey(squares, tmp_path) -> None:
    case = next(cases(squares(paired=False)[0], 0))
    thickness = case.sample.thickness[None]
    path = write_panel(tmp_path, case, Answers(thickness, {"constant": thickness * 0}), "all")
    with rasterio.open(path) as file:
        red, green, blue = file.read()
    np.testing.assert_array_equal(red, green)
    np.testing.assert_array_equal(red, blue)
