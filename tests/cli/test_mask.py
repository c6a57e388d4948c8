import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.transform import from_origin
from rio_cogeo.cogeo import cog_validate

import cloudfix
from cloudfix.errors import MaskError


def test_mask_is_the_one_that_run_uses(typed, samples, tiny_weights, tmp_path):
    scene = samples / "landsat8_scene.tif"
    result = typed("mask", scene, "-o", tmp_path / "mask.tif")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [str(tmp_path / "mask.tif")]
    used = tmp_path / "used.tif"
    typed("run", scene, "-o", tmp_path / "out.tif", "--mask-out", used, "--model", tiny_weights)

    with rasterio.open(tmp_path / "mask.tif") as ours, rasterio.open(used) as theirs, rasterio.open(scene) as source:
        assert (ours.crs, ours.transform, ours.shape) == (source.crs, source.transform, source.shape)
        assert (ours.count, ours.dtypes, ours.nodata, ours.descriptions) == (1, ("uint8",), 255, ("mask",))
        assert ours.tags()["CLOUDFIX_MASK"] == "BQA"
        classes = ours.read(1)
        np.testing.assert_array_equal(classes, theirs.read(1))
        assert {0, 1} <= set(np.unique(classes).tolist())
        # overviews of classes hold classes, not averages of them
        assert set(np.unique(ours.read(1, out_shape=(75, 78)))) <= {0, 1, 2, 255}
    assert cog_validate(tmp_path / "mask.tif", strict=True, quiet=True)[0]


def test_an_input_is_never_overwritten(typed, write_scene):
    scene = write_scene()
    before = scene.read_bytes()
    result = typed("mask", scene, "-o", scene)
    assert result.returncode == 1
    assert "is an input" in result.stderr
    assert scene.read_bytes() == before


def test_nothing_to_tell_cloud_by_is_one_line(typed, write_scene, tmp_path):
    scene = write_scene(count=13)
    result = typed("mask", scene, "-o", tmp_path / "m.tif", "--mask", "nosuch")
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "nosuch" in result.stderr
    assert not (tmp_path / "m.tif").exists()


def test_a_product_is_masked_on_the_grid_that_was_asked_for(typed, products, tmp_path):
    safe = products.sentinel2(tmp_path, level="L2A", offset=-1000)
    result = typed("mask", safe, "-o", tmp_path / "m.tif", "--resolution", "20")
    assert result.returncode == 0, result.stderr
    with rasterio.open(tmp_path / "m.tif") as made:
        assert (made.shape, made.res, made.tags()["CLOUDFIX_MASK"]) == ((60, 60), (20, 20), "SCL")


def test_what_thickness_lacks_is_named(write_scene, tmp_path, monkeypatch):
    monkeypatch.setattr("cloudfix.models.registry._files", dict)
    scene = cloudfix.open_scene(write_scene())
    with pytest.raises(MaskError, match=r"--thickness: the weights scpm.rgb are not installed; .*--mask FILE"):
        cloudfix.cloud_mask(scene, thickness=True)
    mask = xr.zeros_like(scene[0], dtype="uint8")
    with pytest.raises(MaskError, match=r"--thickness: the bands B04, B08 hold no blue, green, which scpm.rgb needs"):
        cloudfix.cloud_mask(scene.sel(band=["B04", "B08"]), mask=mask, thickness=True)


def test_a_picture_gets_its_mask_from_the_thickness_weights_that_come_along(tmp_path):
    values = np.full((3, 96, 96), 60, np.uint8)
    values[:, 30:70, 20:60] = 245
    place = {"crs": "EPSG:32632", "transform": from_origin(5e5, 5e6, 10, 10), "photometric": "RGB"}
    with rasterio.open(tmp_path / "rgb.tif", "w", "GTiff", 96, 96, 3, dtype="uint8", **place) as file:
        file.write(values)
    command = [sys.executable, "-m", "cloudfix", "run", "rgb.tif", "-o", "out.tif", "--mask-out", "mask.tif", "--json"]
    made = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    record = json.loads(made.stdout)
    assert record["CLOUDFIX_MASK"].startswith("thickness by scpm.rgb")
    assert record["CLOUDFIX_MODEL"] == "aca-crnet.rgb"
    assert made.stderr.count("research use") == 2
    with rasterio.open(tmp_path / "mask.tif") as mask, rasterio.open(tmp_path / "out.tif") as out:
        cloud, restored = mask.read(1) == 1, out.read()
    assert cloud[40:60, 30:50].all()
    assert not cloud[:15].any()
    assert (restored[:, 45:55, 35:45] != 245).any()
    assert (restored[:, :15] == 60).all()
