"""ThiefCloud (Zhao, Feng, Li, IEEE TCSVT 2025): thin cloud removal guided by a map of cloud thickness."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from cloudfix.models.ac_attention import Attention, attention_layer
from cloudfix.models.architectures import register
from cloudfix.models.checks import check_sides
from cloudfix.models.convolution import Conv3x3
from cloudfix.models.lattice import LatticeBlock
from cloudfix.models.scpm import Scpm
from cloudfix.models.veil import EvenVeil

Veil: TypeAlias = Literal["none", "even"]

_DIM = 24
_PRIOR = 12


@register("thiefcloud")
class ThiefCloud(nn.Module):
    """The removal network with its SCPM inside, on RGB in 0…1.

    Numbers in the names of layers are scales: 1 full, 2 half, 3 quarter resolution.

    Args:
        attention: "none" as published; "dense" or "attentive" puts it into the decoder at quarter and half
            resolution.
        veil: "none" as published; "even" makes the restored image exact where a veil that hardly changes explains what
            was taken away (`EvenVeil`), in use, not in training.
    """

    def __init__(self, attention: Attention = "none", veil: Veil = "none") -> None:
        super().__init__()
        self.veil = EvenVeil() if veil == "even" else None
        self.prior = Scpm()
        self.embed = Conv3x3(3, _DIM)
        self.down1 = Downsample(_DIM)
        self.down2 = Downsample(2 * _DIM)
        self.extract1 = _lattice_blocks(_DIM, 3)
        self.extract2 = _lattice_blocks(2 * _DIM, 2)
        self.extract3 = _lattice_blocks(4 * _DIM, 2)
        self.guide1, self.guide2, self.guide3 = (LatticeBlock(_PRIOR) for _ in range(3))
        self.merge3 = Conv3x3(4 * _DIM + _PRIOR, 4 * _DIM)
        self.attend3 = attention_layer(4 * _DIM, attention)
        self.up3 = Upsample(4 * _DIM)
        self.merge2 = Conv3x3(4 * _DIM + _PRIOR, 2 * _DIM)
        self.attend2 = attention_layer(2 * _DIM, attention)
        self.up2 = Upsample(2 * _DIM)
        self.merge1 = Conv3x3(2 * _DIM + _PRIOR, _DIM)
        self.head1 = OutputHead(_DIM, 1)
        self.head2 = OutputHead(2 * _DIM, 2)
        self.head3 = OutputHead(4 * _DIM, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) to (out, out_x4, out_x2), each (B, 3, H, W); the last two are for deep supervision.

        Raises:
            ModelError: height or width does not divide by 8.
        """
        check_sides("thiefcloud", x, 8)
        _, feature1, feature2, feature3 = self.prior(x)
        embedded1 = self.embed(x)
        embedded2 = self.down1(embedded1)
        embedded3 = self.down2(embedded2)
        extracted3 = embedded3 + self.extract3(embedded3)
        decoded3 = self.attend3(_merge(self.merge3, extracted3, self.guide3(feature3)))
        extracted2 = embedded2 + self.extract2(embedded2)
        decoded2 = self.attend2(_merge(self.merge2, self.up3(decoded3), self.guide2(feature2), extracted2))
        extracted1 = embedded1 + self.extract1(embedded1)
        decoded1 = _merge(self.merge1, self.up2(decoded2), self.guide1(feature1), extracted1)
        out_x4 = self.head3(embedded3, decoded3)
        out_x2 = self.head2(embedded2, decoded2)
        out = self.head1(embedded1, decoded1)
        if self.veil is not None and not self.training:
            out = self.veil(x, out)
        return out, out_x4, out_x2


class Downsample(nn.Module):
    """Half the resolution, twice the channels: convolution, then pixel-unshuffle."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv3x3(channels, channels // 2, bias=False)
        self.unshuffle = nn.PixelUnshuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 2C, H/2, W/2)."""
        y: Tensor = self.unshuffle(self.conv(x))
        return y


class Upsample(nn.Module):
    """Twice the resolution, half the channels: convolution, then pixel-shuffle."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv3x3(channels, 2 * channels, bias=False)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C/2, 2H, 2W)."""
        y: Tensor = self.shuffle(self.conv(x))
        return y


class OutputHead(nn.Module):
    """PGFF, physically guided feature fusion, and an image from it at full resolution.

    The scattering model J = (I − A)/t + A in affine form: the decoder says by how much to scale and shift
    what was embedded.
    """

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.shared = Conv3x3(channels, channels)
        self.gamma = Conv3x3(channels, channels)
        self.beta = Conv3x3(channels, channels)
        self.shuffle = nn.PixelShuffle(factor)
        self.image = Conv3x3(channels // factor**2, 3, bias=False)

    def forward(self, embedded: Tensor, decoded: Tensor) -> Tensor:
        """Two maps (B, C, H, W) to (B, 3, factor·H, factor·W)."""
        shared = self.shared(decoded, slope=0)
        fused = embedded * (1 + self.gamma(shared)) + self.beta(shared)
        image: Tensor = self.image(self.shuffle(fused))
        return image


def _lattice_blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(LatticeBlock(channels) for _ in range(count)))


def _merge(conv: Conv3x3, *maps: Tensor) -> Tensor:
    merged: Tensor = conv(torch.cat(maps, dim=1), slope=0)
    return merged
