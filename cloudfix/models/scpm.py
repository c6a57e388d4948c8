"""SCPM, the self-supervised cloud prior of ThiefCloud (IEEE TCSVT 2025): from RGB to cloud thickness."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloudfix.models.architectures import register
from cloudfix.models.checks import check_sides
from cloudfix.models.convolution import Conv3x3
from cloudfix.models.deformable import DeformableConv
from cloudfix.models.simam import simam

_FILTERS = (12, 24, 48, 96)


@register("scpm")
class Scpm(nn.Module):
    """A small U-net on RGB in 0…1, deformable at full resolution.

    Returns the thickness (B, 1, H, W) and the features that guide the removal network, 12 channels each: at
    full, half and quarter resolution.
    """

    def __init__(self) -> None:
        super().__init__()
        full, half, quarter, eighth = _FILTERS
        self.encoder1 = DeformableUnit(3, full)
        self.encoder2 = ConvUnit(full, half)
        self.encoder3 = ConvUnit(half, quarter)
        self.centre = ConvUnit(quarter, eighth)
        self.decoder3 = DecoderStep(eighth, quarter)
        self.decoder2 = DecoderStep(quarter, half)
        self.decoder1 = LastDecoderStep(half, full)
        self.head3 = Conv3x3(quarter, full)
        self.head2 = Conv3x3(half, full)
        self.thickness = nn.Conv2d(3 * full, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) to (thickness, feature1, feature2, feature3).

        Raises:
            ModelError: height or width does not divide by 8.
        """
        check_sides("scpm", x, 8)
        full = self.encoder1(x)
        half = self.encoder2(F.avg_pool2d(full, 2))
        quarter = self.encoder3(F.avg_pool2d(half, 2))
        quarter = self.decoder3(self.centre(F.avg_pool2d(quarter, 2)), quarter)
        half = self.decoder2(quarter, half)
        feature1 = simam(self.decoder1(half, full))
        feature2 = simam(self.head2(half, slope=0))
        feature3 = simam(self.head3(quarter, slope=0))
        maps = (_upsample(feature3, 4), _upsample(feature2, 2), feature1)
        return self.thickness(torch.cat(maps, dim=1)), feature1, feature2, feature3


class ConvUnit(nn.Module):
    """Twice: convolution 3×3, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = Conv3x3(in_channels, out_channels)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = Conv3x3(out_channels, out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        x = self.norm1(self.conv1(x)).relu()
        return F.relu(self.norm2(self.conv2(x)))


class DeformableUnit(nn.Module):
    """Twice: deformable convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.deform1 = DeformableConv(in_channels, out_channels)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.deform2 = DeformableConv(out_channels, out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        x = self.norm1(self.deform1(x)).relu()
        return F.relu(self.norm2(self.deform2(x)))


class DecoderStep(nn.Module):
    """Double the resolution and merge the skip; the same convolutions serve before and after the merge."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = Conv3x3(in_channels, out_channels)
        self.conv2 = Conv3x3(out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, in_channels, H, W) and the skip (B, out_channels, 2H, 2W) to the shape of the skip."""
        x = self._unit(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
        return self._unit(torch.cat((skip, x), dim=1))

    def _unit(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.conv1(x, slope=0), slope=0)
        return y


class LastDecoderStep(nn.Module):
    """The step to full resolution: transposed convolution, then a deformable unit on the merge."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, in_channels, 2, stride=2)
        self.narrow = Conv3x3(in_channels, out_channels)
        self.merge = DeformableUnit(2 * out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, in_channels, H, W) and the skip (B, out_channels, 2H, 2W) to the shape of the skip."""
        narrow = self.narrow(self.up(x), slope=0)
        merged: Tensor = self.merge(torch.cat((narrow, skip), dim=1))
        return merged


def _upsample(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
