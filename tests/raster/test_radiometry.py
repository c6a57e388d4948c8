"""DN to reflectance: what files state, what products imply, and what is only suspected."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cloudfix import sensors
from cloudfix.errors import CloudfixWarning, SceneError
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.scene import open_scene

L1C = tuple(sensors.get("sentinel-2-l1c").slots)
LANDSAT = ("B2", "B3", "B4", "BQA")
RGB = ("B04", "B03", "B02")

pytestmark = pytest.mark.usefixtures("no_warnings")


@pytest.fixture
def l1c(raster, dn):
    """Opens three bands of Sentinel-2 L1C and returns the scales and offsets found."""

    def make(name="a.tif", *, data=None, tags=None, **options):
        path = raster(
            name,
            dn(3) if data is None else data,
            descriptions=RGB,
            tags={"PRODUCT_TYPE": "S2MSI1C"} | (tags or {}),
            **options,
        )
        info = SceneInfo.of(open_scene(path))
        return info.scale, info.offset

    return make


def test_sentinel_2_has_no_offset_unless_something_states_it(l1c):
    assert l1c() == ((1e-4,) * 3, (0.0,) * 3)


@pytest.mark.parametrize(
    ("tags", "offset"),
    [
        ({"RADIO_ADD_OFFSET": "-1000"}, -0.1),
        ({"BOA_ADD_OFFSET_1": "-1000.0", "BOA_ADD_OFFSET_2": "-1000.0"}, -0.1),
        ({"RADIO_ADD_OFFSET": "0", "PROCESSING_BASELINE": "05.09"}, 0.0),
        ({"PROCESSING_BASELINE": "04.00"}, -0.1),
        ({"S2_PROCESSING_BASELINE": "05.10"}, -0.1),
        ({"PROCESSING_BASELINE": "03.01"}, 0.0),
        ({"PRODUCT_URI": "S2A_MSIL1C_20180815T100031_N0500_R122_T33TWL_20230815T140000.SAFE"}, -0.1),
        ({"PRODUCT_URI": "S2A_MSIL1C_20230815T100031_N0207_R122_T33TWL_20230815T140000.SAFE"}, 0.0),
    ],
)
def test_metadata_state_sentinel_2s_offset(l1c, tags, offset):
    assert l1c(tags=tags)[1] == pytest.approx((offset,) * 3)


def test_the_products_name_states_the_baseline(l1c):
    name = "S2A_MSIL1C_20190815T100031_N0510_R122_T33TWL_20230815T140000.SAFE/GRANULE/x.tif"
    assert l1c(name)[1] == pytest.approx((-0.1,) * 3)


def test_offsets_that_differ_belong_to_the_products_own_bands(l1c):
    tags = {f"RADIO_ADD_OFFSET_{i}": str(-1000 - i) for i in range(13)}
    assert l1c(tags=tags)[1] == pytest.approx((-0.1003, -0.1002, -0.1001))


def test_an_offset_that_nothing_states_is_suspected_aloud(l1c, dn):
    with pytest.warns(CloudfixWarning, match=r"no sampled DN below 1\d\d\d.*RADIO_ADD_OFFSET=-1000"):
        assert l1c(data=dn(3, low=1050))[1] == (0.0,) * 3


def test_the_suggested_remedy_works(raster, dn):
    rio = pytest.importorskip("rasterio.rio.main")
    from click.testing import CliRunner

    path = raster("a.tif", dn(13, low=1050), descriptions=L1C)
    with pytest.warns(CloudfixWarning, match="RADIO_ADD_OFFSET") as said:
        open_scene(path)
    command = str(said[0].message).split("If it is: rio ")[1].split()
    assert CliRunner().invoke(rio.main_group, command).exit_code == 0
    assert SceneInfo.of(open_scene(path)).offset == pytest.approx((-0.1,) * 13)


def test_the_files_own_scale_counts(l1c):
    assert l1c(scales=[1e-4] * 3, offsets=[-0.1] * 3) == ((1e-4,) * 3, (-0.1,) * 3)


def test_an_offset_in_dn_counts(l1c):
    scale, offset = l1c(scales=[1] * 3, offsets=[-1000] * 3)
    assert (scale, offset) == (pytest.approx((1e-4,) * 3), pytest.approx((-0.1,) * 3))


def test_an_impossible_scale_is_left_aside_aloud(l1c):
    with pytest.warns(CloudfixWarning, match="scale 25 and offset 7 in the file give no reflectance"):
        assert l1c(scales=[25] * 3, offsets=[7] * 3) == ((1e-4,) * 3, (0.0,) * 3)


def test_reflectance_in_floating_point_is_left_as_it_is(l1c, rng):
    assert l1c(data=rng.random((3, 30, 30), "float32") * 1.6) == ((1.0,) * 3, (0.0,) * 3)


def test_dn_in_floating_point_are_dn(l1c, dn):
    assert l1c(data=dn(3).astype("float32"))[0] == (1e-4,) * 3


def test_landsat_level_1_is_divided_by_the_sine_of_the_suns_elevation(raster, dn):
    info = SceneInfo.of(open_scene(raster("a.tif", dn(4), descriptions=LANDSAT, tags={"SUN_ELEVATION": "30"})))
    assert info.scale == pytest.approx((4e-5, 4e-5, 4e-5, 1))
    assert info.offset == pytest.approx((-0.2, -0.2, -0.2, 0))


@pytest.mark.parametrize("other", [False, True])
def test_the_suns_elevation_is_read_from_the_mtl_beside(raster, dn, tmp_path, other):
    product = "LC08_L1TP_021039_20170603_20200903_02_T1"
    (tmp_path / f"{product}_MTL.txt").write_text("GROUP = X\n    SUN_ELEVATION = 66.2\nEND\n")
    if other:
        (tmp_path / "LC08_L1TP_021039_20180101_20200903_02_T1_MTL.txt").write_text("SUN_ELEVATION = 20.0\n")
    scene = open_scene([raster(f"{product}_B{i}.TIF", dn(1)) for i in (2, 3)])
    assert SceneInfo.of(scene).scale == pytest.approx((2e-5 / math.sin(math.radians(66.2)),) * 2)


def test_a_landsat_scene_without_sun_elevation_says_so(raster, dn):
    with pytest.warns(CloudfixWarning, match="no SUN_ELEVATION"):
        info = SceneInfo.of(open_scene(raster("a.tif", dn(4), descriptions=LANDSAT)))
    assert info.scale[:3] == (2e-5,) * 3


def test_a_night_scene_is_refused(raster, dn):
    path = raster("a.tif", dn(4), descriptions=LANDSAT, tags={"SUN_ELEVATION": "-12"})
    with pytest.raises(SceneError, match=r"a\.tif.*sun elevation -12"):
        open_scene(path)


def test_landsat_level_2_needs_no_sun(raster, dn):
    info = SceneInfo.of(open_scene(raster("a.tif", dn(2), descriptions=("SR_B2", "QA_PIXEL"))))
    assert (info.scale, info.offset) == ((2.75e-5, 1.0), (-0.2, 0.0))


def test_rgb_is_a_255th(raster, dn):
    info = SceneInfo.of(open_scene(raster("a.tif", dn(3, high=255).astype("uint8"), photometric="rgb")))
    assert info.scale == (1 / 255,) * 3
    assert info.nodata is None


@pytest.mark.parametrize(
    ("profile", "dtype", "nodata", "saturated"),
    [({}, "uint16", 0.0, 65535.0), ({"nodata": 7}, "uint16", 7.0, 65535.0), ({}, "int16", 0.0, None)],
)
def test_nodata_is_the_files_or_the_sensors(raster, dn, profile, dtype, nodata, saturated):
    path = raster("a.tif", dn(13).astype(dtype), descriptions=L1C, **profile)
    info = SceneInfo.of(open_scene(path))
    assert (info.nodata, info.saturated) == (nodata, saturated)


def test_reflectance_without_declared_nodata_has_none(raster, rng):
    path = raster("a.tif", rng.random((13, 20, 20), "float32"), descriptions=L1C)
    assert SceneInfo.of(open_scene(path)).nodata is None


def test_the_record_comes_back_from_the_attributes(raster, dn):
    import json

    scene = open_scene(raster("a.tif", dn(13), descriptions=L1C))
    info = SceneInfo.of(scene)
    assert SceneInfo.of(scene.assign_attrs(json.loads(json.dumps(info.to_attrs())))) == info
    with pytest.raises(SceneError, match=r"open the file with cloudfix\.open_scene"):
        SceneInfo.of(scene.drop_attrs())


def test_terramesh_tiles_with_the_offset_are_noticed(real_data):
    tile = next((real_data / "terramind").glob("S2L1C_433D*.tif"))
    with pytest.warns(CloudfixWarning) as said:
        info = SceneInfo.of(open_scene(tile))
    assert any("RADIO_ADD_OFFSET" in str(item.message) for item in said)
    assert np.unique(info.offset).tolist() == [0.0]


@pytest.mark.parametrize("value", ["nan", "inf", "1e999"])
def test_tags_that_are_no_numbers_are_no_evidence(l1c, raster, dn, value):
    assert l1c(tags={"PROCESSING_BASELINE": value, "RADIO_ADD_OFFSET": value}) == ((1e-4,) * 3, (0.0,) * 3)
    with pytest.warns(CloudfixWarning, match="no SUN_ELEVATION"):
        open_scene(raster("b.tif", dn(4), descriptions=LANDSAT, tags={"SUN_ELEVATION": value}))


@pytest.mark.parametrize("form", ["json", "xml"])
def test_the_mtl_beside_may_be_of_any_form(raster, dn, products, tmp_path, form):
    (tmp_path / f"{products.L8_L1}_MTL.{form}").write_text(products.mtl_text(1, form))
    scene = open_scene([raster(f"{products.L8_L1}_B{i}.TIF", dn(1)) for i in (2, 3)])
    assert SceneInfo.of(scene).scale[0] == pytest.approx(2e-5 / math.sin(math.radians(products.L8_SUN)))
