"""The deformable convolution of deformable.c."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from cloudfix.models.native.library import parallel, spans
from cloudfix.models.native.operands import LANES, pad, round_up


class _Deformable(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("input", "offset", "weight", "output")),
        *((name, ctypes.c_int) for name in ("height", "width", "in_channels", "out_channels")),
    )


def deform(kernels: ctypes.CDLL, x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """`DeformableConv` with the offsets at hand.

    Args:
        kernels: the compiled library.
        x: (B, C, H, W).
        offset: (B, 18, H, W) in pixels, rows then columns.
        weight: (O, C, 3, 3).

    Returns:
        (B, O, H, W) float32, channels last in memory.
    """
    x, offset = (maps.float().contiguous(memory_format=torch.channels_last) for maps in (x, offset))
    batch, in_channels, height, width = x.shape
    out_channels = len(weight)
    terms = weight.float().permute(2, 3, 1, 0).flatten(0, 2)
    terms = pad(terms, len(terms), round_up(out_channels, LANES)).contiguous()
    output = torch.empty((batch, out_channels, height, width), memory_format=torch.channels_last)

    def run(first: int, last: int) -> int:
        failed = 0
        for sample, begin, end in spans(first, last, height):
            pointers = (tensor.data_ptr() for tensor in (x[sample], offset[sample], terms, output[sample]))
            job = _Deformable(*pointers, height, width, in_channels, out_channels)
            failed |= kernels.cloudfix_deform(ctypes.byref(job), begin, end)
        return failed

    parallel(run, batch * height)
    return output
