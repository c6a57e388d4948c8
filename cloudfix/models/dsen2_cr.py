"""DSen2-CR (Meraner et al., ISPRS Journal 2020): residual blocks and a long skip from the optical input."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from cloudfix.models.ac_attention import Attention  # noqa: TC001 (`create` reads it)
from cloudfix.models.architectures import register
from cloudfix.models.attention_block import AttentionBlock, holds_attention
from cloudfix.models.checks import check_long_skip, check_radar
from cloudfix.models.convolution import Conv3x3
from cloudfix.models.detail import Detail
from cloudfix.models.surroundings import Filling, Matching

Skip: TypeAlias = Literal["plain", "gated", "filled", "matched", "guided"]

_OPEN = 4.0
"""Logit of a gate before training: 98 % of the input come through."""


class ResidualBlock(nn.Module):
    """`x + α·conv(relu(conv(x)))`, both convolutions 3×3 without bias."""

    def __init__(self, features: int, alpha: float) -> None:
        super().__init__()
        self.conv1 = Conv3x3(features, features, bias=False)
        self.conv2 = Conv3x3(features, features, bias=False)
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """(B, features, H, W) in and out."""
        y: Tensor = self.conv2(self.conv1(x, slope=0), scale=self.alpha, residual=x)
        return y


@register("dsen2-cr")
class DSen2CR(nn.Module):
    """DSen2-CR: what is to be added to the cloudy optical bands, from these and the SAR channels before them.

    Without attention the receptive field reaches 2·blocks + 2 pixels to each side, and any input size will do; with
    it, the network looks at the whole input, whose sides have to be even.

    Args:
        in_channels: channels of the input, SAR first.
        out_channels: channels of the output; the long skip is the last `out_channels` channels of the input.
        blocks: residual blocks.
        features: channels inside.
        alpha: what each block's residual is multiplied by.
        attention: "dense" or "attentive" turns blocks n/2 and 3n/4 into the attention blocks of ACA-CRNet.
        skip: "plain" as published: whatever cloud is in the input has to be subtracted to the last bit, and cloud
            brighter than any in training leaves a trace. "gated", ours: the network also says, by pixel and band,
            which share of the input comes through. "filled", ours, is gated, gives opaque cloud a share of what is
            seen around it (`surroundings.Filling`), and leaves out its relief (`detail.Detail`); "matched", ours, is
            gated, and gives what is under cloud the mean colours of what is not (`surroundings.Matching`); "guided",
            ours, is matched, gives opaque cloud even colours, moved to where radar expects them
            (`radar_colours.RadarColours`), and fills what is a guess from what was surely restored around it
            (`confidence.Confidence`). The last three look at the whole input.

    Raises:
        ModelError: there are more output than input channels, or not two of SAR for what looks at them.
    """

    def __init__(
        self,
        in_channels: int = 15,
        out_channels: int = 13,
        blocks: int = 16,
        features: int = 256,
        alpha: float = 0.1,
        attention: Attention = "none",
        skip: Skip = "plain",
    ) -> None:
        super().__init__()
        check_long_skip(in_channels, out_channels)
        self.out_channels = out_channels
        if skip == "guided":
            check_radar(in_channels, out_channels)
        self.surroundings = _surroundings(skip, out_channels)
        self.detail = Detail() if skip == "filled" else None
        logits = self.surroundings.logits if self.surroundings else 0
        self._parts = [out_channels] * (1 if skip == "plain" else 2) + [1] * logits
        self.stem = Conv3x3(in_channels, features)
        self.blocks = nn.Sequential(*(self.block(i, blocks, features, alpha, attention) for i in range(blocks)))
        self.refine = Conv3x3(features, sum(self._parts))
        self._initialise()

    def block(self, index: int, blocks: int, features: int, alpha: float, attention: Attention) -> nn.Module:
        """Block `index` of `blocks`."""
        if attention != "none" and holds_attention(index, blocks):
            return AttentionBlock(features, alpha, attention)
        return ResidualBlock(features, alpha)

    def forward(self, x: Tensor, ground: Tensor | None = None) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W), in the network's own units.

        A filled, matched or guided skip also takes what is known of the ground around, (B, out_channels + 1): see
        `Matching.forward`.
        """
        radar, optical = torch.tensor_split(x, [x.shape[1] - self.out_channels], dim=1)
        residual, *more = torch.split(self.refine(self.blocks(self.stem(x, slope=0))), self._parts, dim=1)
        if not more:
            return optical + residual
        gate, *shown = more
        restored = optical * torch.sigmoid(gate + _OPEN) + residual
        if isinstance(self.surroundings, Filling):
            restored = self.surroundings(optical, restored, *shown, ground)
        elif isinstance(self.surroundings, Matching):
            restored = self.surroundings(optical, restored, *shown, ground, radar)
        return self.detail(optical, restored) if self.detail else restored

    def _initialise(self) -> None:
        """Kaiming-uniform for fan-in and ReLU, as published, on the convolutions of the trunk."""
        trunk: list[nn.Conv2d] = [self.stem, self.refine]
        for block in self.blocks:
            trunk += [layer for layer in block.children() if isinstance(layer, nn.Conv2d)]
        for layer in trunk:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _surroundings(skip: Skip, bands: int) -> Filling | Matching | None:
    if skip == "filled":
        return Filling()
    if skip == "matched":
        return Matching()
    return Matching(radar_bands=bands) if skip == "guided" else None
