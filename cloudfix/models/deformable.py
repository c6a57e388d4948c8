"""The deformable convolution of SCPM (ThiefCloud, IEEE TCSVT 2025), sampling as its published code does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        sampled = _sample(x, self.offset(x)).to(x.dtype)
        # Each tap has become a channel, so the 3×3 kernel acts as a 1×1 kernel on nine times the channels.
        return F.conv2d(sampled, self.conv.weight.flatten(1)[:, :, None, None])


def _sample(x: Tensor, offset: Tensor) -> Tensor:
    """(B, C, H, W) features and (B, 18, H, W) offsets in pixels, rows then columns, to (B, 9·C, H, W) taps.

    Positions stay in float32: bfloat16 cannot tell neighbouring pixels apart beyond column 256. They are not
    brought to the −1…1 of `grid_sample` either, whose rounding grows to over 1e-4 on its way through SCPM.
    """
    batch, channels, height, width = x.shape
    with torch.autocast(x.device.type, enabled=False):
        features = x.to(torch.promote_types(x.dtype, torch.float32)).flatten(2)
        shift = offset.to(features.dtype)
        rows = _corners(shift[:, :_TAPS], height, axis=0)
        columns = _corners(shift[:, _TAPS:], width, axis=1)
        taps = features.new_zeros(batch, channels, _TAPS * height * width)
        for row, row_weight in rows:
            for column, column_weight in columns:
                index = (row * width + column).view(batch, 1, -1).expand(-1, channels, -1)
                taps = taps.addcmul(features.gather(2, index), (row_weight * column_weight).view(batch, 1, -1))
    return taps.view(batch, channels * _TAPS, height, width)


def _corners(shift: Tensor, size: int, axis: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two samples between which each tap falls along one axis, as (index, weight), each (B, 9, H, W).

    The published code places the kernel without padding, so one pixel further on. Before the first sample and
    from the last one on, it counts the border sample twice.

    Args:
        shift: (B, 9, H, W) offsets in pixels.
        size: samples along the axis.
        axis: 0 for rows, 1 for columns.
    """
    index = torch.arange(size, device=shift.device, dtype=shift.dtype)
    tap = torch.arange(3, device=shift.device, dtype=shift.dtype) - 1
    centre = index.view(-1, 1) if axis == 0 else index
    kernel = (tap.repeat_interleave(3) if axis == 0 else tap.repeat(3)).view(-1, 1, 1)
    position = 1 + centre + kernel + shift
    low = position.detach().floor()
    outside = (position < 0) | (position >= size - 1)
    part = position - low
    return (
        (low.clamp(0, size - 1).long(), torch.where(outside, 1.0, 1 - part)),
        ((low + 1).clamp(0, size - 1).long(), torch.where(outside, 1.0, part)),
    )
