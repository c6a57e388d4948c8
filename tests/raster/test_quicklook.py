"""The picture before | mask | after."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
import xarray as xr

from cloudfix.errors import SceneError
from cloudfix.raster.cog import write_cog
from cloudfix.raster.scene import open_scene

GAP = 8


@pytest.fixture
def look(raster, tmp_path):
    """Writes a scene of 3 bands with a mask and returns the quicklook (3, height, width)."""

    def make(values, mask, *, change=0, descriptions=("B04", "B03", "B02"), before=None):
        path = raster("a.tif", values, descriptions=descriptions, tags={"PRODUCT_TYPE": "S2MSI2A"})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scene = open_scene(path, chunks=256)
            bands = (scene + np.uint16(change)).assign_attrs(scene.attrs)
            dataset = xr.Dataset({"bands": bands, "mask": (("y", "x"), mask)})
            write_cog(dataset, tmp_path / "o.tif", quicklook=tmp_path / "q.png", before=before)
            with rasterio.open(tmp_path / "q.png") as png:
                return png.read()

    return make


def panels(picture):
    width = (picture.shape[2] - 2 * GAP) // 3
    return [picture[:, :, start : start + width] for start in (0, width + GAP, 2 * (width + GAP))]


@pytest.fixture
def ramp():
    """Three bands whose DN rise from left to right, each by another step."""
    steps = np.linspace(300, 3000, 200)
    return np.stack([np.tile(steps * factor, (100, 1)) for factor in (1, 2, 1.5)]).astype("uint16")


def test_both_images_have_the_stretch_of_the_clear_pixels_before(look, ramp):
    before, _, after = panels(look(ramp, np.zeros((100, 200), "uint8"), change=300))
    assert before.shape == (3, 100, 200)
    np.testing.assert_allclose(before[0, 0], np.clip((np.arange(200) - 3.98) / 191.04, 0, 1) * 255, atol=2)
    assert (after.astype(int) >= before).all()
    assert after[0, 0, 50] - before[0, 0, 50] == pytest.approx(300 / (ramp[0, 0, 199] * 0.96 - 288) * 255, abs=3)


def test_cloud_does_not_set_the_stretch(look, ramp):
    mask = np.zeros((100, 200), "uint8")
    mask[40:70] = 1
    plain = panels(look(ramp, mask))[0]
    ramp[:, 40:70] = 20_000
    cloudy = panels(look(ramp, mask))[0]
    np.testing.assert_array_equal(cloudy[:, :40], plain[:, :40])
    assert (cloudy[:, 40:70] == 255).all()


def test_the_mask_is_in_colour_on_grey(look, ramp):
    mask = np.zeros((100, 200), "uint8")
    mask[:30], mask[60:] = 1, 2
    overlay = panels(look(ramp, mask))[1].astype(int)
    assert (overlay[:, 30:60] == overlay[0, 30:60]).all()
    assert (overlay[0, :30] > overlay[2, :30]).all()
    assert (overlay[2, 60:] > overlay[0, 60:]).all()


def test_a_large_scene_is_made_to_fit(look, rng):
    values = rng.integers(100, 3000, (3, 400, 2100)).astype("uint16")
    picture = look(values, np.zeros((400, 2100), "uint8"))
    assert picture.shape[2] <= 1600
    assert picture.shape[1] == round(400 * 528 / 2100)


@pytest.mark.parametrize("value", [0, 700])
def test_scenes_without_contrast_or_data_are_drawn_too(look, value):
    mask = np.full((30, 40), 255 if value == 0 else 0, "uint8")
    before, _, after = panels(look(np.full((3, 30, 40), value, "uint16"), mask))
    assert (before == 0).all()
    assert (after == 0).all()


def test_true_colour_has_to_be_there(look, ramp):
    with pytest.raises(SceneError, match="no blue band for the quicklook"):
        look(ramp, np.zeros((100, 200), "uint8"), descriptions=("B04", "B03", "B08"))


def test_the_input_has_to_match(look, ramp, raster):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = raster("b.tif", ramp[:, :50], descriptions=("B04", "B03", "B02"))
        other = open_scene(path)
    with pytest.raises(SceneError, match=r"200 × 100 pixels, but the input for the quicklook has 200 × 50"):
        look(ramp, np.zeros((100, 200), "uint8"), before=other)


def test_bands_without_a_description_are_drawn_around(look, ramp):
    """`band_4`, as such a band is called then, is no name of B4."""
    values = np.concatenate([ramp, ramp[:1]])
    picture = look(values, np.zeros((100, 200), "uint8"), descriptions=("B04", "B03", "B02", ""))
    np.testing.assert_array_equal(panels(picture)[0], panels(picture)[2])


def test_the_input_of_a_scene_made_in_memory_has_to_be_given(raster, ramp, tmp_path):
    scene = open_scene(raster("a.tif", ramp), sensor="sentinel-2-l2a", bands=["B04", "B03", "B02"]).compute()
    made = scene.assign_attrs(files=[])
    dataset = xr.Dataset({"bands": made, "mask": (("y", "x"), np.zeros((100, 200), "uint8"))})
    with pytest.raises(SceneError, match="pass that as before="):
        write_cog(dataset, tmp_path / "o.tif", quicklook=tmp_path / "q.png")
    write_cog(dataset, tmp_path / "o.tif", quicklook=tmp_path / "q.png", before=scene)


def test_a_pick_of_bands_is_drawn_if_it_is_in_colour(raster, ramp, dn, tmp_path):
    values = np.concatenate([dn(1, 100, 200), ramp])
    scene = open_scene(raster("a.tif", values), sensor="sentinel-2-l2a", bands=["B08", "B04", "B03", "B02"])
    mask = xr.zeros_like(scene[0], dtype="uint8").drop_vars("band")
    pick = xr.Dataset({"bands": scene[[3, 1, 2]], "mask": mask})
    write_cog(pick, tmp_path / "o.tif", quicklook=tmp_path / "q.png")
    with rasterio.open(tmp_path / "q.png") as png:
        before, _, after = panels(png.read())
    np.testing.assert_array_equal(before, after)
    with pytest.raises(SceneError, match="no green band for the quicklook"):
        write_cog(pick.isel(band=[0, 1]), tmp_path / "o.tif", quicklook=tmp_path / "q.png")
