"""Files whose mask or alpha band tells what is no data."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from cloudfix.errors import SceneError
from cloudfix.raster.cog import write_cog
from cloudfix.raster.scene import open_scene


@pytest.fixture
def masked(raster, dn):
    """Writes a scene with a mask that hides a corner, in the file or (`alpha`) as a fourth band."""

    def write(*, hidden=20, count=3, dtype="uint8", alpha=False, corner=None, **options):
        values = dn(count, 60, 80, low=3, high=255 if dtype == "uint8" else 6000).astype(dtype)
        if corner is not None:
            values[:, :hidden, :hidden] = corner
        shown = np.full((60, 80), 255, "uint8")
        shown[:hidden, :hidden] = 0
        if alpha:
            values = np.concatenate([values, shown[None].astype(dtype)])
            options |= {"photometric": "RGB", "ALPHA": "YES"}
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            path = raster("a.tif", values, **options)
            if not alpha:
                with rasterio.open(path, "r+") as file:
                    file.write_mask(shown)
        return path

    return write


@pytest.mark.parametrize("alpha", [False, True])
def test_hidden_pixels_are_no_data_and_stay_so(masked, alpha, tmp_path):
    path = masked(alpha=alpha, photometric="RGB")
    scene = open_scene(path, sensor="rgb")
    assert scene.attrs["nodata"] == 0
    assert not scene.values[:3, :20, :20].any()
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(scene.values[:, 20:], file.read()[:, 20:])
    write_cog(scene, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as made:
        assert not made.dataset_mask()[:20, :20].any()
        assert made.nodata == (None if alpha else 0)
        assert made.colorinterp[-1].name == ("alpha" if alpha else "blue")


@pytest.mark.parametrize("alpha", [False, True])
def test_a_mask_that_hides_nothing_is_harmless(masked, alpha):
    path = masked(hidden=0, alpha=alpha, photometric="RGB")
    scene = open_scene(path, sensor="rgb")
    assert scene.attrs["slots"] == ["red", "green", "blue"] + [""] * alpha
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(scene.values, file.read())


def test_a_declared_value_is_what_hidden_pixels_become(masked):
    path = masked(dtype="uint16", count=4, corner=7)
    with rasterio.open(path, "r+") as file:
        file.nodata = 65535
    scene = open_scene(path, sensor="sentinel-2-l1c", bands=["B02", "B03", "B04", "B08"])
    assert (scene.attrs["nodata"], scene.attrs["file_nodata"]) == (65535, 65535)


def test_hidden_reflectance_is_no_number(raster, rng):
    values = rng.random((3, 60, 80)).astype("float32")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = raster("a.tif", values)
        with rasterio.open(path, "r+") as file:
            file.write_mask(np.arange(60)[:, None].repeat(80, 1) >= 20)
    scene = open_scene(path, sensor="sentinel-2-l2a", bands=["B02", "B03", "B04"])
    assert np.isnan(scene.values[:, :20]).all()
    np.testing.assert_array_equal(scene.values[:, 20:], values[:, 20:])


def test_infrared_that_a_writer_called_alpha_is_no_mask(masked):
    path = masked(alpha=True, dtype="uint16")
    scene = open_scene(path, bands=["B04", "B03", "B02", "B08"], sensor="sentinel-2-l2a", chunks=64)
    assert scene.attrs["slots"][3] == "nir"
    assert scene.values[0].all()
    classes = open_scene(path, bands=["B04", "B03", "B02", "SCL"], sensor="sentinel-2-l2a")
    assert classes.values[0].all()


def test_a_mask_does_not_survive_resampling(masked):
    with pytest.raises(SceneError, match=r"lost in resampling.*gdalwarp -dstnodata"):
        open_scene(masked(photometric="RGB"), sensor="rgb", resolution=20)
