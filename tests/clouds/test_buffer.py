from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.clouds.buffer import feather


def _mask(seed: int, share: float) -> np.ndarray:
    return np.random.default_rng(seed).random((24, 28)) < share


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), share=st.sampled_from([0, 0.005, 0.05, 0.6, 1]), radius=st.integers(0, 9))
def test_weights_are_the_formula(seed: int, share: float, radius: int) -> None:
    mask = _mask(seed, share)
    expected = np.zeros(mask.shape)
    rows, columns = np.indices(mask.shape)
    for row, column in np.argwhere(mask):
        distance = np.hypot(rows - row, columns - column)
        expected = np.maximum(expected, np.where(distance <= radius, 1 - distance / (radius + 1), 0))
    weights = feather(mask, radius)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-6)
    assert np.array_equal(weights == 1, mask)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999),
    share=st.sampled_from([0.005, 0.05, 0.6]),
    radius=st.integers(0, 9),
    top=st.integers(0, 23),
    left=st.integers(0, 27),
)
def test_a_window_with_its_halo_gives_the_same_bits(seed: int, share: float, radius: int, top: int, left: int) -> None:
    mask = _mask(seed, share)
    row, column = max(top - radius, 0), max(left - radius, 0)
    cut = feather(mask[row : top + 8 + radius, column : left + 8 + radius], radius)
    inner = cut[top - row :, left - column :][:8, :8]
    assert np.array_equal(feather(mask, radius)[top : top + 8, left : left + 8], inner)


def test_radius_zero_is_the_mask() -> None:
    mask = _mask(0, 0.3)
    assert np.array_equal(feather(mask, 0), mask.astype(np.float32))


def test_falls_linearly() -> None:
    mask = np.zeros((1, 8), bool)
    mask[0, 0] = True
    assert feather(mask, 3).tolist() == [pytest.approx([1, 0.75, 0.5, 0.25, 0, 0, 0, 0])]
