"""Files whose mask or alpha band tells what is no data: refused where that would be lost."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from cloudfix.errors import SceneError
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


@pytest.mark.parametrize(("alpha", "kind"), [(False, "mask"), (True, "alpha band")])
def test_no_data_that_only_a_mask_tells_is_refused(masked, alpha, kind):
    with pytest.raises(SceneError, match=f"no data is told by its {kind}.*gdalwarp -dstnodata") as refused:
        open_scene(masked(alpha=alpha, photometric="RGB"), sensor="rgb")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("alpha", [False, True])
def test_a_mask_that_hides_nothing_is_harmless(masked, alpha):
    scene = open_scene(masked(hidden=0, alpha=alpha, photometric="RGB"), sensor="rgb")
    assert scene.attrs["slots"] == ["red", "green", "blue"] + [""] * alpha


def test_a_mask_over_nodata_values_loses_nothing(masked):
    path = masked(dtype="uint16", count=4, corner=0)
    open_scene(path, sensor="sentinel-2-l1c", bands=["B02", "B03", "B04", "B08"])


def test_infrared_that_a_writer_called_alpha_is_no_mask(masked):
    path = masked(alpha=True, dtype="uint16")
    scene = open_scene(path, bands=["B04", "B03", "B02", "B08"], sensor="sentinel-2-l2a", chunks=64)
    assert scene.attrs["slots"][3] == "nir"
