from __future__ import annotations

import numpy as np

from cloudfix.evaluation import baselines


def test_masked_pixels_take_the_nearest_clear_spectrum() -> None:
    image = np.arange(2 * 1 * 6, dtype=np.uint16).reshape(2, 1, 6)
    mask = np.array([[False, True, True, True, True, False]])
    filled = baselines.nearest_clear(image, mask)
    assert filled.tolist() == [[[0, 0, 0, 5, 5, 5]], [[6, 6, 6, 11, 11, 11]]]
    assert filled.dtype == image.dtype


def test_clear_pixels_are_untouched() -> None:
    rng = np.random.default_rng(0)
    image, mask = rng.random((3, 20, 20)), rng.random((20, 20)) < 0.5
    assert np.array_equal(baselines.nearest_clear(image, mask)[:, ~mask], image[:, ~mask])


def test_without_a_clear_pixel_the_image_stays() -> None:
    image = np.random.default_rng(0).random((3, 4, 4))
    assert np.array_equal(baselines.nearest_clear(image, np.ones((4, 4), bool)), image)


def test_results_are_new_arrays() -> None:
    image = np.ones((1, 2, 2))
    for baseline in (baselines.copy, baselines.nearest_clear):
        for mask in (np.zeros((2, 2), bool), np.ones((2, 2), bool)):
            assert np.array_equal(baseline(image, mask), image)
            assert not np.shares_memory(baseline(image, mask), image)
