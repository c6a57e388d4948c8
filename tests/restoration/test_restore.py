"""The invariants of restoration, on small scenes through the public API."""

import warnings

import dask
import numpy as np
import pytest
import rasterio
import xarray as xr

import cloudfix
from cloudfix.errors import CloudfixWarning, MaskError, ModelError, UsageError
from cloudfix.raster.info import SceneInfo
from cloudfix.restoration.network import Network
from cloudfix.restoration.pixels import storable


@pytest.fixture
def restored(write_scene, tiny_weights):
    def run(path=None, *, chunks=64, nodata_at=(), **options):
        scene = cloudfix.open_scene(path or write_scene(), chunks=chunks, sensor=options.pop("sensor", None))
        return scene, cloudfix.restore(scene, model=str(tiny_weights), **{"precision": "fp32"} | options)

    return run


def test_clear_pixels_are_untouched_bit_for_bit(restored):
    scene, clear = restored(buffer=6)
    before, after, weight = dask.compute(scene, clear["bands"], clear["synthesised"])
    kept = (weight == 0).values
    assert 0.2 < kept.mean() < 0.99
    np.testing.assert_array_equal(after.values[:, kept], before.values[:, kept])
    changed = (after != before).any("band").values
    assert changed[~kept].mean() > 0.9


@pytest.mark.parametrize("restored_rows", [2, 90])
def test_pixels_that_are_kept_may_hold_any_value(restored, write_scene, restored_rows):
    """Restored ones step off values that mean something else, such as saturation; kept ones do not."""
    path = write_scene()
    with rasterio.open(path, "r+") as file:
        dn = file.read()
        dn[:, 100:140, 10:60] = 65535
        file.write(dn)
    mask = xr.DataArray(np.zeros((150, 170), np.uint8), dims=("y", "x"))
    mask[:restored_rows] = 1
    _, clear = restored(path, chunks=150, mask=mask, buffer=0, sensor="sentinel-2-l1c")
    after = clear["bands"].values
    np.testing.assert_array_equal(after[:, restored_rows:], dn[:, restored_rows:])
    assert (after[:, :restored_rows] != dn[:, :restored_rows]).mean() > 0.9


def test_the_rim_blends_from_nothing_to_everything(restored):
    _, clear = restored(buffer=6)
    weight, mask = clear["synthesised"].values, clear["mask"].values
    assert (weight[mask == 1] == 255).all()
    rim = np.unique(weight[(mask == 0) & (weight > 0)])
    assert rim.min() < 60
    assert rim.max() > 180


@pytest.mark.parametrize("chunks", [40, 64, 100, 512])
def test_chunk_size_does_not_change_a_bit(restored, write_scene, chunks):
    path = write_scene()
    expected = restored(path, chunks=150)[1].compute(scheduler="synchronous")
    xr.testing.assert_identical(restored(path, chunks=chunks)[1].compute(scheduler="threads"), expected)


def test_every_tile_is_computed_once_and_only_where_there_is_cloud(restored, write_scene, monkeypatch):
    calls = []
    start = Network.start

    def counted(self, optical, *more):
        calls.append(len(next(iter(optical.values()))))
        return start(self, optical, *more)

    monkeypatch.setattr(Network, "start", counted)
    _, clear = restored(chunks=50, replace_all=True)
    clear["bands"].compute()
    assert sum(calls) == 3 * 4
    calls.clear()
    mask = xr.DataArray(np.zeros((150, 170), np.uint8), dims=("y", "x"))
    mask[:20, :20] = 1
    _, clear = restored(chunks=50, buffer=2, mask=mask)
    clear["bands"].compute()
    assert sum(calls) == 1


def test_8_bit_rgb_can_be_replaced_without_a_mask(restored, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 70, 80), dtype="uint8")
    with rasterio.open(tmp_path / "rgb.tif", "w", driver="GTiff", dtype="uint8", count=3, height=70, width=80) as file:
        file.write(pixels)
    _, clear = restored(tmp_path / "rgb.tif", replace_all=True)
    assert (clear["mask"].values == 0).all()
    assert (clear["bands"].values != pixels).mean() > 0.5


def test_precision_bf16_does_not_depend_on_chunks_either(restored, write_scene):
    path = write_scene()
    first, second = (restored(path, chunks=c, precision="bf16")[1]["bands"].values for c in (48, 150))
    np.testing.assert_array_equal(first, second)


def test_the_distributed_scheduler_gives_the_same_bits(restored, write_scene, tmp_path):
    distributed = pytest.importorskip("distributed")
    path = write_scene()
    cloudfix.write_cog(restored(path)[1], tmp_path / "threads.tif")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        cloudfix.write_cog(restored(path)[1], tmp_path / "workers.tif")
    assert (tmp_path / "workers.tif").read_bytes() == (tmp_path / "threads.tif").read_bytes()


def test_no_step_at_tile_edges(write_scene, tiny_weights):
    """Where a tile begins or ends, neighbours differ no more than elsewhere; without overlap they do."""
    scene = cloudfix.open_scene(write_scene(64, 160, clouds=()))
    flat = scene.copy(data=scene.data * 0 + 3000)

    def steps(overlap):
        options = {"model": str(tiny_weights), "overlap": overlap, "precision": "fp32", "replace_all": True}
        clear = cloudfix.restore(flat, **options)["bands"].values.astype(float)
        profile = np.abs(np.diff(clear, axis=2)).max(axis=(0, 1))
        edges = np.zeros(159, bool)
        edges[[k - 1 for k in (64 - overlap, 64, 128 - 2 * overlap, 128 - overlap)]] = True
        return profile[edges].max(), profile[~edges].max()

    at_edges, elsewhere = steps(overlap=16)
    assert at_edges <= elsewhere
    at_edges, elsewhere = steps(overlap=0)
    assert at_edges > elsewhere


def test_nan_costs_only_itself(write_scene, tiny_weights):
    path = write_scene(dtype="float32", nodata=None)
    scene = cloudfix.open_scene(path, sensor="sentinel-2-l1c")
    holed = scene.copy(data=scene.data.compute())
    holed[:, 40, 50] = np.nan
    mask = xr.DataArray(np.ones(scene.shape[1:], np.uint8), dims=("y", "x"))
    options = {"model": str(tiny_weights), "mask": mask, "precision": "fp32"}
    whole = cloudfix.restore(scene, **options)["bands"].values
    after = cloudfix.restore(holed.chunk(x=64, y=64), **options)["bands"].values
    assert np.isnan(after[:, 40, 50]).all()
    assert np.isnan(after).sum() == 13
    around = np.abs(after - whole)[:, 35:46, 45:56]
    assert np.nanmax(around) < 0.2 * (whole.max() - whole.min())


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 0), ("uint16", 65535), ("int16", -9999), ("float32", -1)])
def test_nodata_stays_and_is_no_value_to_the_network(restored, write_scene, dtype, nodata):
    """The same hole filled with another nodata value leaves the same neighbours."""

    def run(value):
        path = write_scene(name=f"{value}.tif", dtype=dtype, nodata=value)
        with rasterio.open(path, "r+") as file:
            dn = file.read()
            dn[:, hole] = value
            file.write(dn)
        return restored(path, sensor="sentinel-2-l1c", mask=full, replace_all=True)[1].compute()

    hole = np.zeros((150, 170), bool)
    hole[30:60, 40:60] = True
    full = xr.DataArray(np.ones((150, 170), np.uint8), dims=("y", "x"))
    first, second = run(nodata), run(77)
    assert (first["bands"].values[:, hole] == nodata).all()
    assert (first["bands"].values[:, ~hole] != nodata).all()
    # One DN apart where a restored pixel had to step off the nodata value.
    a, b = (result["bands"].values[:, ~hole].astype(float) for result in (first, second))
    np.testing.assert_allclose(a, b, rtol=0, atol=1)
    assert (first["mask"].values[hole] == 255).all()
    assert (first["synthesised"].values[hole] == 0).all()


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 0), ("int16", 0), ("uint16", 65535), ("float32", 7.0)])
def test_what_is_stored_is_never_nodata(dtype, nodata):
    info = SceneInfo(None, ("red",), (1.0,), (0.0,), nodata=nodata, saturated=65535 if dtype == "uint16" else None)
    stored = storable(np.array([-0.4, 0, 0.2, 7, 65534.8, 1e9, -1e9]), np.dtype(dtype), info)
    assert stored.dtype == dtype
    assert (stored != nodata).all()


def test_a_dark_band_is_shown_as_dark(write_scene, tiny_weights, monkeypatch):
    """DN 0 in one band of a pixel that has data in others is a measurement, also where 0 means nodata."""
    path = write_scene(64, 64)
    with rasterio.open(path, "r+") as file:
        dn = file.read()
        dn[10] = 0
        dn[10, :4, :4] = 600
        file.write(dn)
    shown = []
    start = Network.start
    monkeypatch.setattr(
        Network, "start", lambda self, optical, *more: shown.append(optical) or start(self, optical, *more)
    )
    scene = cloudfix.open_scene(path)
    cloudfix.restore(scene, model=str(tiny_weights), replace_all=True)["bands"].compute()
    assert shown[0]["cirrus"][0, 10, 10] == 0


def test_tiles_are_padded_to_one_batch_shape(restored, write_scene):
    path = write_scene()
    options = {"batch_size": 5, "replace_all": True}
    first, second = (restored(path, chunks=c, **options)[1]["bands"].values for c in (60, 200))
    np.testing.assert_array_equal(first, second)


def test_scenes_smaller_than_a_tile(restored, write_scene):
    _, clear = restored(write_scene(20, 33, clouds=((2, 2, 9),)), replace_all=True)
    assert clear["bands"].shape == (13, 20, 33)
    assert np.isfinite(clear["bands"].values).all()


def test_mask_given_as_file_decides(restored, write_scene, tmp_path):
    path, mask_path = write_scene(), tmp_path / "mask.tif"
    classes = np.zeros((150, 170), np.uint8)
    classes[100:110, 100:110] = 2
    with rasterio.open(path) as like:
        profile = like.profile | {"count": 1, "dtype": "uint8", "nodata": 255}
    with rasterio.open(mask_path, "w", **profile) as file:
        file.write(classes, 1)
    scene, clear = restored(path, mask=str(mask_path), buffer=0)
    np.testing.assert_array_equal(clear["mask"].values, classes)
    changed = (clear["bands"].values != scene.values).any(axis=0)
    assert changed[classes == 2].mean() > 0.9
    assert not changed[classes == 0].any()


def test_sar_changes_the_answer_where_it_is(restored, write_scene, tmp_path):
    path, sar = write_scene(), tmp_path / "s1.tif"
    with rasterio.open(path) as like:
        profile = like.profile | {"count": 2, "dtype": "float32", "nodata": None}
    with rasterio.open(sar, "w", **profile) as file:
        file.write(np.random.default_rng(1).normal(-12, 3, (2, 150, 170)).astype("float32"))
        file.descriptions = ("VV", "VH")
    without, guided = restored(path)[1]["bands"].values, restored(path, sar=str(sar))[1]["bands"].values
    assert (without != guided).mean() > 0.01


def test_unknown_bands_are_kept_or_blanked(write_scene, tiny_weights):
    scene = cloudfix.open_scene(write_scene())
    scene = scene.assign_attrs(slots=[*scene.attrs["slots"][:-1], ""])
    options = {"model": str(tiny_weights), "precision": "fp32"}
    with pytest.warns(CloudfixWarning, match="B12"):
        kept = cloudfix.restore(scene, **options)
    np.testing.assert_array_equal(kept["bands"].values[-1], scene.values[-1])
    blanked = cloudfix.restore(scene, unknown_bands="blank", **options)
    wanted = blanked["synthesised"].values > 0
    assert (blanked["bands"].values[-1][wanted] == 0).all()
    np.testing.assert_array_equal(blanked["bands"].values[-1][~wanted], scene.values[-1][~wanted])


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"tile": 100}, UsageError, "--tile 100"),
        ({"overlap": 60}, UsageError, "--overlap 60"),
        ({"buffer": -1}, UsageError, "--buffer -1"),
        ({"batch_size": 0}, UsageError, "--batch-size 0"),
        ({"device": "cuda:99"}, UsageError, "--device cuda:99"),
        ({"device": "toaster"}, UsageError, "--device toaster"),
        ({"precision": "fp17"}, UsageError, "--precision fp17"),
        ({"precision": "fp16", "device": "cpu"}, UsageError, "GPU"),
        ({"unknown_bands": "drop"}, UsageError, "--unknown-bands drop"),
        ({"mask": "nowhere.tif"}, MaskError, "nowhere.tif"),
        ({"mask": "s2cloudles"}, MaskError, "s2cloudless"),
        ({"device": "cuda:"}, UsageError, "--device cuda:"),
        ({"tile": 0}, UsageError, "--tile 0"),
    ],
)
def test_wrong_options_are_one_line(restored, options, error, says):
    with pytest.raises(error, match=says) as caught:
        restored(**options)
    assert "\n" not in str(caught.value)


def test_bands_the_model_needs_are_named(restored, write_scene, tiny_weights):
    scene = cloudfix.open_scene(write_scene())
    part = scene.isel(band=[0, 1, 2])
    attrs = {k: (v[:3] if isinstance(v, list) and len(v) == 13 else v) for k, v in scene.attrs.items()}
    with pytest.raises(ModelError, match="red"), warnings.catch_warnings():
        cloudfix.restore(part.assign_attrs(attrs), model=str(tiny_weights), mask=part[0] > 9999)
