"""Mean and standard deviation of channels, by statistics.c."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from cloudfix.models.native.library import parallel


def describe(kernels: ctypes.CDLL, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation of each channel.

    Args:
        kernels: the compiled library.
        x: (B, C, H, W).

    Returns:
        Both (B, C, 1, 1) float32.
    """
    x = x.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = x.shape
    mean, deviation = torch.empty(2, batch, channels, 1, 1)

    def run(first: int, last: int) -> int:
        failed = 0
        for sample in range(first, last):
            source, *results = (ctypes.c_void_p(part[sample].data_ptr()) for part in (x, mean, deviation))
            failed |= kernels.cloudfix_describe(source, height, width, channels, *results)
        return failed

    parallel(run, batch)
    return mean, deviation
