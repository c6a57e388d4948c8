from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from cloudfix.sensors import SENSORS

SAMPLES = Path(__file__).parents[2] / "sample_data"
SENTINEL_BANDS = tuple(SENSORS["sentinel-2-l1c"].slots)


@pytest.mark.parametrize(
    ("name", "bands"),
    [
        ("landsat8_scene", ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9", "B10", "B11", "BQA")),
        ("sentinel2_clear", SENTINEL_BANDS),
        ("sentinel2_cloudy", SENTINEL_BANDS),
        ("sentinel2_sar", ("VV", "VH")),
    ],
)
def test_bands_are_named_and_located(name: str, bands: tuple[str, ...]) -> None:
    with rasterio.open(SAMPLES / f"{name}.tif") as sample:
        assert sample.descriptions == bands
        assert sample.crs.is_projected
        assert "SOURCE" in sample.tags()


def test_small_enough_to_commit() -> None:
    sizes = {path.name: path.stat().st_size for path in SAMPLES.glob("*.tif")}
    assert sizes["landsat8_scene.tif"] < 6e6
    assert sum(sizes.values()) < 14e6


def test_cloud_covers_a_part_and_leaves_the_rest_untouched() -> None:
    with (
        rasterio.open(SAMPLES / "sentinel2_clear.tif") as clear,
        rasterio.open(SAMPLES / "sentinel2_cloudy.tif") as cloudy,
    ):
        assert (clear.crs, clear.transform) == (cloudy.crs, cloudy.transform)
        difference = np.abs(cloudy.read().astype(int) - clear.read())
    assert 0.25 < np.mean(difference[1] > 200) < 0.4
    assert np.mean((difference == 0).all(axis=0)) > 0.4


def test_sar_is_marked_synthetic_covers_the_crop_and_lies_on_its_own_grid() -> None:
    with rasterio.open(SAMPLES / "sentinel2_sar.tif") as sar:
        with rasterio.open(SAMPLES / "sentinel2_clear.tif") as clear:
            assert all(np.less(sar.bounds[:2], clear.bounds[:2]))
            assert all(np.greater(sar.bounds[2:], clear.bounds[2:]))
            assert sar.res != clear.res
        tags, decibels = sar.tags(), sar.read()
    assert tags["SYNTHETIC"] == "YES"
    assert "NOT Sentinel-1" in tags["TIFFTAG_IMAGEDESCRIPTION"]
    assert -40 < decibels.min() < decibels.max() < 10
    assert decibels[0].mean() > decibels[1].mean() + 5
