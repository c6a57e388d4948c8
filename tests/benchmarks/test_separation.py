from __future__ import annotations

import numpy as np
import pytest

from benchmarks.realism.separation import VISIBLE, area, describe, separability
from cloudfix.errors import DataError


def tiles(count: int, seed: int, *, tint: float = 1.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    grey = rng.uniform(0.2, 0.8, (count, 1, 1, 1)) + rng.normal(0, 0.05, (count, 1, 32, 32))
    return list((grey * np.array([1, 1, tint])[:, None, None]).astype(np.float32))


def test_the_area_counts_the_pairs_in_the_right_order() -> None:
    assert area(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1
    assert area(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 0
    assert area(np.array([1.0, 3.0]), np.array([2.0, 3.0])) == 0.625


def test_features_are_named_and_a_tint_is_in_the_colour_alone() -> None:
    grey, bluish = (describe(tiles(20, 0, tint=tint), VISIBLE, ["a"] * 20) for tint in (1.0, 1.2))
    assert len(grey.names) == grey.both.shape[1]
    at = grey.names.index("blue to red")
    np.testing.assert_allclose(grey.colour[:, at], 0, atol=1e-5)
    np.testing.assert_allclose(bluish.colour[:, at], np.log(1.2), atol=1e-5)
    np.testing.assert_allclose(grey.texture[:, -4:], bluish.texture[:, -4:], atol=1e-3)


def test_what_differs_is_told_and_what_does_not_is_not() -> None:
    regions = np.array(["a", "b", "c", "d"]).repeat(15)
    first, alike = (describe(tiles(60, seed), VISIBLE, regions) for seed in (1, 2))
    tinted = describe(tiles(60, 3, tint=1.2), VISIBLE, regions)
    assert separability(first.colour, tinted.colour, regions, regions) > 0.95
    assert 0.3 < separability(first.colour, alike.colour, regions, regions) < 0.7


def test_a_region_is_judged_by_what_was_learned_from_the_others() -> None:
    """What tells in each region the other way round is learned, and wrong where it is judged."""
    value = np.linspace(1, 2, 40)[:, None]
    regions = np.array(["a"] * 20 + ["b"] * 20)
    sign = np.where(regions == "a", 1, -1)[:, None]
    assert separability(value * sign, -value * sign, regions, regions) < 0.1
    with pytest.raises(DataError, match="two"):
        separability(value, value, regions[:20].repeat(2), regions[:20].repeat(2))
