"""How a sensor sees what floats above the ground: each band from another angle, at its own resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from cloudfix.clouds.simulation.light import delays, native_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from cloudfix.clouds.simulation.hashing import Draws
    from cloudfix.clouds.simulation.recipe import CloudRecipe

_TURN = 0.009
"""Radians a second by which a satellite's view of a place turns: 7 km/s at 786 km."""

_WIND = 20.0
"""Metres a second."""


@dataclass(frozen=True)
class Drift:
    """Where and how sharp each band sees a layer.

    Attributes:
        velocity: (down, right) in pixels a second, (B, 1, 1, 1) each: as the satellite sees it, wind included.
        fastest: pixels a second that no velocity exceeds.
        delays: seconds after green at which each band is taken.
        native: how many pixels a point is spread over in each band.
    """

    velocity: tuple[Tensor, Tensor]
    fastest: float
    delays: tuple[float, ...]
    native: tuple[int, ...]

    @classmethod
    def draw(cls, draws: Draws, slots: Sequence[str], recipe: CloudRecipe, height: Tensor, highest: float) -> Drift:
        """The drift of a layer at `height` metres, (B, 1, 1, 1), which is `highest` at most."""
        track, wind = draws.uniform(0, 2 * math.pi), draws.uniform(0, 2 * math.pi)
        scale = recipe.parallax / recipe.pixel
        turning, blowing = _TURN * height * scale, draws.uniform(0, _WIND) * scale
        return cls(
            (turning * track.sin() + blowing * wind.sin(), turning * track.cos() + blowing * wind.cos()),
            (_TURN * highest + _WIND) * scale,
            delays(slots),
            native_pixels(slots, recipe.pixel),
        )

    @property
    def margin(self) -> int:
        """Pixels around a window that its bands look at."""
        return math.ceil(2 * max(map(abs, self.delays)) * self.fastest) + max(self.native) // 2 + 1

    def seen(self, wide: Tensor, margin: int, faster: Tensor | None = None) -> Tensor:
        """(B, C, H, W) of each band, or (B, 1, H, W) for all of them where they do not differ.

        Args:
            wide: (B, 1, H + 2·margin, W + 2·margin).
            margin: at least `self.margin`.
            faster: (B, 1, H, W) from 0 to 2, factors of the velocity: what stands higher drifts faster.
        """
        if max(self.native) == 1 and not any(self.delays):
            return centre(wide, margin)
        size = wide.shape[-2] - 2 * margin, wide.shape[-1] - 2 * margin
        seen = wide.new_empty(len(wide), len(self.native), *size)
        for pixels in set(self.native):
            members = [band for band, own in enumerate(self.native) if own == pixels]
            seconds = wide.new_tensor([self.delays[band] for band in members]).view(1, -1, 1, 1)
            moved = [part * seconds for part in self.velocity]
            field = averaged(wide, pixels)
            seen[:, members] = sampled(field, margin - (pixels - 1) / 2, moved, size, faster, smooth=pixels > 1)
        # Bicubic interpolation may overshoot.
        return seen.clamp_min_(0)


def centre(wide: Tensor, margin: int) -> Tensor:
    """The field without `margin` pixels on each side."""
    return wide[..., margin : wide.shape[-2] - margin, margin : wide.shape[-1] - margin]


def averaged(field: Tensor, pixels: int) -> Tensor:
    """(…, H − pixels + 1, W − pixels + 1) means over squares of `pixels`."""
    for axis in (-2, -1):
        length = field.shape[axis] - pixels + 1
        field = sum((field.narrow(axis, start, length) for start in range(1, pixels)), field.narrow(axis, 0, length))
    return field / pixels**2


def sampled(
    field: Tensor,
    first: float,
    moved: Sequence[Tensor],
    size: tuple[int, int],
    factor: Tensor | None = None,
    *,
    smooth: bool = True,
) -> Tensor:
    """(B, K, height, width) of `field` (B, 1, …), K times.

    Args:
        field: what is looked at.
        first: row and column of the first pixel, where nothing is moved.
        moved: (down, right) in pixels, (B, K, 1, 1) each.
        size: height and width.
        factor: (B, 1, height, width) of `moved`.
        smooth: bilinear suffices; bicubic keeps more of the finest detail, and takes three times as long.
    """
    batch, times = moved[0].shape[:2]
    factor = field.new_ones(1) if factor is None else factor
    places = []
    for pixels, length, full, shape in zip(moved, size, field.shape[-2:], ((-1, 1), (1, -1)), strict=True):
        # `grid_sample` counts from −1 to 1.
        scale = 2 / (full - 1)
        line = (torch.arange(length, device=field.device, dtype=field.dtype) + first) * scale - 1
        places.append(torch.addcmul(line.view(shape), pixels * scale, factor).expand(batch, times, *size))
    points = torch.stack(places[::-1], dim=-1).flatten(1, 2)
    mode = "bilinear" if smooth else "bicubic"
    values = F.grid_sample(field, points, mode=mode, padding_mode="border", align_corners=True)
    return values.view(batch, times, *size)
