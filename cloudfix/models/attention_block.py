"""The residual block of ACA-CRNet that holds the attention (IEEE TGRS 2024, arXiv 2411.13042)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloudfix.models.ac_attention import Attention, attention_layer
from cloudfix.models.checks import check_sides
from cloudfix.models.convolution import Conv3x3


class AttentionBlock(nn.Module):
    """A residual block that looks at the whole image: halve, attend, and double the resolution again.

    Args:
        features: channels, in and out.
        alpha: what the residual is multiplied by.
        attention: what attends; with "none" the block halves and doubles alone, all else being equal.
    """

    def __init__(self, features: int, alpha: float, attention: Attention) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, stride=2, padding=1, bias=False)
        self.conv2 = Conv3x3(features, features, bias=False)
        self.attention = attention_layer(features, attention)
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """(B, features, H, W) in and out.

        Raises:
            ModelError: H or W is odd.
        """
        check_sides("attention block", x, 2)
        y = self.attention(self.conv2(self.conv1(x).relu(), slope=0))
        y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
        return torch.add(x, y, alpha=self.alpha)


def holds_attention(index: int, blocks: int) -> bool:
    """Whether block `index` of `blocks` is one of ACA-CRNet's two: those halfway and three quarters along."""
    return index in (blocks // 2, 3 * blocks // 4)
