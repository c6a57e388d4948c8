"""Files that are no scene: each refused in one line that says why, before anything heavy."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
import rasterio
from rasterio._err import CPLE_AppDefinedError
from rasterio.transform import Affine

from cloudfix.errors import CloudfixWarning, SceneError
from cloudfix.raster import header
from cloudfix.raster.scene import open_scene

L1C = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")


def refused(path, **options):
    with pytest.raises(SceneError) as error:
        open_scene(path, **options)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_no_such_file(tmp_path):
    assert "no such file" in refused(tmp_path / "absent.tif")


def test_a_folder(tmp_path):
    (tmp_path / "folder.tif").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.tif")


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.tif").touch()
    assert "is empty" in refused(tmp_path / "empty.tif")


@pytest.mark.parametrize("content", [b"this is no picture\n" * 50, b"\x00" * 4096, b"\x89PNG\r\n"])
def test_something_else_named_tif(tmp_path, content):
    (tmp_path / "text.tif").write_bytes(content)
    assert "not a raster that GDAL can read" in refused(tmp_path / "text.tif")


def test_no_files_at_all():
    with pytest.raises(SceneError, match="no files given"):
        open_scene([])


@pytest.mark.parametrize("profile", [{}, {"tiled": True, "compress": "deflate"}, {"interleave": "pixel"}])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_tiff(raster, dn, profile, share):
    path = raster("cut.tif", dn(13, 300, 300), descriptions=L1C, **profile)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "truncated" in refused(path)


@pytest.mark.parametrize("interleave", ["band", "pixel"])
def test_a_truncated_tiff_is_noticed_by_its_blocks(tmp_path, rng, interleave):
    path = tmp_path / "cut.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=500, height=500, count=13, dtype="uint16", crs="EPSG:32633", tiled=True,
        transform=Affine(10, 0, 5e5, 0, -10, 5e6), interleave=interleave,
    ) as out:  # fmt: skip
        out.write(rng.integers(1, 5000, (13, 500, 500)).astype("uint16"))
    os.truncate(path, path.stat().st_size - 100)
    assert f"{path.stat().st_size} bytes where its blocks need {path.stat().st_size + 100}" in refused(path)


def test_a_sparse_tiff_is_whole(raster, tmp_path):
    path = tmp_path / "sparse.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=600, height=600, count=13, dtype="uint16", crs="EPSG:32633", tiled=True,
        transform=Affine(10, 0, 5e5, 0, -10, 5e6), SPARSE_OK=True,
    ) as out:  # fmt: skip
        out.descriptions = L1C
    assert not open_scene(path).values.any()


def test_the_check_for_truncation_is_quick(tmp_path):
    path = tmp_path / "large.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=10980, height=10980, count=13, dtype="uint16", crs="EPSG:32633", tiled=True,
        blockxsize=256, blockysize=256, transform=Affine(10, 0, 5e5, 0, -10, 5e6), SPARSE_OK=True,
    ) as out:  # fmt: skip
        out.descriptions = L1C
    began = time.perf_counter()
    open_scene(path)
    assert time.perf_counter() - began < 1.5


def test_an_absurd_size(tmp_path):
    path = tmp_path / "huge.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="2000000" rasterYSize="2000000">'
        '<VRTRasterBand dataType="UInt16" band="1"/></VRTDataset>'
    )
    assert "claims 2000000 × 2000000 pixels" in refused(path)


def test_complex_numbers(raster):
    assert "complex numbers" in refused(raster("slc.tif", np.ones((1, 9, 9), "complex64")))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_8_bit_values_declared_as_sentinel_2(raster, dn, dtype):
    path = raster("a.tif", dn(13, low=3, high=256).astype(dtype))
    assert "values 3 to 255, where Sentinel-2 L1C has DN of up to 10000" in refused(
        path, sensor="sentinel-2-l1c", bands=L1C
    )


def test_8_bit_values_declared_as_landsat(raster, dn):
    path = raster("a.tif", dn(2, low=3, high=200))
    assert "values 3 to 199, where Landsat" in refused(path, sensor="landsat-8-l2", bands=["B4", "B5"])


def test_dn_declared_as_rgb(raster, dn):
    path = raster("a.tif", dn(3))
    assert "where 8-bit RGB ends at 255" in refused(path, sensor="rgb", bands=["red", "green", "blue"])


def test_a_dark_scene_is_not_taken_for_8_bit(raster, dn):
    values = dn(13, low=2, high=60)
    values[:4] += 150
    with pytest.warns(CloudfixWarning, match="very dark, no sampled DN above"):
        open_scene(raster("water.tif", values, descriptions=L1C))


def test_an_empty_scene_is_not_taken_for_8_bit(raster, recwarn):
    open_scene(raster("void.tif", np.zeros((13, 40, 40), "uint16"), descriptions=L1C))
    assert not [item for item in recwarn if item.category is CloudfixWarning]


def test_what_gdal_raises_of_a_damaged_directory_is_one_line(raster, dn, monkeypatch):
    """Found by fuzzing: asked for a band's colour, rasterio lets through what GDAL says of the reference system."""

    def fail(*_):
        raise CPLE_AppDefinedError(3, 1, "Key GeogCitationGeoKey has count=7")

    monkeypatch.setattr(header, "_header", fail)
    assert "damaged or truncated TIFF" in refused(raster("a.tif", dn(13), descriptions=L1C))
