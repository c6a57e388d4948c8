"""Radar on the scene's grid: placed right, in dB, the same for every chunk, refused when it cannot help."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.transform import Affine, from_bounds
from rasterio.warp import transform, transform_bounds

from cloudfix.errors import CloudfixWarning, SarError
from cloudfix.raster.sar import is_linear, open_sar, to_decibel
from cloudfix.raster.scene import open_scene

WGS84 = "EPSG:4326"
UTM = "EPSG:32633"

pytestmark = pytest.mark.usefixtures("no_warnings")


@pytest.fixture
def scene(raster, dn):
    def make(height=150, width=170, *, chunks=1024, **options):
        names, tags = ("B02", "B03", "B04"), {"PRODUCT_TYPE": "S2MSI2A"}
        path = raster("scene.tif", dn(3, height, width), descriptions=names, tags=tags, **options)
        return open_scene(path, chunks=chunks)

    return make


@pytest.fixture
def backscatter(rng):
    """VV and VH in dB."""

    def make(height=150, width=170):
        return rng.normal([[[-11]], [[-17]]], 2.5, (2, height, width)).astype("float32")

    return make


def footprint(scene, *, grow=0.0):
    """The scene's bounds in degrees, enlarged by a part of their size."""
    west, south, east, north = transform_bounds(UTM, WGS84, *scene.rio.bounds())
    dx, dy = (east - west) * grow, (north - south) * grow
    return west - dx, south - dy, east + dx, north + dy


def test_radar_on_the_scenes_own_grid_is_taken_as_it_is(raster, scene, backscatter):
    values = backscatter()
    path = raster("s1.tif", values, descriptions=("VV", "VH"))
    sar = open_sar(path, scene(chunks=64))
    assert sar.dims == ("band", "y", "x")
    assert sar.band.values.tolist() == ["vv", "vh"]
    assert sar.dtype == np.float32
    assert sar.attrs["units"] == "dB"
    assert sar.chunks == ((2,), (64, 64, 22), (64, 64, 42))
    np.testing.assert_array_equal(sar.values, values)


@pytest.mark.parametrize("pixel", [2e-5, 1e-4, 4e-4])
def test_every_pixel_lies_where_it_belongs(raster, scene, pixel):
    """An image of longitude and latitude, warped, gives the coordinates of each of the scene's pixels."""
    like = scene()
    west, south, east, north = footprint(like, grow=0.1)
    width, height = int((east - west) / pixel), int((north - south) / pixel)
    grid = from_bounds(west, south, east, north, width, height)
    lon = west + (np.arange(width) + 0.5) * grid.a
    lat = north + (np.arange(height) + 0.5) * grid.e
    truth = np.stack(np.broadcast_arrays((lon - west)[None], (lat - south)[:, None])) * 1000 - 40
    path = raster("s1.tif", truth.astype("float32"), crs=WGS84, transform=grid, descriptions=("VV", "VH"))
    sar = open_sar(path, like)
    x, y = np.meshgrid(like.x, like.y)
    lons, lats = transform(UTM, WGS84, x.ravel(), y.ravel())
    for found, place, start in ((sar.values[0], lons, west), (sar.values[1], lats, south)):
        error = (found.ravel() + 40) / 1000 + start - place
        assert np.abs(error).max() < max(pixel, 1e-4) * 0.2


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("pixel", [4e-5, 3e-4])
def test_values_do_not_depend_on_chunks(raster, scene, backscatter, linear, pixel):
    like = scene(600, 700)
    west, south, east, north = footprint(like, grow=0.05)
    width, height = int((east - west) / pixel), int((north - south) / pixel)
    values = backscatter(height, width)
    path = raster(
        "s1.tif", 10 ** (values / 10) if linear else values, crs=WGS84, descriptions=("VV", "VH"),
        transform=from_bounds(west, south, east, north, width, height),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CloudfixWarning)
        first, *others = (open_sar(path, like.chunk(y=c, x=c)).values for c in (512, 128, 1024))
    assert not np.isnan(first).any()
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_finer_radar_is_averaged(raster, scene, rng):
    """At five times the resolution the mean of 25 pixels has a fifth of the speckle."""
    values = rng.normal(-12, 3, (1, 750, 850)).astype("float32")
    sar = open_sar(raster("s1_vv.tif", values, pixel=2), scene())
    np.testing.assert_allclose(sar.values[0], values[0].reshape(150, 5, 170, 5).mean(axis=(1, 3)), atol=1e-3)


def test_vv_alone_is_enough(raster, scene, backscatter):
    assert open_sar(raster("x_VV.tif", backscatter()[:1]), scene()).band.values.tolist() == ["vv"]


def test_two_files_are_put_in_order(raster, scene, backscatter):
    values = backscatter()
    paths = [raster("s1a-iw-grd-vh-2020.tif", values[1:]), raster("s1a-iw-grd-vv-2020.tif", values[:1])]
    sar = open_sar(paths, scene())
    assert sar.band.values.tolist() == ["vv", "vh"]
    np.testing.assert_array_equal(sar.values, values)


def test_a_relative_name_means_the_callers_folder(raster, scene, backscatter, monkeypatch):
    values, like = backscatter(), scene()
    path = raster("s1.tif", values, descriptions=("VV", "VH"))
    monkeypatch.chdir(path.parent)
    sar = open_sar("s1.tif", like)
    monkeypatch.chdir("/")
    assert sar.attrs["source"] == [str(path)]
    np.testing.assert_array_equal(sar.values, values)


def test_an_angle_band_is_left_out(raster, scene, backscatter):
    values = np.concatenate([backscatter()[::-1], np.full((1, 150, 170), 38, "float32")])
    sar = open_sar(raster("s1.tif", values, descriptions=("Sigma0_VH_db", "Sigma0_VV_db", "angle")), scene())
    np.testing.assert_array_equal(sar.values, values[1::-1])


def test_an_order_that_nothing_states_is_said(raster, scene, backscatter):
    with pytest.warns(CloudfixWarning, match="polarisations are not stated, taken as VV, VH"):
        assert open_sar(raster("s1.tif", backscatter()), scene()).band.values.tolist() == ["vv", "vh"]


def test_linear_scale_is_converted_aloud(raster, scene, backscatter):
    values = backscatter()
    path = raster("s1.tif", 10 ** (values / 10), descriptions=("VV", "VH"))
    with pytest.warns(CloudfixWarning, match=r"s1\.tif: backscatter in linear scale, converted to dB"):
        sar = open_sar(path, scene())
    np.testing.assert_allclose(sar.values, values, atol=1e-4)


def test_scaled_integers_are_decibel(raster, scene, backscatter):
    values = (backscatter() * 100).round().astype("int16")
    path = raster("s1.tif", values, descriptions=("VV", "VH"), scales=[0.01] * 2, offsets=[0] * 2)
    np.testing.assert_allclose(open_sar(path, scene()).values, values / 100, atol=1e-5)


@pytest.mark.parametrize(("fill", "nodata"), [(0, None), (np.nan, None), (np.nan, np.nan), (-9999, -9999)])
@pytest.mark.parametrize("pixel", [10, 7])
def test_what_is_no_data_is_nan_and_does_not_bleed(raster, scene, pixel, fill, nodata):
    values = np.full((2, 260, 260), -12, "float32")
    values[:, :, :60] = fill
    path = raster("s1.tif", values, pixel=pixel, descriptions=("VV", "VH"), nodata=nodata)
    with pytest.warns(CloudfixWarning, match="of the scene; the rest is restored without radar"):
        found = open_sar(path, scene()).values
    missing = np.isnan(found)
    assert missing[:, :, : 60 * pixel // 10 - 2].all()
    assert not missing[:, :, 60 * pixel // 10 + 2 :].any()
    assert (found[~missing] == -12).all()


@pytest.mark.parametrize("pixel", [10, 8])
def test_a_bright_target_clipped_to_zero_decibel_is_data(raster, scene, backscatter, pixel):
    values = backscatter(200, 220)[:, : 1500 // pixel, : 1700 // pixel + 1]
    values[0, 50:60, 50:60] = 0
    path = raster("s1.tif", values[:, :, : 170 if pixel == 10 else None], pixel=pixel, descriptions=("VV", "VH"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CloudfixWarning)
        sar = open_sar(path, scene())
    assert not np.isnan(sar.values[:, :145, :165]).any()


def test_partial_cover_is_said_and_nan_outside(raster, scene, backscatter):
    path = raster("s1.tif", backscatter(150, 85), descriptions=("VV", "VH"))
    with pytest.warns(CloudfixWarning, match=r"s1\.tif: covers 50% of the scene"):
        sar = open_sar(path, scene())
    assert not np.isnan(sar.values[:, :, :84]).any()
    assert np.isnan(sar.values[:, :, 86:]).all()


@pytest.mark.parametrize(("kept", "said"), [(slice(0, 60), "covers 35% of the scene"), (slice(0, 165), None)])
@pytest.mark.parametrize("pixel", [10, 5])
def test_data_that_fills_its_frame_in_part_is_said(raster, scene, recwarn, pixel, kept, said):
    """The frame alone would promise radar everywhere."""
    values = np.full((2, 1500 // pixel, 1700 // pixel), np.nan, "float32")
    values[..., : kept.stop * 10 // pixel] = -12
    path = raster("s1.tif", values, pixel=pixel, descriptions=("VV", "VH"))
    warnings.simplefilter("always", CloudfixWarning)
    open_sar(path, scene())
    messages = [str(item.message) for item in recwarn if item.category is CloudfixWarning]
    assert len(messages) == (said is not None)
    assert not said or said in messages[0]


@pytest.mark.parametrize("pixel", [10, 12])
def test_a_frame_without_data_over_the_scene_is_refused(raster, scene, backscatter, pixel):
    values = backscatter(300, 170)
    values[:, :160] = np.nan
    grid = Affine(pixel, 0, 500_000, 0, -pixel, 5_000_000)
    path = raster("s1.tif", values, transform=grid, descriptions=("VV", "VH"))
    assert "no data over the scene" in refused(path, scene())


def refused(path, like):
    with pytest.raises(SarError) as error:
        open_sar(path, like)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("crs", "origin"),
    [
        (WGS84, (-60.0, -10.0)),
        ("EPSG:32718", (500_000, 5_000_000)),
        (UTM, (900_000, 5_000_000)),
        (WGS84, (15, 44)),
    ],
)
def test_radar_of_another_place_is_refused_with_both_places(raster, scene, backscatter, crs, origin):
    pixel = 1e-4 if crs == WGS84 else 10
    grid = Affine(pixel, 0, origin[0], 0, -pixel, origin[1])
    message = refused(raster("s1.tif", backscatter(), crs=crs, transform=grid), scene())
    assert "does not overlap the scene: it covers " in message
    assert "the scene 15.000…15.022°E 45.140…45.153°N" in message


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((2, 30, 30), 1500, "uint16"), "values 1500 to 1500 are neither dB"),
        (np.full((2, 30, 30), -1500, "int16"), "values -1500 to -1500 are neither dB"),
        (np.full((2, 30, 30), np.nan, "float32"), "no valid pixel"),
        (np.full((2, 30, 30), 1 + 1j, "complex64"), "complex numbers"),
        (np.full((3, 30, 30), -12, "float32"), "3 bands of unknown polarisation"),
    ],
)
def test_other_values_are_refused(raster, scene, values, said):
    assert said in refused(raster("s1.tif", values), scene(30, 30))


def test_other_polarisations_are_refused(raster, scene, backscatter):
    path = raster("s1.tif", backscatter(), descriptions=("HH", "HV"))
    assert "polarisation HH/HV; VV and VH were expected" in refused(path, scene())
    path = raster("s2.tif", backscatter(), descriptions=("VV", "VV"))
    assert "two bands are VV" in refused(path, scene())


def test_a_missing_file_is_an_error_of_the_radar(tmp_path, scene):
    assert "no such file" in refused(tmp_path / "absent.tif", scene())


def test_without_reference_system_pixels_must_pair(raster, scene, backscatter):
    with pytest.warns(CloudfixWarning, match="no coordinate reference system"):
        like = scene(crs=None)
    values = backscatter()
    path = raster("s1.tif", values, descriptions=("VV", "VH"))
    with pytest.warns(CloudfixWarning, match="the scene has no coordinate reference system; taken as aligned"):
        np.testing.assert_array_equal(open_sar(path, like).values, values)
    other = raster("s2.tif", backscatter(40, 40), descriptions=("VV", "VH"))
    assert "40 × 40 pixels on a scene of 170 × 150" in refused(other, like)


@given(arrays(np.float32, 16, elements=st.floats(-50, 20, width=32)))
def test_linear_and_decibel_are_inverse(decibel):
    power = 10 ** (decibel.astype("float64") / 10)
    np.testing.assert_allclose(to_decibel(power.astype("float32")), decibel, atol=1e-3)


@given(arrays(np.float32, 16, elements=st.floats(-1, 0, width=32)))
def test_power_that_is_not_positive_has_no_decibel(power):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(to_decibel(power)).all()


@given(st.integers(0, 2**32 - 1), st.floats(-25, -5), st.floats(0.5, 5))
def test_units_are_told_apart(seed, mean, spread):
    decibel = np.random.default_rng(seed).normal(mean, spread, 500)
    assert not is_linear("x", decibel)
    assert is_linear("x", 10 ** (decibel / 10))


def test_real_radar_is_read(real_data):
    like = real_data / "s1s2_misc"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CloudfixWarning)
        scene = open_scene(like / "sen1floods_Spain_7370579_S2.tif")
        sar = open_sar(like / "sen1floods_Spain_7370579_S1.tif", scene)
    assert sar.shape == (2, 512, 512)
    assert -25 < float(sar.mean()) < -5
