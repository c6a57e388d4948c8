"""Which pixels are cloudy, and cloud that the seed decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cloudfix.clouds import spectral
from cloudfix.evaluation import cases
from cloudfix.evaluation.cases import cloudy_pixels, under_simulated_cloud
from cloudfix.training.datasets.sample import Sample

RGB = ("red", "green", "blue")


@pytest.fixture
def pair(squares):
    return squares()[2]


@pytest.fixture
def rgb(pair) -> Sample:
    kept = [pair.slots.index(slot) for slot in RGB]
    return replace(pair, slots=RGB, clear=pair.clear[kept], cloudy=pair.cloudy[kept], mask=None)


def test_the_mask_of_the_data_set_comes_first(pair: Sample) -> None:
    own = np.random.default_rng(0).random(pair.mask.shape) < 0.5
    mask, source = cloudy_pixels(replace(pair, mask=own, thickness=np.ones(own.shape, np.float32)))
    assert source == cases.OWN_MASK
    np.testing.assert_array_equal(mask, own)


def test_thickness_comes_second(pair: Sample) -> None:
    thickness = np.zeros(pair.mask.shape, np.float32)
    thickness[:7] = 0.5
    mask, source = cloudy_pixels(replace(pair, mask=None, thickness=thickness))
    assert source == cases.THICKNESS
    np.testing.assert_array_equal(mask, thickness > 0)


def test_the_spectral_rules_come_third(pair: Sample) -> None:
    mask, source = cloudy_pixels(replace(pair, mask=None))
    assert source == cases.RULES
    rules = spectral.cloud_shadow_mask(dict(zip(pair.slots, pair.cloudy, strict=True)))
    np.testing.assert_array_equal(mask, rules != 0)


def test_rgb_without_a_mask_is_judged_by_what_differs(rgb: Sample, pair: Sample) -> None:
    mask, source = cloudy_pixels(rgb)
    assert source == cases.DIFFERENCE
    assert (mask & pair.mask).sum() / (mask | pair.mask).sum() > 0.75
    shade = replace(rgb, cloudy=np.where(pair.mask, rgb.clear - np.float32(0.1), rgb.clear))
    np.testing.assert_array_equal(cloudy_pixels(shade)[0][:20, :20], True)
    season = replace(rgb, cloudy=rgb.clear + np.float32(0.03))
    assert not cloudy_pixels(season)[0].any()


def test_haze_over_real_images_is_found(real_data) -> None:
    import rasterio

    def rgb_of(path):
        with rasterio.open(path) as file:
            return (file.read() / np.float32(255)).astype(np.float32)

    covers = []
    for path in sorted((real_data / "rice" / "RICE1" / "cloud").glob("*.png"))[::10]:
        clear = rgb_of(path.parents[1] / "label" / path.name)
        covers.append(cloudy_pixels(Sample(path.stem, RGB, clear, rgb_of(path)))[0].mean())
    assert np.mean(covers) > 0.6


def test_simulated_cloud_depends_on_the_seed_alone(pair: Sample) -> None:
    first, mask = under_simulated_cloud(pair, 5)
    again, _ = under_simulated_cloud(pair, 5)
    np.testing.assert_array_equal(first.cloudy, again.cloudy)
    assert not np.array_equal(first.cloudy, under_simulated_cloud(pair, 6)[0].cloudy)
    assert first.mask is mask
    assert first.thickness.shape == mask.shape


@pytest.mark.parametrize("seed", range(12))
def test_simulated_cloud_covers_a_tenth_at_least(pair: Sample, seed: int) -> None:
    assert under_simulated_cloud(pair, seed)[1].mean() >= 0.1


def test_pairs_stay_and_clear_images_get_cloud(pair: Sample) -> None:
    (real,) = cases.cases(pair, 0)
    assert not real.simulated
    assert real.sample is pair
    (made,) = cases.cases(replace(pair, cloudy=None, mask=None), 0)
    assert made.simulated
    assert made.told_by == cases.SIMULATED
    assert [case.simulated for case in cases.cases(pair, 0, simulated=True)] == [False, True]
    assert made.cover == made.mask.mean()


def test_without_known_thickness_a_pair_gets_simulated_cloud(pair: Sample) -> None:
    (made,) = cases.cases(pair, 0, thickness=True)
    assert made.simulated
    (kept,) = cases.cases(replace(pair, thickness=np.ones(pair.mask.shape, np.float32)), 0, thickness=True)
    assert not kept.simulated
