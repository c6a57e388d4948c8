from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.clouds.transplant import transplant

SIDE = 48


def land(seed, level=0.1):
    random = np.random.default_rng(seed)
    return (level + 0.05 * random.random((4, SIDE, SIDE))).astype(np.float32)


def pair(seed, opacity=0.6, white=0.8):
    """A clear image, the same under a square of cloud of one opacity, and the square."""
    clear = land(seed)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[12:32, 12:32] = True
    # a spot of opaque cloud tells how bright the cloud is
    share = np.where(mask, np.float32(opacity), np.float32(0))
    share[13:23, 13:23] = 1
    return clear, clear * (1 - share) + white * share, mask, share


def test_cloud_over_other_ground_is_what_the_scattering_model_says():
    clear, cloudy, mask, share = pair(1)
    target = land(2, level=0.25)
    moved, changed = transplant(target, clear, cloudy, mask)
    expected = target * (1 - share) + 0.8 * share
    inside = np.s_[:, 24:28, 24:28]
    assert changed[24:28, 24:28].all()
    np.testing.assert_allclose(moved[inside], expected[inside], atol=0.02)


def test_opaque_cloud_hides_the_other_ground():
    clear, cloudy, mask, _ = pair(1)
    moved, _ = transplant(land(2, level=0.4), clear, cloudy, mask)
    np.testing.assert_allclose(moved[:, 16:20, 16:20], 0.8, atol=0.02)


def test_shadow_takes_the_same_share_of_light():
    clear = land(3)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[10:38, 10:38] = True
    shaded = np.where(mask, clear * 0.5, clear)
    target = land(4, level=0.3)
    moved, _ = transplant(target, clear, shaded, mask)
    np.testing.assert_allclose(moved[:, 20:28, 20:28], target[:, 20:28, 20:28] * 0.54, rtol=0.05)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, SIDE - 1), st.integers(0, SIDE - 1), st.integers(1, 20))
def test_what_is_far_from_the_mask_stays_bit_for_bit(seed, top, left, size):
    clear, cloudy = land(seed), land(seed + 1, level=0.5)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + size, left : left + size] = True
    target = land(seed + 2)
    moved, changed = transplant(target, clear, cloudy, mask)
    np.testing.assert_array_equal(moved[:, ~changed], target[:, ~changed])
    assert changed[mask].all()
    assert (moved >= 0).all()
    assert np.isfinite(moved).all()


def test_without_a_mask_nothing_changes():
    clear, cloudy, mask, _ = pair(5)
    target = land(6)
    moved, changed = transplant(target, clear, cloudy, np.zeros_like(mask))
    np.testing.assert_array_equal(moved, target)
    assert not changed.any()


@pytest.mark.parametrize("absent", [[0], [1, 3]])
def test_bands_that_the_pair_lacks_tell_nothing(absent):
    clear, cloudy, mask, _ = pair(7)
    clear[absent], cloudy[absent] = 0, 0
    target = land(8)
    moved, _ = transplant(target, clear, cloudy, mask)
    present = [band for band in range(4) if band not in absent]
    full, _ = transplant(target[present], clear[present], cloudy[present], mask)
    np.testing.assert_allclose(moved[present][:, 16:20, 16:20], full[:, 16:20, 16:20], atol=1e-6)


@pytest.mark.parametrize("loss", [1, 3, 7, 10])
def test_what_the_pair_tells_about_lost_detail_holds_for_the_target(loss):
    clear, target = (land(seed).repeat(2, axis=1).repeat(2, axis=2)[:, :SIDE, :SIDE] for seed in (9, 10))
    share = np.linspace(0, 0.5, SIDE, dtype=np.float32) * np.ones((1, SIDE, 1), np.float32)
    # opaque cloud tells how bright the cloud is
    share[..., -6:] = 1

    def under_cloud(ground):
        mean = ground.mean()
        return (1 - share) ** loss * (ground - mean) + mean * (1 - share) ** 2 + 0.8 * share

    moved, _ = transplant(target, clear, under_cloud(clear), np.ones((SIDE, SIDE), bool))
    error = np.abs(moved - under_cloud(target))[:, 6:-6, 6:-9].mean()
    assert error < 0.1 * np.abs(target - clear).mean()
