"""`cloudfix inspect`: what it prints."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from typer.testing import CliRunner

from cloudfix.cli import app
from cloudfix.errors import SceneError
from cloudfix.restoration import cover


@pytest.fixture
def inspect():
    def run(*arguments):
        return CliRunner().invoke(app, ["inspect", *map(str, arguments)])

    return run


@pytest.fixture
def raster(tmp_path):
    """Writes a GeoTIFF of 50 × 40 pixels with random DN."""

    def write(name, count, *, descriptions=(), tags=None):
        path = tmp_path / name
        profile = {
            "driver": "GTiff",
            "dtype": "uint16",
            "crs": "EPSG:32633",
            "transform": from_origin(5e5, 5e6, 10, 10),
        }
        with rasterio.open(path, "w", width=50, height=40, count=count, **profile) as out:
            out.write(np.random.default_rng(20).integers(50, 6000, (count, 40, 50)).astype("uint16"))
            out.descriptions = descriptions or [None] * count
            out.update_tags(**(tags or {}))
        return path

    return write


@pytest.fixture
def l2a(raster):
    return raster(
        "l2a.tif",
        3,
        descriptions=("B04", "B8A", "SCL"),
        tags={"PRODUCT_TYPE": "S2MSI2A", "BOA_ADD_OFFSET": "-1000"},
    )


def test_text_for_people(inspect, l2a):
    result = inspect(l2a)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        str(l2a),
        "  sensor   Sentinel-2 L2A (sentinel-2-l2a)",
        "  size     50 × 40 pixels of 10",
        "  crs      EPSG:32633",
        "  values   uint16, nodata 0",
        "  classes  SCL",
        "  B04      red         reflectance = DN × 0.0001 -0.1",
        "  B8A      nir08       reflectance = DN × 0.0001 -0.1",
        "  SCL      -",
    ]
    assert result.stderr == ""


def test_json_for_programs(inspect, l2a, raster):
    other = raster("thirteen.tif", 13)
    first, second = map(json.loads, inspect("--json", l2a, other).stdout.splitlines())
    assert first["bands"][1] == {"name": "B8A", "slot": "nir08", "scale": 1e-4, "offset": -0.1}
    assert (first["sensor"], first["quality_band"], first["notes"]) == ("sentinel-2-l2a", "SCL", [])
    assert (second["sensor"], second["width"], second["height"]) == ("sentinel-2-l1c", 50, 40)
    assert "number alone" in second["notes"][0]


def test_single_band_files_are_one_scene(inspect, raster):
    paths = [raster(f"S2A_T33UUB_L2A_{name}.tif", 1) for name in ("B02", "B03")]
    result = inspect("--json", *paths)
    (record,) = map(json.loads, result.stdout.splitlines())
    assert record["source"] == [str(path) for path in paths]


def test_options_are_passed_on(inspect, raster):
    path = raster("four.tif", 4)
    result = inspect(path, "--sensor", "sentinel-2-l1c", "--bands", "B02,B03,B04,B08", "--json")
    assert [band["slot"] for band in json.loads(result.stdout)["bands"]] == ["blue", "green", "red", "nir"]


def test_a_bad_scene_does_not_hide_the_others(inspect, l2a, tmp_path):
    result = inspect(tmp_path / "absent.tif", l2a)
    assert result.exit_code == 1
    assert "Sentinel-2 L2A" in result.stdout
    assert result.stderr.startswith("error:")
    assert len(result.stderr.splitlines()) == 1
    assert "absent.tif: no such file" in result.stderr


def test_a_scene_that_fails_when_its_pixels_are_read_does_not_hide_the_others(inspect, l2a, raster, monkeypatch):
    estimate = cover.estimate_cover

    def fail_once(scene):
        if "thirteen" in scene.attrs["source"][0]:
            raise SceneError("thirteen.tif: cannot be read")
        return estimate(scene)

    monkeypatch.setattr(cover, "estimate_cover", fail_once)
    result = inspect(raster("thirteen.tif", 13), l2a)
    assert (result.exit_code, result.stderr) == (1, "error: thirteen.tif: cannot be read\n")
    assert "Sentinel-2 L2A" in result.stdout


def test_wrong_use_has_its_own_code(inspect, l2a):
    assert inspect(l2a, "--sensor", "modis").exit_code == 2


def test_products_are_shown_at_the_resolution_that_was_asked_for(inspect, products, tmp_path):
    safe = products.sentinel2(tmp_path, level="L2A", offset=-1000)
    record = json.loads(inspect(safe, "--resolution", "20", "--json").stdout)
    assert (record["pixel"], record["width"]) == (20, 60)


@pytest.mark.parametrize("command", ["inspect", "mask", "simulate"])
def test_the_remedy_for_remote_files_is_an_option(command, l2a, tmp_path):
    output = [] if command == "inspect" else ["-o", str(tmp_path / "out.tif")]
    words = [command, "/vsigzip//vsicurl/https://example.invalid/a.tif", *output]
    refused, tried = CliRunner().invoke(app, words), CliRunner().invoke(app, [*words, "--allow-remote"])
    said = [result.stderr + str(result.exception) for result in (refused, tried)]
    assert "--allow-remote" in said[0]
    assert "cannot be opened" in said[1]


def test_a_sensor_that_the_file_contradicts_is_refused(inspect, l2a):
    result = inspect(l2a, "--sensor", "landsat-8-l1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--sensor landsat-8-l1, but its tag PRODUCT_TYPE=S2MSI2A says sentinel-2-l2a" in result.stderr
