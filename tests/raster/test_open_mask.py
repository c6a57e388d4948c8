"""Mask files: what is a class raster and what is something else."""

from __future__ import annotations

import numpy as np
import pytest

from cloudfix.errors import MaskError
from cloudfix.raster.mask import open_mask
from cloudfix.raster.scene import open_scene


@pytest.fixture
def open_as_mask(raster, dn):
    """Opens values as the mask of a scene of the same size."""

    def make(values, **options):
        scene = open_scene(raster("a.tif", dn(1, *values.shape), **options), sensor="sentinel-2-l2a", bands=["B02"])
        return open_mask(raster("mask.tif", values[None], **options), scene)

    return make


@pytest.mark.parametrize("values", [[0, 1], [0, 1, 2, 255], [0, 128, 255], [7]])
def test_classes_come_through(open_as_mask, rng, values):
    mask = rng.choice(np.array(values, "uint8"), (40, 50))
    np.testing.assert_array_equal(open_as_mask(mask, nodata=7), mask)


def test_beyond_a_smaller_mask_nothing_is_known(raster, dn):
    """And 255, which is cloud in some sets, stays what it is."""
    scene = open_scene(raster("a.tif", dn(1)), sensor="sentinel-2-l2a", bands=["B02"])
    mask = open_mask(raster("mask.tif", np.full((1, 40, 25), 255, "uint8")), scene)
    assert (mask[:, :25] == 255).all()
    assert (mask[:, 25:] == mask.attrs["unknown"]).all()
    assert mask.attrs["unknown"] not in {0, 1, 2, 128, 255}


def test_a_missing_value_is_no_wrong_value(open_as_mask):
    open_as_mask(np.where(np.eye(40, 50), np.float32(np.nan), np.float32(1)))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.tile([4, 8, 9, 10, 11], (40, 10)).astype("uint8"), "values 4, 8, 9, 10 …; expected 0 clear"),
        (np.tile([0, 0.25, 0.5, 1, 0], (40, 10)).astype("float32"), "values 0.25, 0.5; expected 0 clear"),
        (np.tile([0, -1], (40, 25)).astype("int16"), "values -1; expected"),
    ],
)
def test_rasters_of_other_things_are_refused(open_as_mask, values, said):
    with pytest.raises(MaskError) as refused:
        open_as_mask(values)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("elsewhere.tif", "elsewhere.tif: no such file; expected a raster (0 clear, 1 cloud, 2 shadow), thickness"),
        ("empty.tif", "empty.tif: is empty"),
        ("https://example.invalid/m.tif?key=1", "https://example.invalid/m.tif: is not a file on disk; download it"),
    ],
)
def test_what_is_no_file_of_a_mask_names_the_option(raster, dn, tmp_path, monkeypatch, name, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.tif").touch()
    scene = open_scene(raster("a.tif", dn(1)), sensor="sentinel-2-l2a", bands=["B02"])
    with pytest.raises(MaskError) as refused:
        open_mask(name, scene)
    assert str(refused.value).startswith(f"--mask {said}")
