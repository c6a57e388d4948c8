"""STAC items, as the catalogues in use write them, of 1.0 and 1.1."""

from __future__ import annotations

import json
import shutil
import warnings
from typing import Any

import pytest

from cloudfix.errors import CloudfixWarning, SarError, SceneError
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.sar import open_sar
from cloudfix.raster.scene import open_scene
from cloudfix.sensors import sun_factor

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@pytest.fixture(autouse=True)
def only_the_usual_note(no_warnings):
    warnings.filterwarnings("ignore", ".* resampled to pixels", CloudfixWarning)
    warnings.filterwarnings("ignore", ".* (converted to dB|restored without radar)", CloudfixWarning)


@pytest.fixture
def images(raster, dn) -> dict[str, str]:
    """Rasters beside the items, by what they are called there."""
    made = {name: raster(f"{name}.tif", dn(1, 60, 60)) for name in ("B02", "B04", "B08")}
    made |= {name: raster(f"{name}.tif", dn(1, 30, 30), pixel=20) for name in ("B05", "B06")}
    made["SCL"] = raster("SCL.tif", dn(1, 30, 30, low=4, high=7).astype("uint8"), pixel=20)
    return {name: f"./{path.name}" for name, path in made.items()}


def earth_search(images: dict[str, str], *, applied: bool | None = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """Assets and properties as Earth Search has them: keys are common names, each band also as a JPEG2000."""
    names = {"blue": "B02", "red": "B04", "nir": "B08", "rededge1": "B05", "rededge2": "B06"}
    bands = {
        key: {
            "href": images[name],
            "type": COG,
            "eo:bands": [{"name": key, "common_name": "rededge" if "edge" in key else key}],
            "raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 1e-4, "offset": -0.1}],
            "roles": ["data", "reflectance"],
        }
        for key, name in names.items()
    }
    others = {
        "scl": {"href": images["SCL"], "type": COG, "roles": ["data", "reflectance"], "raster:bands": [{"nodata": 0}]},
        "visual": {"href": "./TCI.tif", "type": COG, "roles": ["visual"], "eo:bands": [{"name": "red"}] * 3},
        "thumbnail": {"href": "file:///etc/passwd", "type": "image/jpeg", "roles": ["thumbnail"]},
        "tileinfo_metadata": {"href": "./x.json", "type": "application/json", "roles": ["metadata"]},
    }
    properties = {"platform": "sentinel-2b", "s2:processing_baseline": "05.09"}
    if applied is not None:
        properties["earthsearch:boa_offset_applied"] = applied
    before = {
        "blue-jp2": {"href": "./absent.jp2", "type": "image/jp2", "eo:bands": [{"name": "blue"}]},
        "preview": {"href": "./absent.tif", "type": COG, "roles": ["overview"], "eo:bands": [{"name": "red"}]},
    }
    return before | bands | others, properties


def facts(scene):
    info = SceneInfo.of(scene)
    slots = {slot: (scale, offset) for slot, scale, offset in zip(info.slots, info.scale, info.offset, strict=True)}
    return info.sensor, {slot: pair for slot, pair in slots.items() if slot}


@pytest.mark.parametrize(("applied", "offset"), [(True, 0.0), (False, -0.1), (None, -0.1)])
def test_earth_search(products, tmp_path, images, applied, offset):
    """Its COGs have the offset taken out, and its items state it all the same."""
    assets, properties = earth_search(images, applied=applied)
    item = products.stac_item(
        tmp_path / "S2B_33TWL_20230810_0_L2A.json", assets, properties, collection="sentinel-2-l2a"
    )
    scene = open_scene(item)
    sensor, found = facts(scene)
    assert sensor == "sentinel-2-l2a"
    assert found == dict.fromkeys(("blue", "red", "rededge071", "rededge075", "nir"), (1e-4, offset))
    assert scene.attrs["quality_band"] == "SCL"
    assert scene.shape == (6, 60, 60)
    assert scene.attrs["product"] == "S2B_33TWL_20230810_0_L2A"
    assert scene.attrs["source"] == [str(item)]


@pytest.mark.parametrize(("baseline", "offset"), [("02.14", 0.0), ("05.10", -0.1)])
def test_planetary_computer(products, tmp_path, images, baseline, offset):
    """Keys are band names, and nothing but the baseline tells the offset."""
    assets = {
        name: {"href": href, "type": COG, "gsd": 10, "eo:bands": [{"name": name}] if name != "SCL" else None}
        for name, href in images.items()
    }
    name = f"S2A_MSIL2A_20200101T100031_R122_T33UUB_{baseline}.json"
    item = products.stac_item(tmp_path / name, assets, {"s2:processing_baseline": baseline})
    assert facts(open_scene(item)) == (
        "sentinel-2-l2a",
        dict.fromkeys(("blue", "red", "rededge071", "rededge075", "nir"), (1e-4, offset)),
    )


def test_an_offset_from_before_there_were_any_is_none(products, tmp_path, images):
    assets, properties = earth_search(images, applied=False)
    properties["s2:processing_baseline"] = "02.14"
    item = products.stac_item(tmp_path / "a.json", assets, properties, collection="sentinel-2-l2a")
    assert set(open_scene(item).attrs["offset"]) == {0.0}


def test_copernicus_data_space_has_each_band_several_times(products, tmp_path, images, raster, dn):
    """STAC 1.1: one list of bands, and keys that tell the resolution."""
    raster("B02_20m.tif", dn(1, 30, 30), pixel=20)
    assets = {
        f"{name}_{metres}m": {
            "href": href,
            "type": "image/jp2",
            "bands": [{"name": name, "eo:common_name": "blue"}],
            "raster:scale": 1e-4,
            "raster:offset": -0.1,
        }
        for name, metres, href in (("B02", 10, images["B02"]), ("B02", 20, "B02_20m.tif"), ("B05", 20, images["B05"]))
    }
    properties = {"processing:version": "05.11"}
    item = products.stac_item(
        tmp_path / "S2A_MSIL2A_X.json", assets, properties, stac_version="1.1.0", collection="sentinel-2-l2a"
    )
    fine, coarse = open_scene(item), open_scene(item, resolution=20)
    assert (fine.shape, coarse.shape) == ((2, 60, 60), (2, 30, 30))
    assert [name.rsplit("/")[-1] for name in coarse.attrs["files"]] == ["B02_20m.tif", "B05.tif"]
    assert facts(fine)[1] == {"blue": (1e-4, -0.1), "rededge071": (1e-4, -0.1)}


@pytest.mark.parametrize(("level", "scale", "offset"), [("L2SP", 2.75e-5, -0.2), ("L1TP", 2e-5, -0.1)])
def test_landsat(products, tmp_path, raster, dn, level, scale, offset):
    names = {"blue": "B2", "nir08": "B5", "qa_pixel": "QA_PIXEL"}
    assets = {}
    for key, name in names.items():
        path = raster(f"LC09_{name}.TIF", dn(1, low=7000, high=20000), pixel=30)
        assets[key] = {"href": path.name, "type": COG, "eo:bands": [{"name": f"OLI_{name}", "common_name": key}]}
    properties = {"platform": "LANDSAT_9", "view:sun_elevation": 40.0}
    item = products.stac_item(tmp_path / f"LC09_{level}_191025_20230818_20230826_02_T1.json", assets, properties)
    factor = 1.0 if level == "L2SP" else sun_factor(40.0)
    scene = open_scene(item)
    assert facts(scene)[1] == {"blue": (scale * factor, offset * factor), "nir08": (scale * factor, offset * factor)}
    assert scene.attrs["quality_band"] == "QA_PIXEL"


def test_one_asset_with_all_bands(products, tmp_path, raster, dn):
    path = raster("image.tif", dn(3))
    bands = [{"name": "B02"}, {"name": "B03"}, {"name": "B8A"}]
    item = products.stac_item(
        tmp_path / "S2A_MSIL1C_X.json", {"image": {"href": path.name, "type": COG, "bands": bands}}, {}
    )
    scene = open_scene(item)
    assert scene.band.values.tolist() == ["B02", "B03", "B8A"]


def test_a_radar_item(products, tmp_path, images):
    source = products.sentinel1_rtc(tmp_path / "x", pixel=10)
    for name in ("VV", "VH"):
        shutil.copy(next(source.glob(f"*_{name}.tif")), tmp_path / f"iw-{name.lower()}.rtc.tiff")
    assets = {name: {"href": f"iw-{name}.rtc.tiff", "type": COG} for name in ("vh", "vv")}
    item = products.stac_item(tmp_path / "S1A_rtc.json", assets, {})
    scene_path = products.sentinel2(tmp_path, bands=("B02",), side=5)
    sar = open_sar(item, open_scene(scene_path))
    assert sar.band.values.tolist() == ["vv", "vh"]
    assert float(sar.sel(band="vv").mean()) > float(sar.sel(band="vh").mean())
    with pytest.raises(SarError, match="no raster asset vv or vh"):
        open_sar(products.stac_item(tmp_path / "none.json", {}, {}), open_scene(scene_path))


@pytest.mark.parametrize(
    ("href", "said"),
    [
        ("file:///etc/passwd", "outside the item's folder"),
        ("/etc/passwd", "outside the item's folder"),
        ("../up.tif", "outside the item's folder"),
        ("a/../../up.tif", "outside the item's folder"),
        ("file://%2e%2e/up.tif", "no such file|outside"),
        ("https://example.com/B02.tif", "not a file on disk; --allow-remote"),
        ("/vsicurl/https://example.com/B02.tif", "not a file on disk; --allow-remote"),
        ("s3://bucket/B02.tif", "not a file on disk; --allow-remote"),
        ("x" * 5000 + ".tif", "file name too long|outside"),
        ("nul\0byte.tif", "outside the item's folder|null"),
        ("absent.tif", "no such file"),
    ],
)
def test_assets_elsewhere_are_refused(products, tmp_path, raster, dn, href, said):
    raster("up.tif", dn(1))
    folder = tmp_path / "item"
    folder.mkdir()
    item = products.stac_item(
        folder / "S2A_MSIL2A_X.json", {"B02": {"href": href, "type": COG, "eo:bands": [{"name": "B02"}]}}, {}
    )
    with pytest.raises(SceneError, match=said) as refused:
        open_scene(item)
    assert "\n" not in str(refused.value)


def test_a_link_out_of_the_folder_is_refused(products, tmp_path, raster, dn):
    folder = tmp_path / "item"
    folder.mkdir()
    (folder / "B02.tif").symlink_to(raster("up.tif", dn(1)))
    item = products.stac_item(folder / "S2A_MSIL2A_X.json", {"B02": {"href": "B02.tif", "type": COG}}, {})
    with pytest.raises(SceneError, match="outside the item's folder"):
        open_scene(item)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no STAC item"),
        ('{"type": "FeatureCollection", "features": []}', r"is no STAC item \(FeatureCollection\)"),
        ('{"type": "Feature", "assets": 3}', "is no STAC item"),
        ('{"type": "Feature", "assets": {"a": {"href": "a.tif"}}}', "none of its 1 raster assets names a band"),
        ("\ud800".encode("utf-8", "surrogatepass"), "is not JSON"),
    ],
)
def test_json_of_another_kind(tmp_path, content, said):
    path = tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SceneError, match=said) as refused:
        open_scene(path)
    assert "\n" not in str(refused.value)


def test_numbers_that_are_none(products, tmp_path, images):
    assets, properties = earth_search(images, applied=False)
    assets["blue"]["raster:bands"][0]["scale"] = "many"
    item = products.stac_item(tmp_path / "S2B_L2A.json", assets, properties, collection="sentinel-2-l2a")
    with pytest.raises(SceneError, match="scale of blue is 'many', where a number was expected"):
        open_scene(item)


def test_names_that_no_tag_can_hold_reach_the_output_in_part(products, tmp_path, images):
    from cloudfix.raster.cog import write_cog

    assets, properties = earth_search(images)
    item = products.stac_item(
        tmp_path / "a.json", assets, {**properties, "platform": "s2\udc00\0"}, collection="sentinel-2-l2a"
    )
    item.write_text(json.dumps(json.loads(item.read_text()) | {"id": "S2B_\ud800 L2A\n"}))
    scene = open_scene(item)
    assert scene.attrs["tags"]["CLOUDFIX_PRODUCT"] == "S2B_  L2A "
    write_cog(scene, tmp_path / "out.tif")
