"""Tensors as the kernels in C take them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LANES = 16
"""Channels are rounded up to so many."""

WIDE = 64
"""Columns of a right operand come in blocks of so many."""


def round_up(value: int, multiple: int) -> int:
    """The least multiple of `multiple` that is not below `value`."""
    return -(-value // multiple) * multiple


def pad(matrix: Tensor, rows: int, columns: int, value: float = 0.0) -> Tensor:
    """(…, M, N) to (…, rows, columns), filled up with `value`."""
    return F.pad(matrix, (0, columns - matrix.shape[-1], 0, rows - matrix.shape[-2]), value=value)


def pack(matrix: Tensor) -> Tensor:
    """The right operand of a product, packed for `multiply_rows` in simd.h.

    Args:
        matrix: (…, K, N), K even, N a multiple of 16.

    Returns:
        (…, K·N) bfloat16: blocks of up to 64 columns, each as (K / 2, columns, 2).
    """
    blocks = torch.split(matrix.to(torch.bfloat16), WIDE, dim=-1)
    pairs = [torch.unflatten(block, -2, (-1, 2)).transpose(-1, -2).flatten(-3) for block in blocks]
    return torch.cat(pairs, dim=-1)
