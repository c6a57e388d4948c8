"""What a scene knows of its bands, after they were picked, reordered or renamed too."""

from __future__ import annotations

import json

import pytest

from cloudfix.errors import SceneError
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.scene import open_scene


@pytest.fixture
def scene(raster, dn):
    path = raster(
        "a.tif", dn(4), descriptions=("B02", "B8A", "SCL", "B11"), tags={"PRODUCT_TYPE": "S2MSI2A"},
        scales=[1e-4, 2e-4, 1, 3e-4], offsets=[0, -0.1, 0, 0],
    )  # fmt: skip
    return open_scene(path)


@pytest.mark.parametrize(
    ("order", "slots", "scale", "quality"),
    [
        ([3, 1, 0, 2], ("swir16", "nir08", "blue", ""), (3e-4, 2e-4, 1e-4, 1), "SCL"),
        ([1, 0], ("nir08", "blue"), (2e-4, 1e-4), None),
        (3, ("swir16",), (3e-4,), None),
    ],
)
def test_the_record_is_that_of_the_bands_that_are_there(scene, order, slots, scale, quality):
    info = SceneInfo.of(scene.isel(band=order))
    assert (info.slots, info.scale, info.quality_band) == (slots, scale, quality)


def test_bands_of_other_names_are_refused(scene):
    renamed = scene.isel(band=[0, 1]).assign_coords(band=["B02", "ndvi"])
    with pytest.raises(SceneError, match=r"know the bands B02, B8A, SCL, B11, but not ndvi; keep the names"):
        SceneInfo.of(renamed)


def test_without_names_the_number_has_to_fit(scene):
    with pytest.raises(SceneError, match="2 bands, but attributes of 4"):
        SceneInfo.of(scene.isel(band=[0, 1]).drop_vars("band"))


def test_attributes_are_json(scene):
    assert json.loads(json.dumps(scene.attrs)) == scene.attrs
