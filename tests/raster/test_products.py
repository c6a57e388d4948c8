"""Sentinel-2 and Landsat products as they are downloaded: folders and archives, bands of several resolutions."""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

from cloudfix.errors import CloudfixWarning, SceneError, UsageError
from cloudfix.raster.cog import write_cog
from cloudfix.raster.fingerprint import fingerprint
from cloudfix.raster.grid import grid_of
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.scene import open_scene, reopen
from cloudfix.sensors import sun_factor

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

RESAMPLED = ".* resampled to pixels"


@pytest.fixture(autouse=True)
def only_the_usual_note(no_warnings):
    warnings.filterwarnings("ignore", RESAMPLED, CloudfixWarning)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("products")


@pytest.fixture(scope="module")
def l1c(products, folder):
    """Level-1C of before baseline 04.00."""
    return products.sentinel2(folder)


@pytest.fixture(scope="module")
def l2a(products, folder):
    """Level-2A of after baseline 04.00."""
    return products.sentinel2(folder, level="L2A", offset=-1000)


@pytest.fixture(scope="module")
def landsat1(products, folder):
    return products.landsat(folder, level=1)


@pytest.fixture(scope="module")
def landsat2(products, folder):
    return products.landsat(folder, level=2)


def pack(products: Any, path: Path, form: str) -> Path:
    return path if form == "folder" else {"zip": products.zipped, "tar": products.tarred}[form](path)


def facts(scene: xr.DataArray) -> tuple[str | None, set[float], set[float]]:
    info = SceneInfo.of(scene)
    spectral = [index for index, slot in enumerate(info.slots) if slot]
    return info.sensor, {info.scale[i] for i in spectral}, {info.offset[i] for i in spectral}


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_sentinel_2_l1c(products, l1c, form):
    scene = open_scene(pack(products, l1c, form))
    assert scene.band.values.tolist() == list(products.S2_BANDS)
    assert facts(scene) == ("sentinel-2-l1c", {1e-4}, {0.0})
    assert scene.shape == (13, 120, 120)
    assert scene.rio.crs.to_string() == products.S2_CRS
    assert grid_of(scene).bounds == (300_000, 5_698_800, 301_200, 5_700_000)
    assert scene.attrs["nodata"] == 0


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_sentinel_2_l2a_with_its_classes(products, l2a, form):
    scene = open_scene(pack(products, l2a, form))
    assert scene.band.values.tolist() == [*(b for b in products.S2_BANDS if b != "B10"), "SCL"]
    assert facts(scene) == ("sentinel-2-l2a", {1e-4}, {-0.1})
    assert scene.attrs["quality_band"] == "SCL"
    assert set(np.unique(scene.sel(band="SCL"))) == {4, 9}
    assert (scene.sel(band="SCL")[:30, :30] == 9).all()


def test_the_offset_is_that_of_the_metadata_not_of_the_date(products, tmp_path):
    scene = open_scene(products.sentinel2(tmp_path, offset=-1000))
    assert facts(scene)[2] == {-0.1}
    assert "20200527" in scene.attrs["product"]


def test_offsets_may_differ_by_band(products, tmp_path):
    safe = products.sentinel2(tmp_path, offset=-1000, bands=("B02", "B8A", "B11"))
    metadata = safe / "MTD_MSIL1C.xml"
    metadata.write_text(metadata.read_text().replace('band_id="8">-1000', 'band_id="8">-500'))
    assert open_scene(safe).attrs["offset"] == [-0.1, -0.05, -0.1]


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_gdal_reads_the_same_pixels(products, l1c, l2a, level):
    """The driver of GDAL finds the same bands in the same places, so that the fixture is a product."""
    safe = l1c if level == "L1C" else l2a
    scene = open_scene(safe)
    with rasterio.open(safe / f"MTD_MSI{level}.xml") as whole:
        names = whole.subdatasets
    with rasterio.open(next(name for name in names if ":10m:" in name)) as fine:
        order = ["B04", "B03", "B02", "B08"]
        np.testing.assert_array_equal(scene.sel(band=order).values, fine.read([1, 2, 3, 4]))
        assert tuple(fine.transform) == tuple(grid_of(scene).transform)


@pytest.mark.parametrize(("name", "resolution"), [("B05", 20), ("B01", 60)])
def test_coarser_bands_come_to_10_metres_smoothly(products, l1c, name, resolution):
    found = open_scene(l1c).sel(band=name).values.astype(int)
    expected = products.ground(products.S2_BANDS.index(name), 10, 120, 120).astype(int)
    rim = resolution // 10
    inner = np.s_[rim:-rim, rim:-rim]
    assert np.abs(found[inner] - expected[inner]).max() <= 1


@pytest.mark.parametrize("resolution", [20, 60, 30])
def test_finer_bands_are_averaged(products, l1c, resolution):
    scene = open_scene(l1c, resolution=resolution)
    assert scene.shape[1:] == (1200 // resolution,) * 2
    assert grid_of(scene).pixel == resolution
    found = scene.sel(band="B04").values.astype(int)
    expected = products.ground(3, resolution, *found.shape).astype(int)
    assert np.abs(found - expected).max() <= 1


def test_a_products_own_version_of_a_resolution_is_taken(l2a):
    """L2A has B04 at 20 m, too; B08 it has not."""
    files = dict(zip(*(open_scene(l2a, resolution=20).attrs[key] for key in ("bands", "files")), strict=True))
    assert "R20m" in files["B04"]
    assert "R10m" in files["B08"]
    assert "R20m" in files["B01"]
    assert "R20m" in files["SCL"]


def test_classes_take_the_nearest_value(l2a):
    for resolution in (10, 15, 60):
        assert set(np.unique(open_scene(l2a, resolution=resolution).sel(band="SCL"))) == {4, 9}


def test_chunks_do_not_change_a_resampled_pixel(l2a):
    whole = open_scene(l2a, chunks=1024).values
    np.testing.assert_array_equal(open_scene(l2a, chunks=32).values, whole)


def test_a_band_alone_reads_its_own_file_alone(l2a, monkeypatch):
    from cloudfix.raster import source

    read = []
    original = source.FileArray._read_file
    scene = open_scene(l2a)
    monkeypatch.setattr(source.FileArray, "_read_file", lambda *args: read.append(args[1].path) or original(*args))
    scene.sel(band="SCL").compute()
    assert len(read) == 1
    assert "SCL" in read[0]


def test_some_bands_of_a_product(l2a):
    scene = open_scene(l2a, bands=["B04", "green", "SCL"])
    assert scene.band.values.tolist() == ["B04", "B03", "SCL"]
    with pytest.raises(SceneError, match="no band B10; it has B01, B02"):
        open_scene(l2a, bands=["B10"])


def test_the_metadata_file_means_the_product(l1c, landsat1):
    assert open_scene(l1c / "MTD_MSIL1C.xml").attrs["source"] == [str(l1c)]
    assert open_scene(next(landsat1.glob("*_MTL.txt"))).attrs["source"] == [str(landsat1)]


@pytest.mark.parametrize("form", ["folder", "tar"])
@pytest.mark.parametrize("dialect", ["txt", "json", "xml"])
def test_landsat_level_1_is_corrected_for_the_sun(products, tmp_path, form, dialect):
    product = products.landsat(tmp_path, mtl=(dialect,))
    scene = open_scene(pack(products, product, form))
    assert scene.band.values.tolist() == ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9", "QA_PIXEL"]
    factor = sun_factor(products.L8_SUN)
    assert facts(scene) == ("landsat-8-l1", {2e-5 * factor}, {-0.1 * factor})
    assert scene.attrs["quality_band"] == "QA_PIXEL"
    assert set(np.unique(scene.sel(band="QA_PIXEL"))) == {21824, 22280}
    assert scene.shape == (9, 60, 80)


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_landsat_level_2(products, landsat2, form):
    scene = open_scene(pack(products, landsat2, form))
    assert scene.band.values.tolist() == ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "QA_PIXEL"]
    assert facts(scene) == ("landsat-8-l2", {2.75e-5}, {-0.2})


def test_landsat_scales_are_those_of_its_own_level(products, tmp_path):
    """An MTL of Level-2 speaks of Level-1's scale, too, by the same keys."""
    product = products.landsat(tmp_path, level=2)
    metadata = next(product.glob("*_MTL.txt"))
    metadata.write_text(metadata.read_text().replace("= 2.75e-05", "= 3e-05"))
    assert facts(open_scene(product))[1] == {3e-5}


def test_landsat_without_metadata_says_so(products, tmp_path):
    product = products.landsat(tmp_path, mtl=())
    with pytest.warns(CloudfixWarning, match="no SUN_ELEVATION"):
        scene = open_scene(product)
    assert facts(scene) == ("landsat-8-l1", {2e-5}, {-0.1})


def test_an_archive_has_the_pixels_of_its_folder(products, l2a, landsat1):
    for path, packed in ((l2a, products.zipped(l2a)), (landsat1, products.tarred(landsat1))):
        np.testing.assert_array_equal(open_scene(packed).values, open_scene(path).values)


def test_other_options_still_hold(l1c):
    with pytest.raises(UsageError, match="--resolution 0: expected a positive"):
        open_scene(l1c, resolution=0)
    scene = open_scene(l1c, sensor="sentinel-2-l1c", bands=["B02", "B03"])
    assert facts(scene) == ("sentinel-2-l1c", {1e-4}, {0.0})


def test_a_product_is_not_of_another_sensor(l1c, landsat1):
    for product, sensor, said in (
        (l1c, "sentinel-2-l2a", "a product of Sentinel-2 L1C"),
        (landsat1, "landsat-8-l2", "a product of Landsat-8/9 Level-1"),
    ):
        with pytest.raises(SceneError, match=f"--sensor {sensor}, but this is {said}; leave --sensor out"):
            open_scene(product, sensor=sensor)


def test_the_output_names_the_product_once(l2a, tmp_path):
    scene = open_scene(l2a)
    write_cog(scene, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as made:
        tags = made.tags()
        assert made.descriptions[:2] == ("B01", "B02")
    assert tags["CLOUDFIX_PRODUCT"] == l2a.stem
    assert tags["PROCESSING_BASELINE"] == "05.09"
    assert not any(".jp2" in value for value in tags.values())
    again = open_scene(tmp_path / "out.tif")
    assert SceneInfo.of(again).offset == SceneInfo.of(scene).offset
    np.testing.assert_array_equal(again.values, scene.values)


def test_a_product_is_opened_again_as_it_was(l2a):
    scene = open_scene(l2a, resolution=20, bands=["B04", "SCL"])
    again = reopen(scene, (32, 32))
    np.testing.assert_array_equal(again.values, scene.values)
    assert again.data.chunksize == (2, 32, 32)


def test_no_output_goes_into_the_product(l1c, tmp_path):
    from cloudfix.errors import OutputError

    with pytest.raises(OutputError, match="in the folder of the product that is read"):
        write_cog(open_scene(l1c, bands=["B02"]), l1c / "GRANULE" / "out.tif")


def test_a_fingerprint_is_of_the_products_content(products, tmp_path):
    safe = products.sentinel2(tmp_path, bands=("B02", "B03"))
    scene = open_scene(safe)
    first = fingerprint(scene.attrs["source"])
    copy = tmp_path / "elsewhere" / "other name.SAFE"
    shutil.copytree(safe, copy)
    (copy / "MTD_MSIL1C.xml.aux.xml").write_text("left by a viewer")
    assert fingerprint([str(copy)]) == first
    with (copy / "MTD_MSIL1C.xml").open("a") as metadata:
        metadata.write(" ")
    assert fingerprint([str(copy)]) != first


def test_several_products_have_to_be_named_one_by_one(l1c, landsat1, folder, products, tmp_path):
    with pytest.raises(SceneError, match=r"2 Sentinel-2 products .*; name one"):
        open_scene(folder)
    both = tmp_path / "landsat"
    shutil.copytree(landsat1, both)
    shutil.copytree(products.landsat(tmp_path, level=2), both, dirs_exist_ok=True)
    with pytest.raises(SceneError, match=r"2 Landsat products .*; name one"):
        open_scene(both)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("<QUANTIFICATION_VALUE", "<X"), None),
        (('unit="none">10000', 'unit="none">0'), "QUANTIFICATION_VALUE is 0"),
        (('unit="none">10000', 'unit="none">nan'), "QUANTIFICATION_VALUE is 'nan'"),
        (('band_id="3"', 'band_id="13"'), "band_id '13', where 0 to 12"),
        ((">-1000<", ">-1000,5<"), "'-1000,5', where a number"),
        (("</n1:General_Info>", ""), "MTD_MSIL1C.xml is not XML"),
        (("<n1:Level-1C", "<!DOCTYPE x><n1:Level-1C"), "document type"),
    ],
)
def test_metadata_that_make_no_sense_are_refused(products, tmp_path, change, said):
    safe = products.sentinel2(tmp_path, offset=-1000, bands=("B02",))
    metadata = safe / "MTD_MSIL1C.xml"
    before, after = change
    metadata.write_text(metadata.read_text().replace(f"</{before[1:]}", f"</{after[1:]}").replace(before, after))
    if said is None:
        assert facts(open_scene(safe))[1] == {1e-4}
        return
    with pytest.raises(SceneError, match=said) as refused:
        open_scene(safe)
    assert "\n" not in str(refused.value)


def test_an_incomplete_product_is_refused(products, tmp_path):
    """GDAL's driver would take the missing file for zeros."""
    safe = products.sentinel2(tmp_path, bands=("B02", "B03"))
    (band,) = safe.rglob("*_B02.jp2")
    band.write_bytes(band.read_bytes()[:-200])
    with pytest.raises(SceneError, match=r"_B02\.jp2: truncated, its JPEG2000 codestream has no end"):
        open_scene(safe)
    band.unlink()
    assert open_scene(safe).band.values.tolist() == ["B03"]
    shutil.rmtree(safe / "GRANULE")
    with pytest.raises(SceneError, match="no band of Sentinel-2 L1C in GRANULE"):
        open_scene(safe)


def test_granules_of_several_tiles_are_refused(products, tmp_path):
    safe = products.sentinel2(tmp_path, bands=("B02",))
    (granule,) = (safe / "GRANULE").iterdir()
    shutil.copytree(granule, granule.with_name("L1C_T33UVB_A025743_20200527T100031"))
    with pytest.raises(SceneError, match="2 granules, as products had before December 2016"):
        open_scene(safe)


def test_an_older_landsat_is_refused(products, tmp_path):
    product = products.landsat(tmp_path)
    for path in product.iterdir():
        path.rename(path.with_name(path.name.replace("LC08", "LE07")))
    with pytest.raises(SceneError, match="not of Landsat-8 or -9"):
        open_scene(product)


def test_a_night_scene_is_refused(products, tmp_path):
    product = products.landsat(tmp_path)
    metadata = next(product.glob("*_MTL.txt"))
    metadata.write_text(metadata.read_text().replace("SUN_ELEVATION = ", "SUN_ELEVATION = -"))
    with pytest.raises(SceneError, match=r"sun elevation -48.*daytime"):
        open_scene(product)


def test_a_folder_of_anything_else(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(SceneError, match=r"is a folder of no product that is known .*; name the rasters in it"):
        open_scene(tmp_path)


def test_a_real_landsat_scene(products, real_data, tmp_path):
    product = tmp_path / "LC08_L1TP_021039_20170603_20170616_01_T1"
    product.mkdir()
    for path in (real_data / "scene_l8_cloudy").glob("*.tif"):
        shutil.copy(path, product / f"{product.name}_{path.stem.removeprefix('l8_')}.TIF")
    (product / f"{product.name}_MTL.txt").write_text("SUN_ELEVATION = 66.2\n")
    scene = open_scene(product)
    assert (scene.shape, scene.attrs["quality_band"]) == ((9, 603, 627), "BQA")
    assert facts(scene)[1] == {2e-5 * sun_factor(66.2)}
    with rasterio.open(real_data / "scene_l8_cloudy" / "l8_B4.tif") as red:
        np.testing.assert_array_equal(scene.sel(band="B4").values, red.read(1))


def test_a_real_item_of_jpeg2000(products, real_data, tmp_path):
    """Georeferenced by files beside them, as the L2A scenes are."""
    name = "S2A_33TWL_20230818_0_L2A"
    assets = {}
    for key, band in (("blue", "B02"), ("green", "B03"), ("red", "B04"), ("nir", "B08"), ("scl", "SCL")):
        for path in (real_data / "scenes_l2a_120m").glob(f"{name}_{band}.jp2*"):
            shutil.copy(path, tmp_path)
        assets[key] = {"href": f"./{name}_{band}.jp2", "type": "image/jp2", "eo:bands": [{"name": key}]}
    properties = {"earthsearch:boa_offset_applied": True}
    scene = open_scene(products.stac_item(tmp_path / f"{name}.json", assets, properties))
    assert (scene.shape, scene.rio.crs.to_epsg()) == ((5, 915, 915), 32633)
    assert facts(scene) == ("sentinel-2-l2a", {1e-4}, {0.0})
    assert (scene.sel(band="SCL") == 9).mean() > 0.1
