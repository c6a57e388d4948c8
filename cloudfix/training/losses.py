"""Losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def carl(prediction: Tensor, cloudy: Tensor, target: Tensor, mask: Tensor, weight: float = 1.0) -> Tensor:
    """Cloud-adaptive regularised loss: the truth under cloud, the input under clear sky.

    mean(m·|p − y| + (1 − m)·|p − x|) + λ·mean|p − y|, from Meraner et al. 2020, "Cloud removal in Sentinel-2
    imagery using a deep residual neural network and SAR-optical data fusion".

    Args:
        prediction: the network's output p, `(N, C, H, W)`, network units.
        cloudy: its optical input x, likewise.
        target: the clear truth y, likewise.
        mask: m, `(N, 1, H, W)`: 1 under cloud or shadow, 0 under clear sky.
        weight: λ.

    Returns:
        A scalar.
    """
    error = (prediction - target).abs()
    change = (prediction - cloudy).abs()
    return (mask * error + (1 - mask) * change).mean() + weight * error.mean()
