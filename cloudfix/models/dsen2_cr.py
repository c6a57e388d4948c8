"""DSen2-CR (Meraner et al., ISPRS Journal 2020): residual blocks and a long skip from the optical input."""

from __future__ import annotations

from torch import Tensor, nn

from cloudfix.errors import ModelError
from cloudfix.models.architectures import register


class ResidualBlock(nn.Module):
    """`x + α·conv(relu(conv(x)))`, both convolutions 3×3 without bias."""

    def __init__(self, features: int, alpha: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """(B, features, H, W) in and out."""
        residual: Tensor = self.conv2(self.conv1(x).relu())
        return x + self.alpha * residual


@register("dsen2-cr")
class DSen2CR(nn.Module):
    """DSen2-CR: what is to be added to the cloudy optical bands, from these and the SAR channels before them.

    The receptive field reaches 2·blocks + 2 pixels to each side.

    Args:
        in_channels: channels of the input, SAR first.
        out_channels: channels of the output; the long skip is the last `out_channels` channels of the input.
        blocks: residual blocks.
        features: channels inside.
        alpha: what each block's residual is multiplied by.

    Raises:
        ModelError: there are more output than input channels.
    """

    def __init__(
        self,
        in_channels: int = 15,
        out_channels: int = 13,
        blocks: int = 16,
        features: int = 256,
        alpha: float = 0.1,
    ) -> None:
        super().__init__()
        if out_channels > in_channels:
            raise ModelError(
                f"out_channels={out_channels}: the long skip takes them from the input, which has "
                f"in_channels={in_channels}; raise in_channels or lower out_channels"
            )
        self.out_channels = out_channels
        self.stem = nn.Conv2d(in_channels, features, 3, padding=1)
        self.blocks = nn.Sequential(*(self.block(i, blocks, features, alpha) for i in range(blocks)))
        self.refine = nn.Conv2d(features, out_channels, 3, padding=1)
        self._initialise()

    def block(self, index: int, blocks: int, features: int, alpha: float) -> nn.Module:  # noqa: ARG002
        """Block `index` of `blocks`."""
        return ResidualBlock(features, alpha)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W), in the network's own units."""
        residual: Tensor = self.refine(self.blocks(self.stem(x).relu()))
        return x[:, -self.out_channels :] + residual

    def _initialise(self) -> None:
        """Kaiming-uniform for fan-in and ReLU, as published, on the convolutions of the trunk."""
        trunk = [self.stem, self.refine]
        for block in self.blocks:
            trunk += [layer for layer in block.children() if isinstance(layer, nn.Conv2d)]
        for layer in trunk:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
