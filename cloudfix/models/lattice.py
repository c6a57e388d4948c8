"""The lattice block of ThiefCloud's adaptive feature extraction (IEEE TCSVT 2025)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from cloudfix.models.convolution import Conv3x3
from cloudfix.models.native.library import library_for
from cloudfix.models.native.statistics import describe

_SLOPE = 0.05
_LEAST = 1e-24


class LatticeBlock(nn.Module):
    """Two chains of convolutions that exchange what they found, each exchange gated channel by channel.

    The gates look at the whole input, so no halo makes tiles agree.

    Args:
        channels: C of the (B, C, H, W) features, in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.chain1 = Chain(channels)
        self.gate_f = ChannelGate(channels)
        self.gate_x = ChannelGate(channels)
        self.chain2 = Chain(channels)
        self.gate_g = ChannelGate(channels)
        self.gate_q = ChannelGate(channels)
        self.merge = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in and out."""
        f = self.chain1(x)
        p = torch.addcmul(x, self.gate_f(f), f)
        q = torch.addcmul(f, self.gate_x(x), x)
        g = self.chain2(p)
        pair = torch.addcmul(g, self.gate_q(q), q), torch.addcmul(q, self.gate_g(g), g)
        merged: Tensor = self.merge(torch.cat(pair, dim=1))
        return merged


class Chain(nn.Sequential):
    """Three convolutions, the middle ones narrower, each followed by a leaky ReLU."""

    def __init__(self, channels: int) -> None:
        inner = channels - channels // 4
        widths = ((channels, inner), (inner, inner), (inner, channels))
        # Every other number, as published: there the activations have the odd ones.
        super().__init__(OrderedDict((str(2 * i), Conv3x3(*width)) for i, width in enumerate(widths)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in and out."""
        for conv in self:
            x = conv(x, slope=_SLOPE)
        return x


class ChannelGate(nn.Module):
    """One weight per channel in 0…1, from the channel's mean and standard deviation (unbiased)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.from_mean = _gate(channels)
        self.from_deviation = _gate(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 1, W), every column the same."""
        mean, deviation = _describe(x)
        gate: Tensor = self.from_mean(mean.to(x.dtype)) + self.from_deviation(deviation.to(x.dtype))
        # A whole row: where channels come last, loops over one pixel's would be too short to be fast.
        return (gate / 2).expand(-1, -1, 1, x.shape[3]).contiguous(memory_format=torch.channels_last)


def _describe(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation of each channel, (B, C, 1, 1), in float32 at least."""
    if not torch.is_grad_enabled() and (kernels := library_for(x)):
        return describe(kernels, x)
    with torch.autocast(x.device.type, enabled=False):
        plane = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = plane.mean(dim=(2, 3), keepdim=True)
        # `std` takes ten times as long on a CPU, and has no gradient where a channel is constant.
        others = plane.shape[2] * plane.shape[3] - 1
        variance = (plane - mean).square().sum(dim=(2, 3), keepdim=True) / others
        return mean, variance.clamp_min(_LEAST).sqrt()


def _gate(channels: int) -> nn.Sequential:
    hidden = channels // 4
    return nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid())
