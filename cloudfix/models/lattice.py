"""The lattice block of ThiefCloud's adaptive feature extraction (IEEE TCSVT 2025)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LatticeBlock(nn.Module):
    """Two chains of convolutions that exchange what they found, each exchange gated channel by channel.

    The gates look at the whole input, so no halo makes tiles agree.

    Args:
        channels: C of the (B, C, H, W) features, in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.chain1 = _chain(channels)
        self.gate_f = ChannelGate(channels)
        self.gate_x = ChannelGate(channels)
        self.chain2 = _chain(channels)
        self.gate_g = ChannelGate(channels)
        self.gate_q = ChannelGate(channels)
        self.merge = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in and out."""
        f = self.chain1(x)
        p = x + self.gate_f(f) * f
        q = f + self.gate_x(x) * x
        g = self.chain2(p)
        merged: Tensor = self.merge(torch.cat((g + self.gate_q(q) * q, q + self.gate_g(g) * g), dim=1))
        return merged


class ChannelGate(nn.Module):
    """One weight per channel in 0…1, from the channel's mean and standard deviation (unbiased)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.from_mean = _gate(channels)
        self.from_deviation = _gate(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 1, 1)."""
        with torch.autocast(x.device.type, enabled=False):
            plane = x.to(torch.promote_types(x.dtype, torch.float32))
            mean = plane.mean(dim=(2, 3), keepdim=True)
            deviation = plane.std(dim=(2, 3), keepdim=True)
        gate: Tensor = self.from_mean(mean.to(x.dtype)) + self.from_deviation(deviation.to(x.dtype))
        return gate / 2


def _chain(channels: int) -> nn.Sequential:
    inner = channels - channels // 4
    layers: list[nn.Module] = []
    for wide, narrow in ((channels, inner), (inner, inner), (inner, channels)):
        layers += [nn.Conv2d(wide, narrow, 3, padding=1), nn.LeakyReLU(0.05)]
    return nn.Sequential(*layers)


def _gate(channels: int) -> nn.Sequential:
    hidden = channels // 4
    return nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid())
