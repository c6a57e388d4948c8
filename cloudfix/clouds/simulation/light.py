"""How cloud, haze and shadow look in each band.

Of a layer of optical depth τ, t = exp(−τ) of the ground's detail comes through. Droplets throw most light onwards:
only a share b = β·τ / (1 + β·τ) comes back, as between two streams (Bohren 1987), with β about 0.1, and (1 − b)² of
the ground's mean light J̄ comes through both ways. So I = J·t + A·(1 − t) with A·(1 − t) = A∞·b + J̄·((1 − b)² − t):
thin cloud hides detail long before it is bright, and thick cloud grows brighter where the ground has long gone. Ranges
are those of the cloudy pixels of real images (docs/simulation.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from cloudfix.sensors import BAND_SETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from cloudfix.clouds.simulation.hashing import Draws
    from cloudfix.clouds.simulation.recipe import CloudRecipe

WAVELENGTHS: Mapping[str, float] = MappingProxyType(
    {
        "coastal": 0.443, "blue": 0.490, "green": 0.560, "red": 0.665, "rededge071": 0.705,
        "rededge075": 0.740, "rededge078": 0.783, "nir": 0.842, "nir08": 0.865, "nir09": 0.945,
        "cirrus": 1.375, "swir16": 1.610, "swir22": 2.190,
    }
)  # fmt: skip
"""Central wavelength of each slot in micrometres."""

_REFERENCE = 0.55
"""Micrometres; thickness is that at this wavelength."""

_DRY: Mapping[str, float] = MappingProxyType(
    {
        "coastal": 0.96, "blue": 0.96, "green": 0.94, "red": 1.0, "rededge071": 1.05, "rededge075": 1.12,
        "rededge078": 1.16, "nir": 1.16, "nir08": 1.17, "nir09": 0.75, "cirrus": 0.05, "swir16": 1.1, "swir22": 1.1,
    }
)  # fmt: skip
"""Reflectance of opaque cloud relative to red under ozone and dry air; in the SWIR before droplets absorb."""

_WET: Mapping[str, float] = MappingProxyType(
    {**_DRY, "rededge071": 0.98, "rededge075": 1.05, "rededge078": 1.13, "nir": 1.03, "nir09": 0.18, "cirrus": 0.001}
)
"""The same under much water vapour."""

_SPREAD: Mapping[str, float] = MappingProxyType(
    {"coastal": 90.0, "nir09": 90.0, "cirrus": 90.0, "blue": 10.0, "green": 10.0, "red": 10.0, "nir": 10.0}
)
"""Metres over which Sentinel-2 spreads a point; 30 in its other bands."""

_DELAYS: Mapping[str, float] = MappingProxyType(
    {
        "blue": 0.0, "nir": 0.264, "green": 0.527, "cirrus": 0.851, "red": 1.005, "rededge071": 1.269,
        "swir16": 1.468, "rededge075": 1.525, "rededge078": 1.790, "nir08": 2.055, "swir22": 2.085,
        "coastal": 2.314, "nir09": 2.586,
    }
)  # fmt: skip
"""Seconds after blue at which Sentinel-2 images a place (ESA, Sentinel-2 MSI technical guide).

The shifts between bands of real cloud follow them (docs/simulation.md).
"""

_DELAYS_OF_LANDSAT_8: Mapping[str, float] = MappingProxyType(
    {
        "cirrus": -0.48, "swir16": -0.23, "swir22": -0.14, "green": 0.0, "red": 0.12, "nir08": 0.26, "coastal": 0.37,
        "blue": 0.49,
    }
)  # fmt: skip
"""Seconds after green at which Landsat-8's OLI images a place, in the order of its focal plane.

From the shifts between bands of the high cloud in sample_data/landsat8_scene.tif, taken to float at 10 km.
"""

_BACKWARD = (0.04, 0.15)
"""Share of the light that droplets throw back, per optical depth; most goes on, but without the ground's detail."""

_BACKWARD_OF_ICE = (0.08, 0.3)
"""The same of the crystals of cirrus."""

_VAPOUR = (6000.0, 9000.0)
"""Metres between which cloud rises above the water vapour."""

_PICTURE = frozenset({"red", "green", "blue"})
"""Images of these alone are pictures: balanced so that cloud is white, and so bright that much of it is saturated."""

_STRETCH = 1.6
"""How many times as bright as its reflectance opaque cloud would be in a picture that did not end at 1."""


@dataclass(frozen=True)
class CloudLight:
    """Light of a cloud of droplets or ice.

    Attributes:
        opaque: (B, C, 1, 1) reflectance at infinite depth.
        backward: (B, C, 1, 1) light that is thrown back, per optical depth.
    """

    opaque: Tensor
    backward: Tensor


@dataclass(frozen=True)
class HazeLight:
    """Light and spectrum of haze.

    Attributes:
        opaque: (B, C, 1, 1) reflectance at infinite depth.
        spectrum: (B, C, 1, 1) optical depth relative to that at the reference wavelength.
        whitening: (B, C, 1, 1) how far its reflectance follows its depth, 0 to 1.
    """

    opaque: Tensor
    spectrum: Tensor
    whitening: Tensor

    def scattered(self, through: Tensor) -> Tensor:
        """(B, C, H, W) reflectance of haze that lets the share `through` of the light pass; overwrites `through`."""
        stopped = through.neg_().add_(1)
        return torch.lerp(self.opaque, stopped, self.whitening).mul_(stopped)


def cloud_light(draws: Draws, slots: Sequence[str], recipe: CloudRecipe, height: Tensor) -> CloudLight:
    """Light of cloud whose top is at `height` metres (B, 1, 1, 1): (B, C, 1, 1).

    Ozone dims green and red above any cloud, water vapour most bands above a low one; what stands above the vapour
    shows in the cirrus band. Droplets absorb in the SWIR: it saturates early, the earlier the larger they are.
    """
    above = ((height - _VAPOUR[0]) / (_VAPOUR[1] - _VAPOUR[0])).clamp(0, 1)
    wet = draws.uniform(0, 1) * (1 - above)
    frozen = draws.uniform(0, 1)
    tints = [1 + draws.uniform(-0.015, 0.015) for _ in slots]
    brightness = draws.uniform(*recipe.brightness) * (_STRETCH if is_picture(slots) else 1)
    largest, rise = draws.uniform(0.5, 0.9), draws.uniform(0.9, 2.1)
    second = largest * draws.uniform(0.65, 0.92)
    cirrus = torch.lerp(0.001 + 0.06 * frozen**4, 0.3 + 0.5 * frozen, above)
    relative = _relative(slots, wet, {"swir16": largest, "swir22": second, "cirrus": cirrus})
    visible = draws.geometric(*_BACKWARD)
    rises = {"swir16": rise * visible, "swir22": 1.15 * rise * visible}
    opaque = brightness * torch.cat([r * tint for r, tint in zip(relative, tints, strict=True)], dim=1)
    return CloudLight(opaque, torch.cat([rises.get(slot, visible) for slot in slots], dim=1))


def cirrus_light(draws: Draws, slots: Sequence[str]) -> CloudLight:
    """Light of ice cloud (B, C, 1, 1): above the water vapour, so that it shows in the cirrus band."""
    brightness = draws.uniform(0.5, 0.9)
    absorbed = draws.uniform(0.5, 0.9)
    special = {
        "cirrus": draws.uniform(0.3, 0.8),
        "swir16": absorbed,
        "swir22": absorbed * draws.uniform(0.6, 0.9),
    }
    opaque = brightness * torch.cat(_relative(slots, draws.uniform(0, 0.3), special), dim=1)
    return CloudLight(opaque, draws.geometric(*_BACKWARD_OF_ICE).expand_as(opaque))


def haze_light(draws: Draws, slots: Sequence[str], recipe: CloudRecipe) -> HazeLight:
    """Light and spectrum of haze (B, C, 1, 1): grey to bluish, near the ground, so never in the cirrus band.

    Veils that whiten with their depth are grey.
    """
    wavelengths = _per_slot(slots, draws.uniform(0, 1)) / _REFERENCE
    low = wavelengths.new_tensor([slot != "cirrus" for slot in slots]).view(1, -1, 1, 1)
    bluish = (0.2 if is_picture(slots) else 1.0) * (1 - recipe.haze_whitening)
    colour = draws.uniform(*recipe.haze_brightness) * wavelengths ** -draws.uniform(0, 0.4 * bluish)
    whitening = (recipe.haze_whitening * low).expand_as(colour)
    return HazeLight(colour * low, wavelengths ** -draws.uniform(0, 1.6 * bluish), whitening)


def shadow_spectrum(draws: Draws, slots: Sequence[str]) -> Tensor:
    """(B, C, 1, 1) how fully a shadow is felt: sky light fills it at short wavelengths."""
    wavelengths = _per_slot(slots, draws.uniform(0, 1))
    return 1 - draws.uniform(0.45, 0.85) * (wavelengths / WAVELENGTHS["coastal"]) ** -2.2


def is_picture(slots: Sequence[str]) -> bool:
    """Whether the image is in natural colours alone, so rather a picture than a measurement."""
    return set(slots) <= _PICTURE


def native_pixels(slots: Sequence[str], pixel: float) -> tuple[int, ...]:
    """How many pixels of `pixel` metres a point is spread over in each band of Sentinel-2; 1 for other sensors' bands.

    That is half as much again as the band's own pixel: its optics blur, too.
    """
    if not _is_sentinel_2(slots):
        return (1,) * len(slots)
    return tuple(max(1, round(_SPREAD.get(slot, 30.0) / pixel)) for slot in slots)


def delays(slots: Sequence[str]) -> tuple[float, ...]:
    """Seconds after green at which Sentinel-2 or Landsat-8 images each band; 0 for other sensors' bands."""
    if _is_sentinel_2(slots):
        return tuple(_DELAYS[slot] - _DELAYS["green"] for slot in slots)
    if "nir08" in slots:
        return tuple(_DELAYS_OF_LANDSAT_8[slot] for slot in slots)
    return (0.0,) * len(slots)


def _is_sentinel_2(slots: Sequence[str]) -> bool:
    return not BAND_SETS["landsat-8-l1"].issuperset(slots)


def _relative(slots: Sequence[str], wet: Tensor, special: Mapping[str, Tensor]) -> list[Tensor]:
    """(B, 1, 1, 1) of each slot: opaque cloud relative to red."""
    if is_picture(slots):
        return [torch.ones_like(wet) for _ in slots]
    return [special[slot] if slot in special else _DRY[slot] + wet * (_WET[slot] - _DRY[slot]) for slot in slots]


def _per_slot(slots: Sequence[str], like: Tensor) -> Tensor:
    return like.new_tensor([WAVELENGTHS[slot] for slot in slots]).view(1, -1, 1, 1)
