"""The deformable convolution of SCPM (ThiefCloud, IEEE TCSVT 2025), sampling as its published code does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloudfix.models.native.deformable import deform
from cloudfix.models.native.library import library_for

_TAPS = 9


class DeformableConv(nn.Module):
    """A 3×3 convolution whose nine taps are moved by offsets that another convolution predicts.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.offset = nn.Conv2d(in_channels, 2 * _TAPS, 3, padding=1)
        self.conv = nn.Conv2d(in_channels, out_channels, 3, bias=False)
        nn.init.zeros_(self.offset.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        offset = self.offset(x)
        if not torch.is_grad_enabled() and (kernels := library_for(x)):
            return deform(kernels, x, offset, self.conv.weight).to(x.dtype)
        sampled = _sample(x, offset).to(x.dtype)
        # Each tap has become a channel, so the 3×3 kernel acts as a product with nine times the channels.
        kernel = self.conv.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(sampled, kernel).movedim(-1, 1)


def _sample(x: Tensor, offset: Tensor) -> Tensor:
    """(B, C, H, W) features and (B, 18, H, W) offsets in pixels, rows then columns, to (B, H, W, 9·C) taps.

    Positions stay in float32: bfloat16 cannot tell neighbouring pixels apart beyond column 256. They are not
    brought to the −1…1 of `grid_sample` either, whose rounding grows to over 1e-4 on its way through SCPM.
    """
    batch, channels, height, width = x.shape
    with torch.autocast(x.device.type, enabled=False):
        pixels = x.to(torch.promote_types(x.dtype, torch.float32)).movedim(1, -1).reshape(-1, channels)
        shift = offset.to(pixels.dtype).movedim(1, -1)
        rows = _corners(shift[..., :_TAPS], height, axis=0)
        columns = _corners(shift[..., _TAPS:], width, axis=1)
        first = torch.arange(batch, device=x.device).view(-1, 1, 1, 1) * (height * width)
        index = torch.stack([first + row * width + column for row, _ in rows for column, _ in columns], dim=-1)
        weight = torch.stack([row * column for _, row in rows for _, column in columns], dim=-1)
        # A bag is a weighted sum of rows of a table: all four corners of a tap, all channels, in one pass.
        index, weight = index.flatten(0, -2), weight.flatten(0, -2)
        taps = F.embedding_bag(index, pixels, per_sample_weights=weight, mode="sum")
    return taps.view(batch, height, width, _TAPS * channels)


def _corners(shift: Tensor, size: int, axis: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two samples between which each tap falls along one axis, as (index, weight), each (B, H, W, 9).

    The published code places the kernel without padding, so one pixel further on. Before the first sample and
    from the last one on, it counts the border sample twice.

    Args:
        shift: (B, H, W, 9) offsets in pixels.
        size: samples along the axis.
        axis: 0 for rows, 1 for columns.
    """
    index = torch.arange(size, device=shift.device, dtype=shift.dtype)
    tap = torch.arange(3, device=shift.device, dtype=shift.dtype) - 1
    centre = index.view(-1, 1, 1) if axis == 0 else index.view(-1, 1)
    kernel = tap.repeat_interleave(3) if axis == 0 else tap.repeat(3)
    position = 1 + centre + kernel + shift
    low = position.detach().floor()
    outside = (position < 0) | (position >= size - 1)
    part = position - low
    return (
        (low.clamp(0, size - 1).long(), torch.where(outside, 1.0, 1 - part)),
        ((low + 1).clamp(0, size - 1).long(), torch.where(outside, 1.0, part)),
    )
