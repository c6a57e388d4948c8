"""Random numbers that are pure functions of a seed and of integers, on any device and in any order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_STRIDES = (0x2545F4914F6CDD1D, 0x3C6EF372FE94F82B)
_FACTORS = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
"""The multipliers of the SplitMix64 generator (Steele et al. 2014) as signed numbers."""


class Draws:
    """Random numbers of each image that depend on its seed, and on how many were drawn before.

    Args:
        seeds: (B,) int64.
        dtype: of the numbers.
    """

    def __init__(self, seeds: Tensor, dtype: torch.dtype) -> None:
        self._seeds = seeds
        self._dtype = dtype
        self._drawn = 0

    def key(self) -> Tensor:
        """(B,) int64, a new seed for each image."""
        self._drawn += 1
        return mixed(mixed(self._seeds) + self._drawn)

    def uniform(self, low: float, high: float) -> Tensor:
        """(B, 1, 1, 1) numbers in low…high."""
        share = unit(self.key(), self._dtype).view(-1, 1, 1, 1)
        return low + (high - low) * share

    def geometric(self, low: float, high: float) -> Tensor:
        """(B, 1, 1, 1) positive numbers in low…high, each octave as likely as any other."""
        return self.uniform(math.log(low), math.log(high)).exp()

    def chance(self, share: float) -> Tensor:
        """(B, 1, 1, 1) of 1.0 with probability `share`, else 0.0."""
        return (self.uniform(0, 1) < share).to(self._dtype)


def white(key: Tensor, rows: Tensor, columns: Tensor, dtype: torch.dtype) -> Tensor:
    """Independent numbers of mean 0 and variance 1 at the lattice points `rows` and `columns`, which broadcast."""
    key = key.view(-1, 1, 1)
    bits = mixed(key + rows * _STRIDES[0]) + mixed(key + columns * _STRIDES[1])
    bits = (bits ^ (bits >> 32)) * _FACTORS[0]
    return (bits >> 40).to(dtype) * (math.sqrt(3) / 2**23)


def unit(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """Random int64 to numbers in 0…1, exact in single precision."""
    return _shifted(bits, 40).to(dtype) / 2**24


def mixed(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser: int64 to int64, each bit depending on all."""
    bits = (bits ^ _shifted(bits, 30)) * _FACTORS[0]
    bits = (bits ^ _shifted(bits, 27)) * _FACTORS[1]
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """A shift to the right that brings in zeros, as of unsigned numbers."""
    return (bits >> by) & ((1 << (64 - by)) - 1)
