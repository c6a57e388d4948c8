"""Sensors and bands from descriptions, names, tags, counts and options."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from cloudfix import sensors
from cloudfix.errors import CloudfixWarning, SceneError, UsageError
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.scene import open_scene

L1C = tuple(sensors.get("sentinel-2-l1c").slots)
L2A = tuple(sensors.get("sentinel-2-l2a").slots)


@pytest.fixture(autouse=True)
def no_warnings():
    """What nothing is assumed about must not warn; tests of guesses use pytest.warns inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", CloudfixWarning)
        yield


def recognised(scene):
    info = SceneInfo.of(scene)
    return info.sensor, tuple(scene["band"].values.tolist()), info.slots


@pytest.mark.parametrize(
    ("descriptions", "tags", "sensor", "names"),
    [
        (L1C, {}, "sentinel-2-l1c", L1C),
        ((*L2A, "SCL"), {}, "sentinel-2-l2a", (*L2A, "SCL")),
        (L2A, {"PROCESSING_LEVEL": "Level-2A", "SPACECRAFT_NAME": "Sentinel-2B"}, "sentinel-2-l2a", L2A),
        (("B2", "B3", "B4", "B8"), {"PRODUCT_TYPE": "S2MSI1C"}, "sentinel-2-l1c", ("B02", "B03", "B04", "B08")),
        (
            ("B4, central wavelength 665 nm", "B8A, central wavelength 865 nm"),
            {"PRODUCT_URI": "S2A_MSIL2A_20230815T100031_N0509_R122_T33TWL_20230815T140000.SAFE"},
            "sentinel-2-l2a",
            ("B04", "B8A"),
        ),
        (
            ("SR_B2", "SR_B5", "ST_B10", "QA_PIXEL"), {}, "landsat-8-l2", ("B2", "B5", "ST_B10", "QA_PIXEL"),
        ),
        (
            ("Band 2", "Band 5"), {"SPACECRAFT_ID": "LANDSAT_9", "PROCESSING_LEVEL": "L2SP"}, "landsat-8-l2",
            ("B2", "B5"),
        ),
        (("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9"), {"SUN_ELEVATION": "45"}, "landsat-8-l1",
         ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9")),
        (("red", "nir08"), {"LANDSAT_PRODUCT_ID": "LC08_L2SP_021039_20200603_20200903_02_T1"}, "landsat-8-l2",
         ("red", "nir08")),
    ],
)  # fmt: skip
def test_descriptions_and_tags_settle_it(raster, dn, descriptions, tags, sensor, names):
    scene = open_scene(raster("a.tif", dn(len(descriptions)), descriptions=descriptions, tags=tags))
    table = sensors.get(sensor).slots
    slots = tuple(name if name in sensors.SLOTS else table.get(name, "") for name in names)
    assert recognised(scene) == (sensor, names, slots)


def test_every_slot_of_l1c_is_where_it_belongs(raster, dn):
    assert SceneInfo.of(open_scene(raster("a.tif", dn(13), descriptions=L1C))).slots == sensors.SLOTS


@pytest.mark.parametrize(
    ("names", "sensor", "bands"),
    [
        (["T33UUB_20170527T100031_B02.jp2", "T33UUB_20170527T100031_B8A.jp2"], "sentinel-2-l1c", ["B02", "B8A"]),
        (
            ["T33UUB_20170527T100031_B02_10m.jp2", "T33UUB_20170527T100031_SCL_20m.jp2"], "sentinel-2-l2a",
            ["B02", "SCL"],
        ),
        (["S2A_33TWL_20230815_0_L2A_B02.tif", "S2A_33TWL_20230815_0_L2A_B03.tif"], "sentinel-2-l2a", ["B02", "B03"]),
        (["l8_B1.tif", "l8_B10.tif", "l8_BQA.tif"], "landsat-8-l1", ["B1", "B10", "BQA"]),
        (["x_SR_B2.TIF", "x_QA_PIXEL.TIF"], "landsat-8-l2", ["B2", "QA_PIXEL"]),
        (["B02.tif", "B03.tif", "B10.tif"], "sentinel-2-l1c", ["B02", "B03", "B10"]),
        (["S2B_MSIL2A_20230815T100031_N0509_R122_T33TWL_20230815T140000.SAFE/blue.tif"], "sentinel-2-l2a", ["blue"]),
    ],
)  # fmt: skip
def test_file_names_settle_it(raster, dn, names, sensor, bands, tmp_path):
    (tmp_path / "x_MTL.txt").write_text("  SUN_ELEVATION = 50.0\n")
    scene = open_scene([raster(name, dn(1)) for name in names])
    assert recognised(scene)[:2] == (sensor, tuple(bands))


@pytest.mark.parametrize(
    ("count", "sensor", "names"),
    [
        (13, "sentinel-2-l1c", L1C),
        (12, "sentinel-2-l2a", L2A),
        (10, "sentinel-2-l2a", sensors.SENTINEL_2_STACK_10),
    ],
)
def test_a_guess_by_count_is_said_aloud(raster, dn, count, sensor, names):
    path = raster("a.tif", dn(count))
    with pytest.warns(CloudfixWarning, match=r"number alone.*--sensor and --bands") as said:
        scene = open_scene(path)
    assert recognised(scene)[:2] == (sensor, names)
    assert SceneInfo.of(scene).notes == tuple(str(item.message) for item in said)


def test_three_bytes_are_rgb(raster, dn):
    with pytest.warns(CloudfixWarning, match="8-bit RGB"):
        scene = open_scene(raster("a.tif", dn(3, high=255).astype("uint8"), photometric="minisblack"))
    assert recognised(scene) == ("rgb", ("red", "green", "blue"), ("red", "green", "blue"))


def test_declared_rgb_is_no_guess(raster, dn):
    path = raster("a.tif", dn(4, high=255).astype("uint8"), photometric="rgb", ALPHA="YES")
    assert recognised(open_scene(path)) == (
        "rgb", ("red", "green", "blue", "alpha"), ("red", "green", "blue", ""),
    )  # fmt: skip


def test_counted_names_are_no_names(raster, dn):
    """The ninth band of a stack that some writer called "Band 9" is B8A, not B09."""
    path = raster("a.tif", dn(13), descriptions=[f"Band {i}" for i in range(1, 14)])
    with pytest.warns(CloudfixWarning, match="number alone"):
        assert recognised(open_scene(path))[1] == L1C


def test_options_settle_what_is_open(raster, dn):
    path = raster("a.tif", dn(4))
    scene = open_scene(path, sensor="sentinel-2-l2a", bands=["B02", "B03", "red", "extra"])
    assert recognised(scene) == (
        "sentinel-2-l2a", ("B02", "B03", "red", "extra"), ("blue", "green", "red", ""),
    )  # fmt: skip


def test_options_win_over_descriptions(raster, dn):
    path = raster("a.tif", dn(2), descriptions=("B02", "B03"))
    scene = open_scene(path, sensor="landsat-8-l2", bands=["B5", "B4"])
    assert recognised(scene) == ("landsat-8-l2", ("B5", "B4"), ("nir08", "red"))


@pytest.mark.parametrize(
    ("descriptions", "tags", "sensor", "said"),
    [
        (L1C, {}, "landsat-8-l1", "bands are named B01, B02, B03, B04 … as Sentinel-2's"),
        (("B8", "B8A"), {}, "landsat-8-l2", "bands are named B8A as Sentinel-2's"),
        (("SR_B2", "SR_B5"), {}, "landsat-8-l1", "bands are named SR_B2, SR_B5 as Landsat Level-2's"),
        (("B2", "QA_PIXEL"), {}, "sentinel-2-l2a", "bands are named QA_PIXEL as Landsat's"),
        (("blue", "red"), {"PRODUCT_TYPE": "S2MSI1C"}, "landsat-8-l1", "PRODUCT_TYPE=S2MSI1C says sentinel-2-l1c"),
        (("blue", "red"), {"PRODUCT_TYPE": "S2MSI1C"}, "sentinel-2-l2a", "PRODUCT_TYPE=S2MSI1C says sentinel-2-l1c"),
        (("B2", "B3"), {"SPACECRAFT_ID": "LANDSAT_9"}, "sentinel-2-l1c", "SPACECRAFT_ID=LANDSAT_9 says landsat-8"),
        (("blue", "red"), {"CLOUDFIX_SENSOR": "landsat-8-l1"}, "landsat-8-l2", "CLOUDFIX_SENSOR=landsat-8-l1 says"),
    ],
)
def test_a_sensor_that_the_file_contradicts_is_refused(raster, dn, descriptions, tags, sensor, said):
    path = raster("a.tif", dn(len(descriptions)), descriptions=descriptions, tags=tags)
    with pytest.raises(SceneError) as refused:
        open_scene(path, sensor=sensor)
    assert f"a.tif: --sensor {sensor}, but" in str(refused.value)
    assert said in str(refused.value)
    assert "leave --sensor out" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("descriptions", "tags", "sensor"),
    [
        (("B2", "B3", "B4"), {}, "landsat-8-l2"),
        (("B2", "B3", "B4"), {}, "sentinel-2-l2a"),
        (("blue", "red"), {"SOURCE": "registered to Sentinel-2"}, "landsat-8-l2"),
        # of the product that a surface reflectance was made from
        (("blue", "red"), {"PRODUCT_URI": "S2A_MSIL1C_20200527T100031.SAFE"}, "sentinel-2-l2a"),
        ((*L2A, "SCL"), {"PRODUCT_TYPE": "S2MSI2A"}, "sentinel-2-l2a"),
        ((*L1C, "SCL"), {}, "sentinel-2-l1c"),
    ],
)
def test_a_sensor_that_nothing_contradicts_is_taken(raster, dn, descriptions, tags, sensor):
    path = raster("a.tif", dn(len(descriptions)), descriptions=descriptions, tags=tags)
    assert SceneInfo.of(open_scene(path, sensor=sensor)).sensor == sensor


def test_a_level_that_nothing_states_is_said(raster, dn):
    path = raster("a.tif", dn(4), descriptions=("B02", "B03", "B04", "B08"))
    with pytest.warns(CloudfixWarning, match="taken as L2A"):
        assert open_scene(path).attrs["sensor"] == "sentinel-2-l2a"


def test_common_names_with_reflectance_need_no_sensor(raster, rng):
    path = raster("a.tif", rng.random((2, 30, 30), "float32"), descriptions=("blue", "swir16"))
    info = SceneInfo.of(open_scene(path))
    assert (info.sensor, info.slots, info.scale, info.offset) == (None, ("blue", "swir16"), (1, 1), (0, 0))


@pytest.mark.parametrize("name", ["SCL", "QA_PIXEL", "BQA"])
def test_the_products_own_classes_are_found(raster, dn, name):
    sensor = "sentinel-2-l2a" if name == "SCL" else "landsat-8-l1"
    path = raster("a.tif", dn(2), descriptions=("B4", name), tags={"SUN_ELEVATION": "40"})
    assert SceneInfo.of(open_scene(path, sensor=sensor)).quality_band == name


@pytest.mark.parametrize(
    ("count", "options", "said"),
    [
        (4, {}, r"4 bands without names \(uint16\).*--sensor sentinel-2-l2a --bands B02,B03,B04,B08"),
        (4, {"sensor": "sentinel-2-l2a"}, "4 bands without names.*sentinel-2-l2a.*--bands"),
        (4, {"bands": ["B02", "B03"]}, "--bands names 2 bands, the scene has 4"),
        (2, {"bands": ["B02", "B2"], "sensor": "sentinel-2-l2a"}, "2 bands named B02"),
        (2, {"bands": ["B08", "nir"], "sensor": "sentinel-2-l2a"}, "2 bands in slot nir"),
        (2, {"bands": ["foo", "bar"], "sensor": "sentinel-2-l2a"}, "foo, bar are unknown to Sentinel-2 L2A"),
        (2, {"bands": ["B2", "B3"]}, "B2, B3 could be Sentinel-2's or Landsat's; say --sensor"),
        (7, {"bands": ["B1", "B2", "B3", "B4", "B5", "B6", "B7"]}, "--sensor landsat-8-l1 or --sensor landsat-8-l2"),
        (2, {"bands": ["blue", "red"]}, "no scale in the file; say --sensor"),
    ],
)  # fmt: skip
def test_what_stays_open_is_refused(raster, dn, count, options, said):
    with pytest.raises(SceneError, match=said) as refused:
        open_scene(raster("a.tif", dn(count)), **options)
    assert "a.tif" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["LE07_L1TP_021039_20000603_20200903_02_T1_B1.TIF", "HLS.L30.T33UUB.B05.tif"])
def test_products_with_other_band_numbers_are_refused(raster, dn, name):
    with pytest.raises(SceneError, match="not numbered as Landsat-8"):
        open_scene(raster(name, dn(1)))


def test_an_unknown_sensor_is_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="--sensor modis: unknown; use one of sentinel-2-l1c"):
        open_scene(tmp_path / "absent.tif", sensor="modis")


def test_real_products_are_recognised(real_data):
    with pytest.warns(CloudfixWarning, match="SUN_ELEVATION"):
        landsat = open_scene(sorted((real_data / "scene_l8_cloudy").glob("*.tif")))
    assert recognised(landsat)[0] == "landsat-8-l1"
    assert sum(map(bool, SceneInfo.of(landsat).slots)) == 8
    assert SceneInfo.of(landsat).quality_band == "BQA"
    l2a = open_scene(sorted((real_data / "scenes_l2a_120m").glob("S2B*.jp2")))
    assert recognised(l2a) == (
        "sentinel-2-l2a", ("B02", "B03", "B04", "B08", "SCL"), ("blue", "green", "red", "nir", ""),
    )  # fmt: skip
    assert l2a.rio.crs.to_epsg() == 32633
    assert np.asarray(l2a[:, :50, :50]).any()
