import dask
import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.transform import Affine, from_origin

import cloudfix
from cloudfix.clouds.simulation import PRESETS, CloudRecipe
from cloudfix.errors import UsageError
from cloudfix.raster.grid import Grid, place
from cloudfix.raster.info import SceneInfo
from cloudfix.restoration import simulated
from cloudfix.restoration.simulated import simulate_scene
from cloudfix.restoration.weather import scene_recipe

RGB = ("red", "green", "blue")
NOTHING = {"cover": None, "cloud_height": None, "sun_azimuth": None, "sun_elevation": None}


def make_scene(height, width, *, transform=None, crs="EPSG:32617", level=1200, tags=None):
    """A flat RGB scene of reflectance × 10000 with a nodata corner."""
    info = SceneInfo("sentinel-2-l1c", RGB, (1e-4,) * 3, (0.0,) * 3, nodata=0.0, saturated=65535.0)
    dn = np.full((3, height, width), level, np.uint16)
    dn[:, :40, :50] = 0
    scene = xr.DataArray(dn, dims=("band", "y", "x"), coords={"band": ["B04", "B03", "B02"]}, attrs=info.to_attrs())
    scene.attrs |= {"bands": ["B04", "B03", "B02"], "tags": tags or {}}
    crs = None if crs is None else rasterio.CRS.from_string(crs)
    return place(scene, Grid(crs, transform or from_origin(0, 0, 10, 10), height, width))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that a small scene has several, at its far edges cut ones."""
    monkeypatch.setattr(simulated, "BLOCK", 128)


def made(scene, **options):
    options = {"seed": 5, "kind": "thick", "cover": 0.5, "cloud_height": 300} | options
    return simulate_scene(scene, **options).compute()


def test_chunks_and_schedulers_do_not_change_a_bit():
    scene = make_scene(300, 420)
    expected = made(scene)
    assert 0.2 < float((expected["mask"] == 1).mean()) < 0.8
    for chunks in (64, 100, 128, 512):
        with dask.config.set(scheduler="synchronous" if chunks == 64 else "threads"):
            found = made(scene.chunk({"y": chunks, "x": chunks}))
        for name in ("bands", "mask", "thickness", "shadow"):
            np.testing.assert_array_equal(found[name].values, expected[name].values)


def test_blocks_leave_no_seam(monkeypatch):
    """Steps across the edges of blocks are no larger than anywhere else, and the sky is that of other blocks."""
    scene = make_scene(400, 400)
    found = made(scene)
    monkeypatch.setattr(simulated, "BLOCK", 200)
    other = made(scene)
    np.testing.assert_allclose(found["thickness"], other["thickness"], atol=1e-6)
    difference = found["bands"].values.astype(int) - other["bands"].values.astype(int)
    assert np.abs(difference).max() <= 1
    for name in ("thickness", "bands"):
        values = np.nan_to_num(np.atleast_3d(found[name].values.T).T.astype(float))
        steps = np.abs(np.diff(values, axis=-1)).mean(axis=(0, 1))
        usual = np.delete(steps, [127, 255, 383])
        assert steps[[127, 255, 383]].max() <= usual.max()


def test_only_cloud_and_shadow_change_pixels_and_nodata_stays():
    scene = make_scene(260, 300)
    found = made(scene)
    bands, thickness, shadow = (found[name].values for name in ("bands", "thickness", "shadow"))
    empty = (scene.values == 0).all(axis=0)
    assert (bands[:, empty] == 0).all()
    assert np.isnan(thickness[empty]).all()
    assert np.isnan(shadow[empty]).all()
    assert (found["mask"].values[empty] == 255).all()
    untouched = (thickness == 0) & (shadow == 0)
    assert untouched.any()
    np.testing.assert_array_equal(bands[:, untouched], scene.values[:, untouched])
    hidden = thickness > 0.9
    assert (bands[:, hidden] != scene.values[:, hidden]).mean() > 0.9
    assert not np.isin(bands[:, ~empty], [0, 65535]).any()
    assert bands.dtype == scene.dtype


def test_the_mask_tells_cloud_from_shadow():
    found = made(make_scene(260, 300))
    mask, thickness, shadow = (found[name].values for name in ("mask", "thickness", "shadow"))
    assert (thickness[mask == 1] > 0.03).all()
    assert (shadow[mask == 2] > 0.03).all()
    assert (thickness[mask == 2] <= 0.03).all()
    assert {0, 1, 2, 255} == set(np.unique(mask).tolist())


def test_bands_without_a_slot_are_left_alone():
    scene = make_scene(140, 150)
    scene.attrs["slots"] = ["red", "", "blue"]
    found = made(scene)["bands"].values
    np.testing.assert_array_equal(found[1], scene.values[1])
    assert (found[0] != scene.values[0]).any()


def test_the_seed_and_the_options_decide():
    scene = make_scene(140, 150)
    first, again, other = (made(scene, seed=seed)["bands"].values for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert made(scene, kind="thin")["thickness"].min() > 0


def test_provenance_says_that_it_is_simulated_and_how():
    tags = simulate_scene(make_scene(64, 64), seed=9, kind="thin").attrs["provenance"]
    assert tags["CLOUDFIX_SEED"] == "9"
    assert "simulated" in tags["CLOUDFIX_SIMULATED"] or "not observed" in tags["CLOUDFIX_SIMULATED"]
    assert '"haze": 1.0' in tags["CLOUDFIX_CLOUDS"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kind": "fluffy"}, "--kind fluffy"),
        ({"cover": 1.5}, "--cover 1.5"),
        ({"cloud_height": -3}, "--cloud-height -3"),
        ({"sun_elevation": 0}, "--sun-elevation 0"),
        ({"sun_azimuth": 400}, "--sun-azimuth 400"),
        ({"seed": -1}, "--seed -1"),
    ],
)
def test_wrong_options_are_named(options, named):
    with pytest.raises(UsageError, match=named):
        simulate_scene(make_scene(64, 64), **options)


def recipe(scene, kind="all", **options) -> CloudRecipe:
    return scene_recipe(scene, kind, **(NOTHING | options))


@pytest.mark.parametrize(
    ("tags", "azimuth", "elevation"),
    [
        ({"SUN_AZIMUTH": "130.5", "SUN_ELEVATION": "41"}, 130.5, 41.0),
        ({"L1_METADATA_SUN_AZIMUTH": "-20", "x": "y"}, 340.0, None),
        ({"view:sun_azimuth": "10", "view:sun_elevation": "low"}, 10.0, None),
        ({}, None, None),
    ],
)
def test_the_scenes_own_sun_is_taken(tags, azimuth, elevation):
    found = recipe(make_scene(64, 64, tags=tags))
    usual = PRESETS["all"]
    assert found.sun_azimuth == pytest.approx(usual.sun_azimuth if azimuth is None else (azimuth, azimuth))
    assert found.sun_elevation == (usual.sun_elevation if elevation is None else (elevation, elevation))


def test_the_sun_that_is_given_goes_before_the_scenes():
    scene = make_scene(64, 64, tags={"SUN_AZIMUTH": "130", "SUN_ELEVATION": "41"})
    found = recipe(scene, sun_azimuth=200.0, sun_elevation=30.0)
    assert found.sun_azimuth == pytest.approx((200, 200))
    assert found.sun_elevation == (30, 30)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (Affine(10, 0, 0, 0, -10, 0), 90.0),
        (Affine(10, 0, 0, 0, 10, 0), 90.0),
        (Affine(-10, 0, 0, 0, -10, 0), 270.0),
        (Affine.rotation(30) @ Affine(10, 0, 0, 0, -10, 0), 120.0),
    ],
)
def test_the_suns_direction_follows_the_grid(transform, expected):
    """Sun in the east: of a grid whose columns run 30° north of east it stands 30° further clockwise."""
    found = recipe(make_scene(64, 64, transform=transform), sun_azimuth=90.0)
    assert found.sun_azimuth[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("crs", "pixel", "metres"),
    [("EPSG:32617", 30, 30.0), ("EPSG:2225", 100, 30.48), ("EPSG:4326", 0.001, 111.3), (None, 1, 10.0)],
)
def test_a_pixel_is_measured_in_metres(crs, pixel, metres):
    scene = make_scene(64, 64, crs=crs, transform=from_origin(0, 0, pixel, pixel))
    assert recipe(scene).pixel == pytest.approx(metres, rel=0.01)


def test_structures_grow_with_the_scene():
    assert recipe(make_scene(64, 64)).wavelength == PRESETS["all"].wavelength
    assert recipe(make_scene(64, 3000)).wavelength == (24, 1000)


def test_a_real_clear_scene_keeps_its_clear_pixels(samples, monkeypatch):
    monkeypatch.setattr(simulated, "BLOCK", 512)
    scene = cloudfix.open_scene(samples / "sentinel2_clear.tif")[:, :200, :220]
    found = simulate_scene(scene, seed=3, kind="thick", cover=0.4, cloud_height=500).compute()
    untouched = (found["thickness"].values == 0) & (found["shadow"].values == 0)
    assert 0.2 < untouched.mean() < 0.7
    np.testing.assert_array_equal(found["bands"].values[:, untouched], scene.values[:, untouched])
    dense = found["thickness"].values > 0.99
    blue = scene.band.values.tolist().index("B02")
    assert found["bands"].values[blue][dense].mean() > 2 * scene.values[blue][dense].mean()
