"""ACA-CRNet (IEEE TGRS 2024, arXiv 2411.13042): DSen2-CR with AC-Attention in two of its residual blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudfix.models.ac_attention import Attention  # noqa: TC001 (`create` reads it)
from cloudfix.models.architectures import register
from cloudfix.models.attention_block import AttentionBlock, holds_attention
from cloudfix.models.dsen2_cr import DSen2CR, Skip

if TYPE_CHECKING:
    from torch import nn


@register("aca-crnet")
class AcaCrNet(DSen2CR):
    """ACA-CRNet; the defaults are those published for RICE (RGB scaled to −1…1, tanh after the network).

    Attention looks at the whole input, so no halo makes tiles agree: they have to overlap and blend. Height and
    width have to be even.

    Args:
        in_channels: as in DSen2-CR.
        out_channels: as in DSen2-CR.
        blocks: as in DSen2-CR; blocks n/2 and 3n/4 halve the resolution and hold the attention.
        features: as in DSen2-CR.
        alpha: as in DSen2-CR.
        attention: "attentive" as published, "dense" without the selection of keys; "none" keeps the two blocks
            and leaves the attention out of them.
        skip: as in DSen2-CR.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        blocks: int = 16,
        features: int = 256,
        alpha: float = 0.1,
        attention: Attention = "attentive",
        skip: Skip = "plain",
    ) -> None:
        super().__init__(in_channels, out_channels, blocks, features, alpha, attention, skip)

    def block(self, index: int, blocks: int, features: int, alpha: float, attention: Attention) -> nn.Module:
        """Block `index` of `blocks`."""
        if holds_attention(index, blocks):
            return AttentionBlock(features, alpha, attention)
        return super().block(index, blocks, features, alpha, attention)
