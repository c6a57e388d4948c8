"""A plain U-Net (Ronneberger et al., MICCAI 2015) for cloud removal, to try attention in a common backbone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloudfix.models.ac_attention import Attention, attention_layer
from cloudfix.models.architectures import register
from cloudfix.models.checks import check_long_skip, check_sides
from cloudfix.models.convolution import Conv3x3


@register("unet")
class UNet(nn.Module):
    """Four scales, full to eighth resolution, and the long skip of DSen2-CR: it finds what is to be added.

    Numbers in the names of layers are scales: 1 full, 2 half, 3 quarter, 4 eighth resolution.

    Args:
        in_channels: channels of the input, SAR first.
        out_channels: channels of the output; the long skip is the last `out_channels` channels of the input.
        features: channels at full resolution; they double with each halving.
        attention: "dense" or "attentive" puts it into the decoder at quarter and half resolution.

    Raises:
        ModelError: there are more output than input channels.
    """

    def __init__(
        self, in_channels: int = 15, out_channels: int = 13, features: int = 32, attention: Attention = "none"
    ) -> None:
        super().__init__()
        check_long_skip(in_channels, out_channels)
        self.out_channels = out_channels
        self.encoder1 = Unit(in_channels, features)
        self.encoder2 = Unit(features, 2 * features)
        self.encoder3 = Unit(2 * features, 4 * features)
        self.centre = Unit(4 * features, 8 * features)
        self.decoder3 = DecoderStep(8 * features, 4 * features)
        self.attend3 = attention_layer(4 * features, attention)
        self.decoder2 = DecoderStep(4 * features, 2 * features)
        self.attend2 = attention_layer(2 * features, attention)
        self.decoder1 = DecoderStep(2 * features, features)
        self.refine = Conv3x3(features, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W), in the network's own units.

        Raises:
            ModelError: H or W does not divide by 8.
        """
        check_sides("unet", x, 8)
        full = self.encoder1(x)
        half = self.encoder2(F.max_pool2d(full, 2))
        quarter = self.encoder3(F.max_pool2d(half, 2))
        eighth = self.centre(F.max_pool2d(quarter, 2))
        quarter = self.attend3(self.decoder3(eighth, quarter))
        half = self.attend2(self.decoder2(quarter, half))
        residual: Tensor = self.refine(self.decoder1(half, full))
        return x[:, -self.out_channels :] + residual


class DecoderStep(nn.Module):
    """Double the resolution, halve the channels and merge the skip."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        self.merge = Unit(2 * out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, in_channels, H, W) and the skip (B, out_channels, 2H, 2W) to the shape of the skip."""
        merged: Tensor = self.merge(torch.cat((skip, self.up(x)), dim=1))
        return merged


class Unit(nn.Module):
    """Twice: convolution 3×3, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = Conv3x3(in_channels, out_channels)
        self.conv2 = Conv3x3(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        y: Tensor = self.conv2(self.conv1(x, slope=0), slope=0)
        return y
