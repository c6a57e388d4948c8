"""The layers of a sky: where each is how deep, and what it does to the light from below."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from cloudfix.clouds.simulation.drift import Drift, averaged, centre, sampled
from cloudfix.clouds.simulation.grid import Grid
from cloudfix.clouds.simulation.light import CloudLight, HazeLight, cirrus_light, cloud_light, haze_light
from cloudfix.clouds.simulation.noise import LARGEST_STRETCH, FractalNoise, Streaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from cloudfix.clouds.simulation.hashing import Draws
    from cloudfix.clouds.simulation.recipe import CloudRecipe

_SAMPLED = 64
"""Rows and columns of the points by which cover is made what it should be."""

_RELIEF = 6.0
"""Pixels between a cloud's surface and what of it may stand in the light."""

_DIMMING = 0.2
"""Share of the light that is missing in a shadow, per optical depth; most is only scattered, and lands nearby."""

_CIRRUS = (7000.0, 11_000.0)
"""Metres above the ground."""


@dataclass(frozen=True)
class Seen:
    """What is seen of a window: clear · `gain` + `light`; the two are changed in place, as they are large.

    Attributes:
        gain: (B, C, H, W).
        light: (B, C, H, W) reflectance.
        ground: (B, C, 1, 1) mean reflectance of the ground, which lights clouds from below.
    """

    gain: Tensor
    light: Tensor
    ground: Tensor


class Layer(Protocol):
    """Something between the ground and the sensor."""

    @property
    def depth(self) -> Tensor:
        """(B, 1, 1, 1) optical depth at 550 nm, the mean or the largest; 0 for an image without it."""
        ...

    def cover(self, grid: Grid, scene: Seen) -> Tensor:
        """Lay it over what is seen of the pixels of `grid`, in place; returns its depth at 550 nm, (B, 1, H, W)."""
        ...


@dataclass(frozen=True)
class Haze:
    """Aerosol near the ground.

    Attributes:
        noise: where it is deeper than on average.
        depth: (B, 1, 1, 1) mean optical depth.
        contrast: (B, 1, 1, 1) how uneven it is.
        light: of it.
    """

    noise: FractalNoise
    depth: Tensor
    contrast: Tensor
    light: HazeLight

    @classmethod
    def draw(cls, draws: Draws, slots: Sequence[str], recipe: CloudRecipe) -> Haze:
        """Haze of twice the cloud's extent."""
        low, high = recipe.wavelength
        wavelength = draws.geometric(2 * low, 2 * high)
        nothing = torch.zeros_like(wavelength)
        falloff = draws.uniform(0.45, 0.6), draws.uniform(0.3, 0.45)
        return cls(
            noise=FractalNoise(draws.key(), wavelength, 2 * high, falloff, billow=nothing, stretch=nothing + 1),
            depth=draws.uniform(*recipe.haze_depth) * draws.chance(recipe.haze),
            contrast=draws.uniform(0, 0.6),
            light=haze_light(draws, slots, recipe),
        )

    def cover(self, grid: Grid, scene: Seen) -> Tensor:
        """See `Layer`."""
        depth = _uneven(self.depth, self.contrast * self.noise.at(grid, skip=2))
        through = (depth * -self.light.spectrum).exp_()
        scene.gain.mul_(through)
        scene.light.mul_(through)
        scene.light.add_(self.light.scattered(through))
        return depth


@dataclass(frozen=True)
class Cirrus:
    """Thin ice cloud, far above all others.

    Attributes:
        noise: where it is deeper than on average.
        depth: (B, 1, 1, 1) mean optical depth.
        contrast: (B, 1, 1, 1) how uneven it is.
        light: of it.
        drift: how the bands see it.
    """

    noise: Streaks
    depth: Tensor
    contrast: Tensor
    light: CloudLight
    drift: Drift

    @classmethod
    def draw(cls, draws: Draws, slots: Sequence[str], recipe: CloudRecipe) -> Cirrus:
        """Cirrus in fibres at most as wide as the cloud's structures, and several times longer."""
        low, high = recipe.wavelength
        noise = Streaks(
            draws.key(),
            wavelength=draws.geometric(low, high),
            stretch=draws.uniform(2, 8),
            direction=draws.uniform(0, math.pi),
        )
        return cls(
            noise,
            depth=draws.uniform(*recipe.cirrus_depth) * draws.chance(recipe.cirrus),
            contrast=draws.uniform(0.3, 0.9),
            light=cirrus_light(draws, slots),
            drift=Drift.draw(draws, slots, recipe, draws.uniform(*_CIRRUS), _CIRRUS[1]),
        )

    def cover(self, grid: Grid, scene: Seen) -> Tensor:
        """See `Layer`."""
        margin = self.drift.margin
        wide = _uneven(self.depth, self.contrast * self.noise.at(grid.grown(margin)))
        depth = centre(wide, margin)
        _scatter(scene, _within(depth, self.drift.seen(wide, margin)), self.light)
        return depth


@dataclass(frozen=True)
class Droplets:
    """Cloud of droplets or ice that hides the ground where it is deep, and casts shadows.

    Attributes:
        noise: its shape; the higher the deeper.
        edge: (B, 1, 1, 1) value of the noise where the cloud begins.
        top: (B, 1, 1, 1) its highest value.
        depth: (B, 1, 1, 1) optical depth there.
        steepness: (B, 1, 1, 1) from 0.2, a peak, to 5, a plateau.
        light: of it.
        drift: how the bands see it.
        tallness: (B, 1, 1, 1) how much faster than the rest drifts what stands a standard deviation higher.
        away: (down, right) in pixels, (B, 1, 1, 1) each, from a cloud to its shadow.
        relief: (B, 1, 1, 1) how much brighter the sunny side of a cloud is.
    """

    noise: FractalNoise
    edge: Tensor
    top: Tensor
    depth: Tensor
    steepness: Tensor
    light: CloudLight
    drift: Drift
    tallness: Tensor
    away: tuple[Tensor, Tensor]
    relief: Tensor

    @classmethod
    def draw(cls, draws: Draws, slots: Sequence[str], recipe: CloudRecipe, extent: tuple[int, int]) -> Droplets:
        """Cloud that covers of an image of height and width `extent` what the recipe says."""
        wavelength = draws.geometric(*recipe.wavelength)
        noise = FractalNoise(
            draws.key(),
            wavelength,
            recipe.wavelength[1],
            falloff=(draws.uniform(0.58, 0.75), draws.uniform(0.56, 0.70)),
            billow=draws.uniform(-0.7, 0.8).clamp_min(0),
            stretch=draws.geometric(1 / LARGEST_STRETCH, LARGEST_STRETCH),
        )
        edge, top = _edge_and_top(noise, draws.uniform(*recipe.cover), extent)
        height = draws.geometric(*recipe.height)
        return cls(
            noise,
            edge,
            top,
            depth=draws.geometric(*recipe.depth) * draws.chance(recipe.cloud),
            steepness=draws.geometric(0.2, 5.0),
            light=cloud_light(draws, slots, recipe, height),
            drift=Drift.draw(draws, slots, recipe, height, recipe.height[1]),
            tallness=draws.uniform(0, 0.5),
            away=_shadow_offset(draws, recipe, height),
            relief=draws.uniform(0, 0.25),
        )

    def cover(self, grid: Grid, scene: Seen) -> Tensor:
        """See `Layer`."""
        margin = self.drift.margin + math.ceil(_RELIEF)
        wide = self.noise.at(grid.grown(margin))
        values = centre(wide, margin)
        depth = self._depth(values)
        seen = self.drift.seen(self._depth(wide), margin, (values * self.tallness).add_(1).clamp_(0, 2))
        length = torch.hypot(*self.away).clamp_min(1e-6)
        sunny = [-_RELIEF * part / length for part in self.away]
        slope = values - sampled(wide, margin, sunny, (grid.height, grid.width))
        _scatter(scene, _within(depth, seen), self.light, lit=(1 + self.relief * slope).clamp_(0.4, 1.5))
        return depth

    def shadow(self, grid: Grid) -> Tensor:
        """(B, 1, H, W) share of the light that it keeps away, as the sun sees it: from a disk, not a point."""
        down, right = self.away
        casting = self._depth(self.noise.at(grid.grown(1).moved(-down, -right), skip=1))
        return averaged(casting.mul_(-_DIMMING).expm1_().neg_(), 3)

    def _depth(self, values: Tensor) -> Tensor:
        height = ((values - self.edge) / (self.top - self.edge)).clamp_min_(0)
        rising = (height * height.sqrt()).mul_(self.steepness)
        return rising.log1p_().mul_(self.depth / torch.log1p(self.steepness))


def _edge_and_top(noise: FractalNoise, cover: Tensor, extent: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The value that the noise exceeds on a share `cover` of the image, and its highest.

    A share above 1 is exceeded by all values, the lowest standing above it by the part beyond 1 of their range.
    """
    height, width = extent
    step = (height / _SAMPLED, width / _SAMPLED)
    first = torch.zeros_like(cover).flatten(1)
    points = Grid(first + step[0] / 2, first + step[1] / 2, _SAMPLED, _SAMPLED, step)
    values = noise.at(points).flatten(1).sort(dim=1).values
    lowest, highest = values[:, :1], values[:, -1:]
    share = cover.flatten(1)
    rank = ((1 - share).clamp(0, 1) * (values.shape[1] - 1)).round().long()
    edge = values.gather(1, rank) - (share - 1).clamp_min(0) * (highest - lowest)
    return edge[..., None, None], highest[..., None, None]


def _shadow_offset(draws: Draws, recipe: CloudRecipe, height: Tensor) -> tuple[Tensor, Tensor]:
    """(down, right) in pixels, (B, 1, 1, 1) each, from cloud at `height` metres to its shadow."""
    elevation, azimuth = (torch.deg2rad(draws.uniform(*ends)) for ends in (recipe.sun_elevation, recipe.sun_azimuth))
    length = height / recipe.pixel / elevation.tan()
    return length * azimuth.cos(), -length * azimuth.sin()


def _uneven(depth: Tensor, variation: Tensor) -> Tensor:
    """Optical depth that varies by shares of its mean."""
    return variation.add_(1).clamp_(0, 3).mul_(depth)


def _within(depth: Tensor, seen: Tensor) -> Tensor:
    """What bands see where there is cloud at 550 nm, so that thickness tells which pixels are as they were.

    A depth above 0 may be too small for the thickness to tell.
    """
    return seen * (torch.exp(-depth) < 1)


def _scatter(scene: Seen, depth: Tensor, cloud: CloudLight, lit: Tensor | None = None) -> None:
    """Lay a scattering layer on top: of the light, √(1 − back) gets through one way, but detail only by t."""
    back = depth * cloud.backward
    back /= 1 + back
    through = depth.neg().exp_()
    diffuse = (1 - back).square_()
    scene.light.mul_(diffuse)
    scene.light.add_(diffuse.sub_(through).mul_(scene.gain).mul_(scene.ground))
    scene.gain.mul_(through)
    back *= cloud.opaque
    scene.light.add_(back if lit is None else back.mul_(lit))
