"""The lazy array: exact, on one grid, the same from any thread, process and chunk."""

from __future__ import annotations

import os
import pickle
import warnings

import dask
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.transform import Affine

from cloudfix.errors import CloudfixWarning, SceneError, UsageError
from cloudfix.raster import source
from cloudfix.raster.grid import grid_of
from cloudfix.raster.scene import open_scene, scenes_of

L2A = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
TAGS = {"PRODUCT_TYPE": "S2MSI2A"}


@pytest.fixture
def stack(raster, dn):
    """A 12-band L2A GeoTIFF of 90 × 70 pixels, and its values."""
    values = dn(12, 70, 90)
    return raster("stack.tif", values, descriptions=L2A, tags=TAGS), values


@pytest.fixture(autouse=True)
def only_the_usual_note(no_warnings):
    warnings.filterwarnings("ignore", ".* resampled to pixels", CloudfixWarning)


@pytest.mark.parametrize("chunks", [16, 33, 1024])
def test_values_are_the_files_own(stack, chunks):
    path, values = stack
    scene = open_scene(path, chunks=chunks)
    assert scene.dims == ("band", "y", "x")
    assert scene.dtype == values.dtype
    assert scene.data.numblocks == (1, -(-70 // chunks), -(-90 // chunks))
    np.testing.assert_array_equal(scene.values, values)


@pytest.mark.parametrize(
    ("options", "chunks"),
    [
        ({"tiled": True, "blockxsize": 256, "blockysize": 256}, (512, 512)),
        ({"tiled": True, "blockxsize": 240, "blockysize": 160}, (480, 480)),
        ({"tiled": True, "blockxsize": 1024, "blockysize": 1024}, (1024, 1024)),
        ({"blockysize": 100}, (200, 1200)),
        ({"blockysize": 1}, (256, 1200)),
    ],
)
def test_chunks_are_whole_blocks(raster, dn, options, chunks):
    """So that nothing is decoded for one chunk and again for its neighbour."""
    scene = open_scene(raster("a.tif", dn(1, 1100, 1200), **options), sensor="sentinel-2-l2a", bands=["B02"])
    assert (scene.chunksizes["y"][0], scene.chunksizes["x"][0]) == chunks


def test_a_jpeg2000_scene_has_chunks_of_its_tiles(raster, dn):
    path = raster("a_L2A_B02.jp2", dn(1, 1100, 1200), BLOCKXSIZE=1024, BLOCKYSIZE=1024)
    assert open_scene(path, sensor="sentinel-2-l2a").chunksizes["x"] == (1024, 176)


def test_nothing_but_a_sample_is_read_before_it_is_asked_for(raster, dn, monkeypatch):
    path = raster("big.tif", dn(12, 600, 600), descriptions=L2A, tags=TAGS, tiled=True, blockxsize=64, blockysize=64)
    read = []
    original = source.FileArray.read

    def counted(self, rows, columns, bands=None):
        read.append((rows.stop - rows.start) * (columns.stop - columns.start))
        return original(self, rows, columns, bands)

    monkeypatch.setattr(source.FileArray, "read", counted)
    scene = open_scene(path, chunks=256)
    assert sum(read) <= 16 * 64**2
    read.clear()
    scene.compute()
    assert sum(read) == 600 * 600


def test_grid_and_reference_system_are_exact(raster, dn):
    transform = Affine(9.994088099999352, 0, 624602.2348443292, 0, -10.00570688714736, 4877286.033637)
    path = raster("odd.tif", dn(12), transform=transform, descriptions=L2A, tags=TAGS)
    scene = open_scene(path)
    assert scene.rio.transform() == transform
    assert scene.rio.crs.to_epsg() == 32633
    assert float(scene.x[0]) == pytest.approx(transform.c + transform.a / 2)
    assert float(scene.y[-1]) == pytest.approx(transform.f + transform.e * 39.5)


def test_a_crop_knows_where_it_lies(stack):
    grid = grid_of(open_scene(stack[0])[:, 20:40, 31:90])
    assert (grid.height, grid.width) == (20, 59)
    assert grid.transform == Affine(10, 0, 500_310, 0, -10, 4_999_800)
    thinned = grid_of(open_scene(stack[0])[:, ::2, ::2])
    assert thinned.transform == Affine(20, 0, 499_995, 0, -20, 5_000_005)


def test_a_crop_of_a_rotated_scene_is_refused(raster, dn):
    """It has no coordinates, so that it would be written where the whole begins."""
    turned = Affine(8, 6, 500_000, 6, -8, 5_000_000)
    scene = open_scene(raster("turned.tif", dn(12), transform=turned, descriptions=L2A, tags=TAGS))
    assert grid_of(scene * 2).transform == turned
    for part in (scene[:, 5:], scene[:, :, ::2]):
        with pytest.raises(SceneError, match=r"pixels of a rotated raster of 50 × 40.*gdalwarp"):
            grid_of(part)
    assert grid_of(scene).height == 40


def test_a_missing_value_stays_nan(raster, rng):
    values = rng.random((12, 20, 20)).astype("float32")
    values[3, 4, 5] = np.nan
    np.testing.assert_array_equal(open_scene(raster("f.tif", values, descriptions=L2A, tags=TAGS)).values, values)


def test_single_band_files_of_one_grid_are_exact(raster, dn):
    values = dn(3, 50, 60)
    names = ["B02", "B8A", "SCL"]
    paths = [raster(f"T33UUB_20200527T100031_{name}_20m.jp2", values[i : i + 1]) for i, name in enumerate(names)]
    scene = open_scene(paths, chunks=32)
    assert scene.band.values.tolist() == names
    np.testing.assert_array_equal(scene.values, values)


def test_dtypes_of_several_files_meet_without_loss(raster, dn):
    bands, classes = dn(1, high=65535), dn(1, low=0, high=12).astype("uint8")
    scene = open_scene([raster("S2A_L2A_B02.tif", bands), raster("S2A_L2A_SCL.tif", classes)])
    assert scene.dtype == np.uint16
    np.testing.assert_array_equal(scene.values, np.concatenate([bands, classes]))


@pytest.fixture
def resolutions(raster, rng):
    """Bands of 10, 20 and 60 m and classes of 20 m over the same 1200 m."""

    def ramp(size):
        return np.broadcast_to(np.linspace(500, 3000, size), (1, size, size)).astype("uint16")

    stem = "T33UUB_20200527T100031_"
    classes = rng.choice([4, 8], (1, 60, 60)).astype("uint8")
    paths = [
        raster(f"{stem}B01_60m.tif", ramp(20), pixel=60),
        raster(f"{stem}B02_10m.tif", ramp(120), pixel=10),
        raster(f"{stem}B05_20m.tif", ramp(60), pixel=20),
        raster(f"{stem}SCL_20m.tif", classes, pixel=20),
    ]
    return paths, classes[0]


def test_several_resolutions_come_to_the_finest_grid(resolutions):
    paths, classes = resolutions
    with pytest.warns(CloudfixWarning, match=r"pixels of 10: B01 \(60\), B05 \(20\), SCL \(20\)$"):
        scene = open_scene(paths)
    assert scene.shape == (4, 120, 120)
    assert grid_of(scene).pixel == 10
    inner = scene.values[:, 10:-10, 10:-10].astype(int)
    assert np.abs(inner[0] - inner[1]).max() < 60
    assert np.abs(inner[2] - inner[1]).max() < 30
    np.testing.assert_array_equal(scene.values[3], classes.repeat(2, axis=0).repeat(2, axis=1))


def test_resampled_values_do_not_depend_on_chunks(resolutions):
    first, *others = (open_scene(resolutions[0], chunks=chunks).values for chunks in (17, 64, 1024))
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_no_data_does_not_bleed_into_resampled_neighbours(raster, dn):
    coarse = np.full((1, 20, 20), 2000, "uint16")
    coarse[0, :, :10] = 0
    scene = open_scene([raster("S2A_L2A_B02.tif", dn(1, 40, 40)), raster("S2A_L2A_B05.tif", coarse, pixel=20)])
    assert set(np.unique(scene.values[1])) == {0, 2000}


def test_a_panchromatic_band_does_not_set_the_grid(raster, dn):
    product = "LC08_L1TP_021039_20170603_20200903_02_T1"
    with pytest.warns(CloudfixWarning, match="SUN_ELEVATION"):
        scene = open_scene(
            [
                raster(f"{product}_B2.TIF", dn(1, 40, 40), pixel=30),
                raster(f"{product}_B8.TIF", dn(1, 80, 80), pixel=15),
            ]
        )
    assert scene.shape == (2, 40, 40)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"crs": "EPSG:32634"}, "EPSG:32634"),
        ({"transform": Affine(10, 0, 510_000, 0, -10, 5_000_000)}, "covers .510000"),
        ({"crs": None, "height": 30}, "no reference system"),
    ],
)  # fmt: skip
def test_files_of_different_places_are_refused(raster, dn, other, said):
    height = other.pop("height", 40)
    paths = [raster("S2A_L2A_B02.tif", dn(1)), raster("S2A_L2A_B03.tif", dn(1, height), **other)]
    with pytest.raises(SceneError, match=f"S2A_L2A_B03.tif.*{said}.*one product"):
        open_scene(paths)


def test_vrt_and_cog_are_like_any_geotiff(stack, tmp_path):
    path, values = stack
    for driver in ("VRT", "COG"):
        copy = tmp_path / f"copy.{driver.lower()}"
        rasterio.shutil.copy(path, copy, driver=driver)
        np.testing.assert_array_equal(open_scene(copy).values, values)


def test_a_scene_without_reference_system_is_opened_aloud(raster, dn):
    path = raster("x_L2A.tif", dn(12), crs=None, descriptions=L2A, tags=TAGS)
    with pytest.warns(CloudfixWarning, match=r"x_L2A\.tif: no coordinate reference system"):
        scene = open_scene(path, chunks=16)
    assert scene.rio.crs is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scene.compute(scheduler="threads")


def test_chunks_are_read_in_other_processes(stack):
    path, values = stack
    scene = open_scene(path, chunks=32)
    blob = pickle.loads(pickle.dumps(scene))  # noqa: S301 (our own bytes)
    np.testing.assert_array_equal(blob.values, values)
    with dask.config.set(scheduler="threads", num_workers=8):
        np.testing.assert_array_equal(scene.values, values)


def test_a_relative_name_means_the_callers_folder(stack, monkeypatch, tmp_path):
    path, values = stack
    monkeypatch.chdir(tmp_path)
    scene = open_scene(path.name)
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(scene.values, values)
    assert scene.attrs["source"] == [str(path)]


def test_the_same_file_gives_the_same_dask_keys_until_it_changes(raster, dn):
    values = dn(12)
    path = raster("a.tif", values, descriptions=L2A, tags=TAGS)
    first = open_scene(path).data.name
    assert open_scene(path).data.name == first
    assert open_scene(path, chunks=16).data.name != first
    raster("a.tif", values + 1, descriptions=L2A, tags=TAGS)
    assert open_scene(path).data.name != first


def test_damage_that_shows_only_when_read_is_one_line(raster, dn):
    path = raster("a.tif", dn(12, 256, 256), descriptions=L2A, tags=TAGS, tiled=True, compress="deflate")
    scene = open_scene(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(SceneError, match=r"a\.tif: cannot be read at rows 0–255: damaged") as failed:
        scene.compute()
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    "key",
    [
        np.s_[:, ::2, ::3], np.s_[0], np.s_[1, 5, :], np.s_[:, :, -7], np.s_[[3, 0], 3:7, ::-1], np.s_[::-1, [9, 1], :],
        np.s_[:, 5:5, :],
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunks", [16, 1024])
def test_any_selection_reads_the_pixels_that_it_means(stack, key, chunks):
    """Dask hands selections down to what reads the file."""
    path, values = stack
    found = open_scene(path, chunks=chunks)[key].values
    np.testing.assert_array_equal(found, values[key])


def test_a_rasters_own_resolution_can_be_changed(raster, rng):
    values = rng.integers(50, 800, (3, 40, 60)).astype("uint16")
    values[2] = values[2] % 5 + 3
    path = raster("a.tif", values, descriptions=("B02", "B03", "SCL"), tags=TAGS)
    scene = open_scene(path, resolution=20)
    assert scene.shape == (3, 20, 30)
    expected = values[:2].reshape(2, 20, 2, 30, 2).mean(axis=(2, 4))
    assert np.abs(scene.values[:2] - expected).max() <= 0.5
    assert set(np.unique(scene.values[2])) <= set(np.unique(values[2]))
    odd = open_scene(path, resolution=35)
    assert odd.shape == (3, 12, 18)
    assert grid_of(odd).transform == Affine(35, 0, 500_000, 0, -35, 5_000_000)


def test_a_scene_that_lies_nowhere_keeps_its_resolution(raster, dn):
    path = raster("a.tif", dn(12), crs=None, descriptions=L2A, tags=TAGS)
    with pytest.raises(SceneError, match="no coordinate reference system, so that it keeps its own resolution"):
        open_scene(path, resolution=20)


def test_chunks_must_be_positive(stack):
    with pytest.raises(UsageError, match="chunks 0"):
        open_scene(stack[0], chunks=0)


def test_single_band_files_are_one_scene_and_stacks_one_each(raster, dn, stack):
    bands = [raster("B02.tif", dn(1)), raster("B03.tif", dn(1))]
    assert scenes_of([stack[0], *bands, "absent.tif"]) == [bands, [stack[0]], ["absent.tif"]]
    assert scenes_of([]) == []
