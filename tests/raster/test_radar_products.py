"""Sentinel-1 as it is downloaded."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest

from cloudfix.errors import CloudfixWarning, SarError
from cloudfix.raster.sar import open_sar
from cloudfix.raster.scene import open_scene


@pytest.fixture(autouse=True)
def only_the_usual_notes(no_warnings):
    warnings.filterwarnings("ignore", ".* (converted to dB|restored without radar)", CloudfixWarning)


@pytest.fixture
def scene(products, tmp_path):
    return open_scene(products.sentinel2(tmp_path, bands=("B02",)))


@pytest.mark.parametrize("packed", [False, True])
def test_terrain_corrected(products, tmp_path, scene, packed):
    """ASF's folder holds an incidence map and a DEM, too."""
    folder = products.sentinel1_rtc(tmp_path)
    sar = open_sar(products.zipped(folder) if packed else folder, scene)
    assert sar.band.values.tolist() == ["vv", "vh"]
    assert sar.shape[1:] == scene.shape[1:]
    vv, vh = (float(np.nanmedian(sar.sel(band=name))) for name in ("vv", "vh"))
    assert -13 < vv < -8
    assert -20 < vh < -15
    files = [next(folder.glob(f"*_{name}.tif")) for name in ("VH", "VV")]
    np.testing.assert_array_equal(open_sar(files, scene).values, sar.values)


def test_one_polarisation(products, tmp_path, scene):
    folder = products.sentinel1_rtc(tmp_path)
    next(folder.glob("*_VH.tif")).unlink()
    assert open_sar(folder, scene).band.values.tolist() == ["vv"]


def test_radar_geometry_is_refused(products, tmp_path, scene):
    safe = products.sentinel1_grd(tmp_path)
    for source in (safe, safe / "manifest.safe", products.zipped(safe), sorted(safe.rglob("*.tiff"))):
        with pytest.raises(SarError, match=r"-v[vh]-.*: in radar geometry") as refused:
            open_sar(source, scene)
        assert "\n" not in str(refused.value)


def test_measurements_of_a_safe_folder_that_are_on_the_map(products, tmp_path, scene):
    """As of ESA's normalised radar backscatter, whose noise is of the same polarisations."""
    rtc = products.sentinel1_rtc(tmp_path)
    safe = tmp_path / "S1A_IW_NRB__1SDV_20230817T165923_049917_060129_33UUB_3A5F.SAFE"
    for folder, suffix in (("measurement", "g-lin"), ("annotation", "np")):
        (safe / folder).mkdir(parents=True)
        for name in ("VV", "VH"):
            shutil.copy(next(rtc.glob(f"*_{name}.tif")), safe / folder / f"s1a-iw-nrb-{name.lower()}-{suffix}.tif")
    assert open_sar(safe, scene).band.values.tolist() == ["vv", "vh"]


def test_several_images_are_not_guessed_between(products, tmp_path, scene):
    folder = products.sentinel1_rtc(tmp_path)
    path = next(folder.glob("*_VV.tif"))
    shutil.copy(path, path.with_name("other_VV.tif"))
    with pytest.raises(SarError, match="are both VV; name the files of one image"):
        open_sar(folder, scene)


def test_amplitude_is_refused(products, tmp_path, scene):
    """No value tells it from power."""
    folder = products.sentinel1_rtc(tmp_path)
    for path in folder.iterdir():
        path.rename(path.with_name(path.name.replace("_gpuned_", "_gauned_")))
    with pytest.raises(SarError, match="is in amplitude; order it in power or dB"):
        open_sar(folder, scene)


def test_a_folder_without_radar(tmp_path, scene):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SarError, match=r"a folder of no product that is known .*VV and VH"):
        open_sar(tmp_path / "empty", scene)
    with pytest.raises(SarError, match="not a file on disk"):
        open_sar("s3://bucket/vv.tif", scene)
