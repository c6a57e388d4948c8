"""The 3×3 convolution of winograd.c: a quarter of the multiplications, in bfloat16."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from cloudfix.models.native.library import parallel, spans
from cloudfix.models.native.operands import LANES, WIDE, pack, pad, round_up

_NEAR, _FAR = 0.75, 1.5
_SIDE = 4


class _Convolution(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("input", "weight", "residual", "bias", "output")),
        *((name, ctypes.c_int) for name in ("height", "width", "in_channels", "out_channels")),
        *((name, ctypes.c_float) for name in ("slope", "scale")),
    )


def transform(weight: Tensor) -> Tensor:
    """The kernel (out, in, 3, 3) at the 36 points of F(4×4, 3×3), packed for `convolve`."""
    # Lavin & Gray, CVPR 2016: the kernel as a polynomial along each axis, at the points 0, ±3/4, ±3/2 and ∞.
    points = [0.0, _NEAR, -_NEAR, _FAR, -_FAR]
    rows = []
    for point in points:
        scale = 1.0
        for other in points:
            scale /= point - other if other != point else 1.0
        rows.append([scale * point**power for power in range(3)])
    matrix = torch.tensor([*rows, [0.0, 0.0, 1.0]])
    at_points = torch.einsum("yi,xj,ocij->yxco", matrix, matrix, weight.float()).flatten(0, 1)
    out_channels, in_channels = weight.shape[:2]
    padded = pad(at_points, round_up(in_channels, LANES), round_up(out_channels, LANES))
    return torch.cat([pack(block).flatten() for block in torch.split(padded, WIDE, dim=-1)])


def convolve(
    kernels: ctypes.CDLL,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    out_channels: int,
    *,
    slope: float = 1.0,
    scale: float = 1.0,
    residual: Tensor | None = None,
) -> Tensor:
    """`residual + scale · leaky_relu(conv(x), slope)`, kernel 3, stride 1, padding 1.

    Args:
        kernels: the compiled library.
        x: (B, C, H, W).
        weight: as `transform` gives it.
        bias: (out_channels,), or None.
        out_channels: of the result.
        slope: of the leaky ReLU, at most 1, which is none.
        scale: what the result is multiplied by.
        residual: what it is added to, of the result's shape.

    Returns:
        (B, out_channels, H, W) bfloat16, channels last in memory.
    """
    x, residual = _channels_last(x), None if residual is None else _channels_last(residual)
    bias = None if bias is None else bias.float().contiguous()
    batch, in_channels, height, width = x.shape
    shape = (batch, out_channels, height, width)
    output = torch.empty(shape, dtype=torch.bfloat16, memory_format=torch.channels_last)
    rows = -(-height // _SIDE)

    def run(first: int, last: int) -> int:
        failed = 0
        for sample, begin, end in spans(first, last, rows):
            maps = (x[sample], weight, None if residual is None else residual[sample], bias, output[sample])
            pointers = (None if tensor is None else tensor.data_ptr() for tensor in maps)
            job = _Convolution(*pointers, height, width, in_channels, out_channels, slope, scale)
            failed |= kernels.cloudfix_convolve(ctypes.byref(job), begin, end)
        return failed

    parallel(run, batch * rows)
    return output


def _channels_last(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
