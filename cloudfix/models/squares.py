"""Means over squares of pixels, and back to the size they came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor


def means(image: Tensor, side: int) -> Tensor:
    """(B, C, H, W) to (B, C, ⌈H / side⌉, ⌈W / side⌉): the mean of each square of `side`² pixels."""
    return F.avg_pool2d(image, side, ceil_mode=True)


def at_size_of(grid: Tensor, image: Tensor) -> Tensor:
    """(B, C, h, w) to (B, C, H, W), bilinear, for an image (…, H, W)."""
    return F.interpolate(grid, image.shape[-2:], mode="bilinear", align_corners=False)
