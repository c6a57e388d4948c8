"""The COG as it is put together: what GDAL itself would have written."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rio_cogeo import cog_validate

from cloudfix.raster.codec import COMPRESSIONS, Codec
from cloudfix.raster.cog import write_cog
from cloudfix.raster.pyramid import BLOCK, CHUNK, Pyramid
from cloudfix.raster.scene import open_scene
from cloudfix.raster.tiff import tile_indices


@pytest.mark.parametrize(
    ("compress", "sides"), [*((name, (300, 400)) for name in COMPRESSIONS), ("DEFLATE", (1100, 2100))]
)
def test_gdal_writes_the_same_file(write_scene, tmp_path, compress, sides):
    """GDAL's own copy of a COG, with the overviews that are in it, differs in no byte."""
    ours = write_cog(open_scene(write_scene(*sides), chunks=256)[:3], tmp_path / "ours.tif", compress=compress)
    options = {**Codec(compress).cog_options, "overviews": "FORCE_USE_EXISTING", "bigtiff": "IF_SAFER"}
    if compress == "DEFLATE":
        options["level"] = 1
    with rasterio.Env(GDAL_PAM_ENABLED=False):
        rasterio.shutil.copy(ours, tmp_path / "gdal.tif", driver="COG", blocksize=BLOCK, **options)
    assert ours.read_bytes() == (tmp_path / "gdal.tif").read_bytes()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 2 * CHUNK + 40),
    width=st.integers(1, 2 * CHUNK + 40),
    dtype=st.sampled_from(["uint8", "int16", "float32", "float64"]),
)
def test_overviews_are_means_of_four_pixels(tmp_path_factory, height, width, dtype):
    folder = tmp_path_factory.mktemp("pyramid")
    values = np.random.default_rng(height * width).integers(0, 100, (1, height, width)).astype(dtype)
    pyramid = Pyramid(folder, values.shape, dtype, Codec("DEFLATE"), (Resampling.average,))
    for top in range(0, height, CHUNK):
        for left in range(0, width, CHUNK):
            pyramid.write(top, left, values[:, top : top + CHUNK, left : left + CHUNK])
    pyramid.finish()
    *_, (rows, columns) = pyramid.sides
    assert max(rows, columns) <= BLOCK
    for level, (rows, columns) in enumerate(pyramid.sides[1:], start=1):
        factor = 2**level
        inner = values[0, : height // factor * factor, : width // factor * factor]
        blocks = inner.reshape(height // factor, factor, width // factor, factor)
        means = blocks.mean(axis=(1, 3), dtype=float)
        tiles = [
            np.concatenate([pyramid._decode(level, y, x)[0] for x in range(-(-columns // BLOCK))], axis=1)
            for y in range(-(-rows // BLOCK))
        ]
        shown = np.concatenate(tiles)
        assert shown.shape == (rows, columns)
        np.testing.assert_allclose(shown[: means.shape[0], : means.shape[1]], means, atol=0.51 * level + 0.01)


def test_a_scene_without_data_is_written_tile_by_tile(write_scene, tmp_path):
    """Readers of COGs over HTTP do not all know tiles that are left out."""
    scene = open_scene(write_scene(600, 700), chunks=256)[:2]
    out = write_cog(scene * 0, tmp_path / "out.tif")
    assert cog_validate(out, strict=True)[0]
    with out.open("rb") as file:
        indices = tile_indices(file)
        assert [len(index.offsets.read(file)) for index in indices] == [4, 1]
        assert all(index.offsets.read(file).all() and index.sizes.read(file).all() for index in indices)


@pytest.mark.parametrize("big", ["YES", "NO"])
@pytest.mark.parametrize("endianness", ["LITTLE", "BIG"])
@pytest.mark.parametrize("side", [60, 600])
def test_tiles_lie_where_gdal_says(tmp_path, big, endianness, side):
    path = tmp_path / "a.tif"
    options = {"tiled": True, "blockxsize": 64, "blockysize": 64, "BIGTIFF": big, "ENDIANNESS": endianness}
    with rasterio.open(path, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint8", **options) as file:
        file.write(np.ones((1, side, side), np.uint8))
        if side > 64:
            file.build_overviews([2], Resampling.nearest)
    with path.open("rb") as file:
        index = tile_indices(file)[0]
        offsets, sizes = index.offsets.read(file), index.sizes.read(file)
    with rasterio.open(path) as dataset:
        places = [f"{x}_{y}" for y in range(-(-side // 64)) for x in range(-(-side // 64))]
        for place, offset, size in zip(places, offsets, sizes, strict=True):
            assert int(dataset.get_tag_item(f"BLOCK_OFFSET_{place}", "TIFF", bidx=1)) == offset
            assert int(dataset.get_tag_item(f"BLOCK_SIZE_{place}", "TIFF", bidx=1)) == size


def test_what_is_no_whole_tiff_is_a_failing_disk(tmp_path):
    for content in (b"", b"II+\0", b"II*\0\x08\0\0\0\x05\0", b"no TIFF at all, but longer"):
        path = tmp_path / "a.tif"
        path.write_bytes(content)
        with path.open("rb") as file, pytest.raises(OSError, match=r"[Ii]nput/output"):
            tile_indices(file)
