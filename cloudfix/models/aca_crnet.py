"""ACA-CRNet (IEEE TGRS 2024, arXiv 2411.13042): DSen2-CR with AC-Attention in two of its residual blocks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from cloudfix.errors import ModelError
from cloudfix.models.ac_attention import AcAttention
from cloudfix.models.architectures import register
from cloudfix.models.dsen2_cr import DSen2CR


class AttentionBlock(nn.Module):
    """A residual block that looks at the whole image: halve, attend, and double the resolution again."""

    def __init__(self, features: int, alpha: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, stride=2, padding=1, bias=False)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.attention = AcAttention(features)
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """(B, features, H, W) in and out; H and W have to be even."""
        y = self.attention(self.conv2(self.conv1(x).relu()).relu())
        y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
        return x + self.alpha * y


@register("aca-crnet")
class AcaCrNet(DSen2CR):
    """ACA-CRNet; the defaults are those published for RICE (RGB scaled to −1…1, tanh after the network).

    Attention looks at the whole input, so no halo makes tiles agree: they have to overlap and blend.

    Args:
        in_channels: as in DSen2-CR.
        out_channels: as in DSen2-CR.
        blocks: as in DSen2-CR; blocks n/2 and 3n/4 hold the attention.
        features: as in DSen2-CR.
        alpha: as in DSen2-CR.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        blocks: int = 16,
        features: int = 256,
        alpha: float = 0.1,
    ) -> None:
        super().__init__(in_channels, out_channels, blocks, features, alpha)

    def block(self, index: int, blocks: int, features: int, alpha: float) -> nn.Module:
        """Block `index` of `blocks`: those halfway and three quarters along hold the attention."""
        if index in (blocks // 2, 3 * blocks // 4):
            return AttentionBlock(features, alpha)
        return super().block(index, blocks, features, alpha)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W), in the network's own units.

        Raises:
            ModelError: height or width is odd.
        """
        height, width = x.shape[2:]
        if height % 2 or width % 2:
            raise ModelError(f"aca-crnet: input of {height}×{width} pixels; expected even sides, pad it by one")
        return super().forward(x)
