"""How many tiles a GPU takes at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_SHARE = 0.8
"""Of the free memory that a batch may take: what convolutions ask for besides grows in steps."""


def capacity(module: Callable[[Tensor], Tensor], tile: Tensor) -> int:
    """Tiles that the free memory of a GPU holds at a time, found by running one; a power of two, and at least 1.

    Args:
        module: the network.
        tile: (1, C, H, W), on the GPU.

    Raises:
        torch.OutOfMemoryError: it does not hold one.
    """
    device = tile.device
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    module(tile)
    taken = torch.cuda.max_memory_allocated(device) - before
    free, _ = torch.cuda.mem_get_info(device)
    # What PyTorch keeps for later counts as used there, but is at hand.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return _power_of_two(int(_SHARE * free) // max(taken, 1))


def _power_of_two(count: int) -> int:
    """The greatest that is not above `count`: equal parts of a batch share one compiled network."""
    return 1 << max(count.bit_length() - 1, 0)
