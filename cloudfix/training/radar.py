"""Radar made up from a clear image, for places that none was acquired of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Image = NDArray[np.float32]

NEEDED = ("green", "red", "nir", "swir16")
"""Slots that `imagined` looks at."""

_LEAST = 1e-3
_GRAIN = 2.0
_RELIEF = 8.0


def imagined(clear: Image, slots: Sequence[str], random: np.random.Generator) -> Image:
    """VV and VH that a radar might see of a place, another time each time.

    Smooth water is dark; canopies scatter more and depolarise; wet soil is brighter than dry soil, and what is rough
    brighter than what is even; some things no optical image shows. How much of each, and the looks of the speckle, are
    drawn at random within what Sentinel-1 images show: by how little real ones follow their optical twins, a network
    must not take any of it for granted.

    Args:
        clear: (C, H, W) reflectance.
        slots: of its channels, all of `NEEDED` among them.
        random: decides everything.

    Returns:
        (2, H, W) σ⁰ in dB.
    """
    green, red, nir, swir = (clear[slots.index(slot)] for slot in NEEDED)
    water = _step((green - nir) / (green + nir + _LEAST), 0.05)
    canopy = np.clip((nir - red) / (nir + red + _LEAST), 0, 1)
    rough = np.clip(np.abs(green - ndimage.gaussian_filter(green, _GRAIN)) / 0.03, 0, 2)
    relief = ndimage.gaussian_filter(random.normal(0, _RELIEF, green.shape), _RELIEF / 2)
    land = random.uniform(-15, -8) + random.uniform(-1, 7) * canopy - random.uniform(-5, 15) * (swir - 0.2)
    land = land + random.uniform(0, 4) * rough + random.uniform(0, 3) * relief
    vv = _mixed(water, random.uniform(-25, -14), land)
    vh = _mixed(water, random.uniform(-32, -22), land - random.uniform(5, 9) + random.uniform(0, 4) * canopy)
    looks = random.uniform(2, 20)
    speckle = random.gamma(looks, 1 / looks, (2, *green.shape))
    return np.asarray(np.stack([vv, vh]) + 10 * np.log10(speckle + _LEAST), np.float32)


def _mixed(share: Image, first: float, second: Image) -> Image:
    return np.asarray(share * first + (1 - share) * second, np.float32)


def _step(values: Image, width: float) -> Image:
    return np.asarray(1 / (1 + np.exp(-values / width)), np.float32)
