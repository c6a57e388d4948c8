"""Radar made up from a clear image: plausible numbers that follow the ground, and never twice the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.training.radar import NEEDED, imagined

WATER = {"green": 0.06, "red": 0.04, "nir": 0.02, "swir16": 0.01}
FOREST = {"green": 0.05, "red": 0.03, "nir": 0.35, "swir16": 0.15}


def ground(*materials: dict[str, float]) -> np.ndarray:
    """(4, 32, 32 a material) reflectance, the materials side by side."""
    tiles = [np.tile(np.array([material[slot] for slot in NEEDED])[:, None, None], (32, 32)) for material in materials]
    return np.concatenate(tiles, axis=2).astype(np.float32)


@given(st.integers(0, 2**32), st.permutations(range(len(NEEDED))))
@settings(max_examples=20, deadline=None)
def test_its_seed_decides_it_and_the_order_of_the_bands_does_not(seed: int, order: list[int]) -> None:
    clear = np.random.default_rng(seed).uniform(0, 1.2, (len(NEEDED), 24, 16)).astype(np.float32)
    sar = imagined(clear, NEEDED, np.random.default_rng(seed))
    assert sar.shape == (2, 24, 16)
    assert sar.dtype == np.float32
    assert np.isfinite(sar).all()
    assert np.array_equal(sar, imagined(clear[order], [NEEDED[i] for i in order], np.random.default_rng(seed)))
    assert not np.array_equal(sar, imagined(clear, NEEDED, np.random.default_rng(seed + 1)))


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_water_is_darker_than_forest_which_depolarises(seed: int) -> None:
    vv, vh = imagined(ground(WATER, FOREST), NEEDED, np.random.default_rng(seed))
    assert vv[:, :32].mean() < vv[:, 32:].mean()
    assert vh[:, :32].mean() < vh[:, 32:].mean()
    for channel, (low, high) in ((vv, (-30, 5)), (vh, (-40, 0))):
        assert low < channel.mean() < high
    assert 0 < (vv - vh)[:, 32:].mean() < 10


def test_speckle_is_there_where_the_ground_is_even() -> None:
    vv, vh = imagined(ground(WATER), NEEDED, np.random.default_rng(0))
    assert 0.5 < vv.std() < 4
    assert abs(np.corrcoef(vv.ravel(), vh.ravel())[0, 1]) < 0.3
