"""Smooth random fields that are pure functions of a seed and of coordinates.

A field is white noise on a lattice, hashed from the lattice's indices, under a cubic B-spline. So any window of it
can be computed at any time and by anyone, and two windows agree where they overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from cloudfix.clouds.simulation.hashing import mixed, unit, white

if TYPE_CHECKING:
    from torch import Tensor

    from cloudfix.clouds.simulation.grid import Grid

LARGEST_STRETCH = 1.15
"""Of `FractalNoise.stretch`."""

_FINEST = 1.5
"""Pixels: no octave has a wavelength below it, and every image has one of less than twice it."""

_LARGE = 24.0
"""Pixels; some 200 m. Cloud is rougher above, where turbulence shapes it, than below, where light spreads inside it."""

_SPLINE_VARIANCE = (151 / 315) ** 2
"""Variance of a bicubic B-spline over white noise of variance 1, mean over all phases."""

_VALUE_VARIANCE = (181 / 231) ** 2
"""The same of `_value_noise`."""

_BILLOW_MEAN = math.sqrt(2 / math.pi)
_BILLOW_SPREAD = math.sqrt(1 - 2 / math.pi)


@dataclass(frozen=True)
class FractalNoise:
    """A sum of octaves of smooth noise, each of half the wavelength and less amplitude than the one before.

    Attributes:
        key: (B,) int64, what decides the noise.
        wavelength: (B, 1, 1, 1) of the largest octave in pixels; the smallest is 1.5 to 3 pixels.
        highest: no image has a larger wavelength, so that the number of octaves is known.
        falloff: amplitude of an octave relative to the one before, (B, 1, 1, 1) for wavelengths above some 24 pixels,
            and for those below.
        billow: (B, 1, 1, 1) from 0 to 1: how far octaves are folded up to rounded tops with creases between them.
        stretch: (B, 1, 1, 1) how much longer structures are along columns, and shorter along rows; up to
            `LARGEST_STRETCH` or its inverse.
    """

    key: Tensor
    wavelength: Tensor
    highest: float
    falloff: tuple[Tensor, Tensor]
    billow: Tensor
    stretch: Tensor

    def at(self, grid: Grid, *, skip: int = 0) -> Tensor:
        """(B, 1, height, width) values of about mean 0 and standard deviation 1.

        Args:
            grid: where to look.
            skip: so many of the finest octaves are left out, and the rest stays what it is among all of them.
        """
        times = self.wavelength / _FINEST
        finest = _FINEST * times / torch.exp2(torch.log2(times).floor())
        total = grid.top.new_zeros(len(grid.top), 1, grid.height, grid.width)
        variance, amplitude = torch.zeros_like(finest), torch.ones_like(finest)
        for octave in range(int(math.log2(self.highest / _FINEST)), -1, -1):
            spacing = finest * 2**octave
            there = amplitude * (spacing < 1.1 * self.wavelength)
            variance += there**2
            if octave >= skip:
                apart = spacing * self.stretch, spacing / self.stretch
                values = _lattice_noise(grid, self.key + octave, apart, least=_FINEST * 2**octave / LARGEST_STRETCH)
                total += values * (there * (1 - self.billow))
                total += (values.abs_() - _BILLOW_MEAN) * (there * self.billow / _BILLOW_SPREAD)
            amplitude = torch.where(there > 0, amplitude * torch.where(spacing > _LARGE, *self.falloff), amplitude)
        scale = (variance * ((1 - self.billow) ** 2 + self.billow**2)).sqrt()
        return total / scale


@dataclass(frozen=True)
class Streaks:
    """Noise in long fibres of any direction.

    Attributes:
        key: (B,) int64, what decides the noise.
        wavelength: (B, 1, 1, 1) width of the widest fibres in pixels.
        stretch: (B, 1, 1, 1) how many times longer than wide they are.
        direction: (B, 1, 1, 1) in radians, 0 along the columns.
    """

    key: Tensor
    wavelength: Tensor
    stretch: Tensor
    direction: Tensor

    _OCTAVES = 4
    _FALLOFF = 0.6
    _SMOOTH = 4.0
    """Pixels: values are computed so far apart, and a spline laid through them."""

    def at(self, grid: Grid) -> Tensor:
        """(B, 1, height, width) values of about mean 0 and standard deviation 1."""
        (rows, down), (columns, across) = self._line(grid.rows, grid.step[0]), self._line(grid.columns, grid.step[1])
        smooth: Tensor = down @ self._values(rows[:, :, None], columns[:, None, :]) @ across.mT
        return smooth[:, None]

    def _line(self, positions: Tensor, step: float) -> tuple[Tensor, Tensor]:
        """Positions (B, K) at which values are computed for `positions` (B, N), and the weights (B, N, K) of these."""
        apart = positions.new_full((1, 1), self._SMOOTH)
        first, weights = _knots(positions, apart, self._SMOOTH, step)
        return (first + torch.arange(weights.shape[-1], device=first.device)) * apart, weights

    def _values(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(B, K, L) at the crossings of rows (B, K, 1) and columns (B, 1, L)."""
        cosine, sine = self.direction.cos().flatten(1)[..., None], self.direction.sin().flatten(1)[..., None]
        scale, stretch = self.wavelength.flatten(1)[..., None], self.stretch.flatten(1)[..., None]
        along = (rows * sine + columns * cosine) / (scale * stretch)
        across = (rows * cosine - columns * sine) / scale
        total, variance = torch.zeros_like(along), 0.0
        for octave in range(self._OCTAVES):
            amplitude = self._FALLOFF**octave
            total = total + amplitude * _value_noise(across * 2**octave, along * 2**octave, self.key + octave)
            variance += amplitude**2
        return total / math.sqrt(variance * _VALUE_VARIANCE)


def _lattice_noise(grid: Grid, key: Tensor, spacing: tuple[Tensor, Tensor], least: float) -> Tensor:
    """(B, 1, height, width) noise of variance 1; the lattice's spacings (B, 1, 1, 1) are all `least` or more."""
    dtype = grid.top.dtype
    ends = []
    for salt, (line, apart, step) in enumerate(
        zip((grid.rows, grid.columns), (part.flatten(1) for part in spacing), grid.step, strict=True), start=1
    ):
        phase = unit(mixed(key + salt), dtype)[:, None]
        ends.append(_knots(line + phase * apart, apart, least, step))
    (top, down), (left, across) = ends
    rows = (top.long() + torch.arange(down.shape[-1], device=top.device))[:, :, None]
    columns = (left.long() + torch.arange(across.shape[-1], device=left.device))[:, None, :]
    values = (down @ white(key, rows, columns, dtype) @ across.mT)[:, None]
    return values / math.sqrt(_SPLINE_VARIANCE)


def _knots(positions: Tensor, spacing: Tensor, least: float, step: float) -> tuple[Tensor, Tensor]:
    """The first knot (B, 1) that reaches `positions` (B, N), and cubic B-spline weights (B, N, K) of it and the next.

    K follows from `least`, the smallest spacing there may be, so that no value has to be known to say how many.
    """
    count = math.ceil((positions.shape[1] - 1) * step / least) + 4
    scaled = positions / spacing
    before = scaled.floor()
    f = scaled - before
    square, cube = f * f, f * f * f
    weights = torch.stack(
        [1 - 3 * f + 3 * square - cube, 4 - 6 * square + 3 * cube, 1 + 3 * f + 3 * square - 3 * cube, cube], dim=-1
    )
    first = before[:, :1]
    index = (before - first).long()[..., None] + torch.arange(4, device=positions.device)
    knots = positions.new_zeros(*positions.shape, count).scatter_(-1, index, weights / 6)
    return first - 1, knots


def _value_noise(rows: Tensor, columns: Tensor, key: Tensor) -> Tensor:
    """(B, K, L) noise at any positions in units of the lattice, smooth between its points."""
    corners = rows.floor(), columns.floor()
    down, right = (
        part * part * part * (part * (part * 6 - 15) + 10) for part in (rows - corners[0], columns - corners[1])
    )
    i, j = (corner.long() for corner in corners)
    dtype = rows.dtype
    upper = white(key, i, j, dtype) * (1 - right) + white(key, i, j + 1, dtype) * right
    lower = white(key, i + 1, j, dtype) * (1 - right) + white(key, i + 1, j + 1, dtype) * right
    return upper * (1 - down) + lower * down
