"""Real cloud of one place laid over another place: what no simulation has, edges, textures and spectra as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import ndimage

from cloudfix.clouds.buffer import feather

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image: TypeAlias = NDArray[np.float32]

_LEAST_WHITE = 0.35
"""Reflectance that opaque cloud has at least: where all of it is thinner, its brightest part is not opaque."""

_LEAST_LIGHT = 0.25
"""Share of the light that the deepest shadow leaves."""

_BRIGHTEST = 97
_RIM = 6
"""Pixels around the mask over which what is moved blends into the target."""

_DETAIL = 9
_WIDE = 33
"""Pixels: structures below the one are detail, means over the other are the ground at large."""

_LOSSES = (1.0, 1.5, 2.0, 3.0, 4.5, 7.0, 10.0, 15.0)
"""Powers of 1 − b that may be left of detail under cloud of opacity b: 1 under haze, about 10 under droplets."""


def transplant(target: Image, clear: Image, cloudy: Image, mask: NDArray[np.bool_]) -> tuple[Image, NDArray[np.bool_]]:
    """Take cloud and shadow out of one pair and lay them over another clear image.

    Where the pair's cloudy image is brighter, it is I = J·t + A·(1 − t), with its clear image J and the cloud's own
    light. Over other ground J′ the same cloud gives I′ = I + t·(J′ − J), and A need not be known. As in
    `simulation.light`, cloud that throws back a share b of the light leaves t = (1 − b)^k of the ground's detail and
    (1 − b)² of its mean; k is what explains the detail in the pair's cloudy image best. Where that is darker, in
    shadow, the share of light that is left is applied to J′.

    Args:
        target: (C, H, W) reflectance of the clear image that gets the cloud.
        clear: (C, H, W) reflectance of the pair's clear image, bands that are not there 0.
        cloudy: (C, H, W) of its cloudy image.
        mask: (H, W), True under its cloud and shadow.

    Returns:
        (C, H, W) the target under cloud, and (H, W) True where it has changed; elsewhere it is as it was, bit for bit.
    """
    under = feather(mask, _RIM)
    gain = ndimage.uniform_filter(cloudy - clear, (1, 3, 3))
    telling, opacity = _opacity(gain, clear, cloudy)
    through = (1 - opacity) ** _loss(clear[telling], cloudy[telling], opacity, mask)
    difference = target - clear
    at_large = ndimage.uniform_filter(difference, (1, _WIDE, _WIDE))
    veiled = cloudy + through * (difference - at_large) + np.maximum(through, (1 - opacity) ** 2) * at_large
    light = ndimage.uniform_filter((cloudy + 0.01) / (clear + 0.01), (1, 5, 5)).clip(_LEAST_LIGHT, 1)
    moved = np.where(gain[telling].mean(axis=0) > 0, veiled, target * light).clip(0, None)
    changed = under > 0
    return np.where(changed, target + under * (moved - target), target).astype(np.float32), changed


def _opacity(gain: Image, clear: Image, cloudy: Image) -> tuple[NDArray[np.bool_], Image]:
    """The bands in which cloud stands out most, and (H, W) the share of the light that it throws back there."""
    white = np.maximum(np.percentile(cloudy, _BRIGHTEST, axis=(1, 2)), _LEAST_WHITE)
    contrast = white - np.median(clear, axis=(1, 2))
    contrast[~cloudy.any(axis=(1, 2))] = 0
    telling = contrast >= contrast.max() / 2
    room = (white[:, None, None] - clear).clip(0.1, None)
    opacity: Image = (gain[telling] / room[telling]).mean(axis=0).clip(0, 1)
    return telling, opacity


def _loss(clear: Image, cloudy: Image, opacity: Image, mask: NDArray[np.bool_]) -> float:
    """The one of `_LOSSES` with which (1 − opacity)^loss of the clear image's detail is nearest to the cloudy one's."""
    known, seen = (
        (image - ndimage.uniform_filter(image, (1, _DETAIL, _DETAIL)))[:, mask & (opacity > 0)]
        for image in (clear, cloudy)
    )
    kept = 1 - opacity[mask & (opacity > 0)]
    errors = [float(((seen - kept**loss * known) ** 2).sum()) for loss in _LOSSES]
    return _LOSSES[int(np.argmin(errors))]
