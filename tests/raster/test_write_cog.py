"""The COG: valid, bit-exact, with everything that the input said of itself, the same bytes each time."""

from __future__ import annotations

import os
import pickle
import warnings
from dataclasses import replace

import dask
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from dask.base import tokenize
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rio_cogeo import cog_validate

from cloudfix.errors import CloudfixWarning, OutputError, SceneError, UsageError
from cloudfix.raster import cog, source
from cloudfix.raster.codec import COMPRESSIONS, Codec
from cloudfix.raster.cog import write_cog
from cloudfix.raster.grid import Grid, place
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.layout import add_tiles
from cloudfix.raster.pyramid import Pyramid
from cloudfix.raster.scene import open_scene
from cloudfix.raster.store import PyramidTarget

L2A = ("B02", "B03", "B04", "B08", "SCL")
TAGS = {"PRODUCT_TYPE": "S2MSI2A", "CLOUDY_PIXEL_PERCENTAGE": "31.5", "AREA_OR_POINT": "Point"}


@pytest.fixture
def path(raster, rng):
    """An L2A scene of 600 × 540 pixels with classes and 0 for no data in a corner."""
    values = rng.integers(50, 6000, (5, 540, 600)).astype("uint16")
    values[4] = rng.choice([40, 8], (540, 600))
    values[:, :100, :90] = 0
    return raster(
        "input.tif",
        values,
        descriptions=L2A,
        tags=TAGS,
        nodata=0,
        scales=[1e-4] * 4 + [1],
        offsets=[-0.1] * 4 + [0],
    )


@pytest.fixture
def restored(path):
    def make(chunks=256):
        scene = open_scene(path, chunks=chunks)
        mask = (scene.isel(band=4, drop=True) == 8).astype("uint8").rename("mask")
        mask = mask.where(scene.isel(band=0, drop=True) != 0, np.uint8(255))
        bands = scene.where(mask != 1, scene // 2).assign_attrs(scene.attrs)
        return xr.Dataset({"bands": bands, "mask": mask}, attrs={"provenance": {"CLOUDFIX_VERSION": "1"}})

    return make


def files_in(folder):
    return sorted(str(item.relative_to(folder)) for item in folder.rglob("*"))


def test_the_output_is_a_strictly_valid_cog(restored, tmp_path):
    out = write_cog(restored(), tmp_path / "out.tif")
    valid, errors, remarks = cog_validate(out, strict=True)
    assert (valid, errors, remarks) == (True, [], [])
    with rasterio.open(out) as cog:
        assert cog.overviews(1) == [2]
        assert cog.compression.value == "DEFLATE"


def test_values_come_through_bit_for_bit(restored, tmp_path):
    dataset = restored()
    out = write_cog(dataset, tmp_path / "out.tif", mask_path=tmp_path / "mask.tif")
    with rasterio.open(out) as cog, rasterio.open(tmp_path / "mask.tif") as mask:
        np.testing.assert_array_equal(cog.read(), dataset["bands"].values)
        np.testing.assert_array_equal(mask.read(1), dataset["mask"].values)
        assert mask.nodata == 255


def test_all_that_the_file_said_of_itself_is_kept(path, restored, tmp_path):
    out = write_cog(restored(), tmp_path / "out.tif", tags={"NOTE": "mine"})
    with rasterio.open(path) as before, rasterio.open(out) as after:
        for name in (
            "crs",
            "transform",
            "dtypes",
            "nodata",
            "scales",
            "offsets",
            "descriptions",
            "colorinterp",
        ):
            assert getattr(after, name) == getattr(before, name), name
        assert before.tags().items() <= after.tags().items()
        assert after.tags()["CLOUDFIX_VERSION"] == "1"
        assert after.tags()["NOTE"] == "mine"


def test_statistics_of_the_input_are_not_passed_on(path, tmp_path):
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, STATISTICS_MAXIMUM="9", WAVELENGTH="490")
        file.update_tags(STATISTICS_MEAN="4")
    with rasterio.open(write_cog(open_scene(path), tmp_path / "out.tif")) as cog:
        assert cog.tags(1) == {"WAVELENGTH": "490"}
        assert "STATISTICS_MEAN" not in cog.tags()


def test_an_output_opens_again_as_the_same_scene(raster, dn, tmp_path):
    """What was guessed, read beside the file or from its name is in the tags of the output."""
    (tmp_path / "x_MTL.txt").write_text("SUN_ELEVATION = 40.0\n")
    first = open_scene([raster(f"x_{name}.TIF", dn(1)) for name in ("B3", "B4", "B10", "BQA")])
    (tmp_path / "elsewhere").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error", CloudfixWarning)
        again = open_scene(write_cog(first, tmp_path / "elsewhere" / "out.tif"))
    same = {"sensor", "slots", "scale", "offset", "nodata", "quality_band", "descriptions"}
    assert {name: again.attrs[name] for name in same} == {name: first.attrs[name] for name in same}
    assert again.band.values.tolist() == ["B3", "B4", "B10", "BQA"]
    np.testing.assert_array_equal(again, first)


def test_bands_that_are_picked_or_reordered_keep_what_is_theirs(restored, tmp_path):
    picked = restored()["bands"].isel(band=[4, 2, 0])
    with rasterio.open(write_cog(picked, tmp_path / "out.tif")) as cog:
        assert cog.descriptions == ("SCL", "B04", "B02")
        assert cog.scales == (1, 1e-4, 1e-4)
        assert cog.offsets == (0, -0.1, -0.1)
    again = open_scene(tmp_path / "out.tif")
    assert again.attrs["slots"] == ["", "red", "blue"]
    np.testing.assert_array_equal(again, picked)


def test_overviews_average_bands_but_never_classes(restored, tmp_path):
    dataset = restored()
    out = write_cog(dataset, tmp_path / "out.tif", mask_path=tmp_path / "mask.tif")
    bands = dataset["bands"].values
    with rasterio.open(out, overview_level=0) as small:
        values = small.read()
    assert set(np.unique(values[4])) == {0, 4, 40}
    mean = bands[1, 200:500, 200:500].reshape(150, 2, 150, 2).mean(axis=(1, 3))
    assert np.abs(values[1, 100:250, 100:250] - mean).max() <= 1
    with rasterio.open(tmp_path / "mask.tif", overview_level=0) as small:
        assert set(np.unique(small.read())) == {0, 1, 255}


def test_no_data_does_not_bleed_into_overviews(raster, tmp_path):
    values = np.full((4, 600, 600), 2000, "uint16")
    values[:, :301] = 0
    scene = open_scene(raster("a.tif", values, descriptions=L2A[:4], tags=TAGS))
    with rasterio.open(write_cog(scene, tmp_path / "out.tif"), overview_level=0) as small:
        assert set(np.unique(small.read())) == {0, 2000}


@pytest.mark.parametrize("compress", COMPRESSIONS)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_every_codec_is_lossless(raster, dn, tmp_path, compress, dtype):
    values = dn(4, 60, 70).astype(dtype)
    if dtype == "float32":
        values = values / np.float32(10_000)
        values[2, 3, 4] = np.nan
    scene = open_scene(raster("a.tif", values, descriptions=L2A[:4], tags=TAGS))
    out = write_cog(scene, tmp_path / "out.tif", compress=compress.lower())
    assert cog_validate(out, strict=True)[0]
    with rasterio.open(out) as cog:
        np.testing.assert_array_equal(cog.read(), values)


def test_the_same_input_gives_the_same_bytes(restored, tmp_path):
    outputs = []
    for chunks in (256, 200, 1024):
        names = [tmp_path / name for name in ("out.tif", "mask.tif", "look.png")]
        write_cog(restored(chunks), names[0], mask_path=names[1], quicklook=names[2])
        outputs.append([name.read_bytes() for name in names])
    assert outputs[0] == outputs[1] == outputs[2]


def test_worker_processes_write_the_same_bytes(restored, tmp_path):
    distributed = pytest.importorskip("distributed")
    names = [tmp_path / name for name in ("out.tif", "mask.tif", "look.png")]
    write_cog(restored(), names[0], mask_path=names[1], quicklook=names[2])
    expected = [name.read_bytes() for name in names]
    moved = []
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        for _ in range(2):
            write_cog(
                restored(),
                names[0],
                mask_path=names[1],
                quicklook=names[2],
                progress=lambda *step: moved.append(step),
            )
    assert [name.read_bytes() for name in names] == expected
    assert moved[0] == (9, 13)
    assert moved[-1] == (13, 13)


@pytest.mark.parametrize("given", [True, False])
def test_all_outputs_are_computed_in_one_pass(path, restored, tmp_path, monkeypatch, given):
    dataset = restored()
    read = []
    original = source.FileArray.read

    def counted(self, rows, columns, bands=None):
        read.append((rows.start, columns.start, rows.stop - rows.start))
        return original(self, rows, columns, bands)

    before = open_scene(path, chunks=256) if given else None
    monkeypatch.setattr(source.FileArray, "read", counted)
    write_cog(
        dataset,
        tmp_path / "out.tif",
        mask_path=tmp_path / "m.tif",
        quicklook=tmp_path / "q.png",
        before=before,
    )
    chunks = [item for item in read if item[2] != 64]
    assert len(chunks) == len(set(chunks)) == 9


def test_progress_ends_when_the_output_is_made(restored, tmp_path, monkeypatch):
    """Nine chunks, then the two COGs: not all done before the last."""
    steps, at_layout = [], []
    monkeypatch.setattr(cog, "add_tiles", lambda *args: at_layout.append(steps[-1]) or add_tiles(*args))
    write_cog(
        restored(),
        tmp_path / "out.tif",
        mask_path=tmp_path / "m.tif",
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(i, 11) for i in range(1, 12)]
    assert at_layout == [(9, 11), (10, 11)]


def test_plain_arrays_are_written_too(restored, tmp_path):
    dataset = restored().compute()
    with rasterio.open(write_cog(dataset, tmp_path / "out.tif", mask_path=tmp_path / "m.tif")) as cog:
        np.testing.assert_array_equal(cog.read(), dataset["bands"].values)


def test_a_scene_made_in_memory_is_written(tmp_path, rng):
    info = SceneInfo("sentinel-2-l2a", ("red", "nir"), (1e-4,) * 2, (0.0,) * 2, nodata=0.0)
    values = rng.integers(1, 5000, (2, 30, 40)).astype("uint16")
    scene = xr.DataArray(values, dims=("band", "y", "x"), coords={"band": ["B04", "B08"]}, attrs=info.to_attrs())
    scene = place(scene, Grid(CRS.from_epsg(32633), Affine(10, 0, 500_000, 0, -10, 5_000_000), 30, 40))
    again = open_scene(write_cog(scene, tmp_path / "out.tif"))
    np.testing.assert_array_equal(again, values)
    assert SceneInfo.of(again) == replace(info, saturated=65535.0)


def test_a_crop_is_written_where_it_lies(restored, tmp_path):
    crop = restored()["bands"][:, 100:300, 50:250]
    with rasterio.open(write_cog(crop, tmp_path / "out.tif")) as cog:
        assert cog.transform.c == 500_500
        assert cog.transform.f == 4_999_000
        np.testing.assert_array_equal(cog.read(), crop.values)


def test_a_scene_that_lies_nowhere_stays_nowhere(raster, dn, tmp_path):
    with pytest.warns(CloudfixWarning, match="no coordinate reference system"):
        scene = open_scene(raster("a.tif", dn(4), crs=None, descriptions=L2A[:4], tags=TAGS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = write_cog(scene, tmp_path / "out.tif")
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(out) as cog:
        assert cog.crs is None


def test_a_transform_without_reference_system_is_kept(raster, dn, tmp_path):
    transform = Affine(3, 0, 100, 0, -3, 200)
    with pytest.warns(CloudfixWarning, match="no coordinate reference system"):
        scene = open_scene(raster("a.tif", dn(4), crs=None, transform=transform, descriptions=L2A[:4], tags=TAGS))
    with rasterio.open(write_cog(scene, tmp_path / "out.tif")) as cog:
        assert (cog.crs, cog.transform) == (None, transform)


def test_real_scenes_go_through_unchanged(real_data, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CloudfixWarning)
        scenes = [
            open_scene(sorted((real_data / "scene_l8_cloudy").glob("*.tif"))),
            open_scene(sorted((real_data / "scenes_l2a_120m").glob("S2B*.jp2"))),
        ]
        for scene in scenes:
            out = write_cog(scene, tmp_path / "out.tif")
            assert cog_validate(out, strict=True)[0]
            again = open_scene(out)
            np.testing.assert_array_equal(again, scene)
            assert again.rio.transform() == scene.rio.transform()
            assert again.rio.crs == scene.rio.crs


def test_two_runs_are_never_one_to_a_scheduler(tmp_path):
    """Else a scheduler that remembers the first run's chunks would not write the second's."""
    pyramid = Pyramid(tmp_path / "a", (1, 9, 9), "uint8", Codec("NONE"), (Resampling.average,))
    first, second = (PyramidTarget(pyramid, tmp_path / "b") for _ in range(2))
    assert tokenize(first) != tokenize(second)
    assert tokenize(pickle.loads(pickle.dumps(first))) == tokenize(first)  # noqa: S301 (our own bytes)


@pytest.mark.parametrize("left", [0, 20, 1000])
def test_a_tile_that_lost_its_end_is_noticed(restored, tmp_path, monkeypatch, left):
    encode = Pyramid._encode

    def lossy(self, level, row, column, block):
        encode(self, level, row, column, block)
        os.truncate(self._path(level, row, column), left)

    monkeypatch.setattr(Pyramid, "_encode", lossy)
    with pytest.raises(OutputError, match=r"out\.tif: cannot be written"):
        write_cog(restored(), tmp_path / "out.tif")
    assert files_in(tmp_path) == ["input.tif"]


def test_only_writing_is_blamed_on_the_disk(restored, tmp_path):
    """A worker that lost its connection raises an OSError, too."""

    def lose(_):
        raise ConnectionResetError

    dataset = restored()
    dataset["bands"] = dataset["bands"].copy(data=dataset["bands"].data.map_blocks(lose, dtype="uint16"))
    with pytest.raises(ConnectionResetError):
        write_cog(dataset, tmp_path / "out.tif")
    assert files_in(tmp_path) == ["input.tif"]


@pytest.mark.parametrize(("broken", "named"), [("bands", "out"), ("mask", "m"), ("quicklook", "q")])
def test_the_output_that_fails_is_named(restored, tmp_path, monkeypatch, broken, named):
    def fail(*args, **_):
        if broken == "quicklook" or args[0].folder.name == broken:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(cog, "write_quicklook" if broken == "quicklook" else "add_tiles", fail)
    with pytest.raises(OutputError, match=rf"/{named}\.\w+: cannot be written \(no space left on device\)"):
        write_cog(restored(), tmp_path / "out.tif", mask_path=tmp_path / "m.tif", quicklook=tmp_path / "q.png")
    assert files_in(tmp_path) == ["input.tif"]


def test_nothing_stray_is_left(restored, tmp_path, path):
    write_cog(restored(), tmp_path / "out.tif", mask_path=tmp_path / "m.tif", quicklook=tmp_path / "q.png")
    assert files_in(tmp_path) == ["input.tif", "m.tif", "out.tif", "q.png"]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"path": "input.tif"}, OutputError, "is an input of this very run"),
        ({"mask_path": "radar.tif"}, OutputError, r"radar\.tif: is an input of this very run"),
        ({"path": "absent/out.tif"}, OutputError, "there is no folder"),
        ({"path": "."}, OutputError, "is a folder"),
        ({"mask_path": "out.tif"}, OutputError, "two outputs at once"),
        ({"compress": "JPEG"}, UsageError, "--compress JPEG: unknown or lossy"),
    ],
)
def test_outputs_that_cannot_be_are_refused_first(restored, tmp_path, change, error, said):
    names = {"path": tmp_path / change.pop("path", "out.tif")}
    if "mask_path" in change:
        names["mask_path"] = tmp_path / change.pop("mask_path")
    before = files_in(tmp_path)
    with pytest.raises(error, match=said) as refused, dask.config.set(scheduler=None):
        write_cog(restored().assign_attrs(inputs=[str(tmp_path / "radar.tif")]), **names, **change)
    assert "\n" not in str(refused.value)
    assert files_in(tmp_path) == before


def test_a_mask_has_to_be_there(restored, tmp_path):
    with pytest.raises(SceneError, match="no mask to write"):
        write_cog(restored()["bands"], tmp_path / "out.tif", quicklook=tmp_path / "q.png")


def test_an_input_that_fails_in_mid_run_leaves_nothing(restored, path, tmp_path):
    dataset = restored()
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(SceneError, match=r"input\.tif: cannot be read") as failed:
        write_cog(dataset, tmp_path / "out.tif", mask_path=tmp_path / "m.tif")
    assert "\n" not in str(failed.value)
    assert files_in(tmp_path) == ["input.tif"]
