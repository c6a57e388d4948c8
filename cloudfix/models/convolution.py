"""The convolution that most layers of the networks are: 3×3, stride 1, and what follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloudfix.models.native.convolution import convolve, transform
from cloudfix.models.native.library import capabilities, library_for

if TYPE_CHECKING:
    import ctypes

_FEWEST = 16
"""With fewer channels the transforms outweigh what Winograd's products save."""


class Conv3x3(nn.Conv2d):
    """A 3×3 convolution with padding, and what usually follows it: leaky ReLU, a factor, a residual connection.

    Inference in bfloat16 on a CPU takes Winograd's algorithm where its kernel can be had. That loses about 1 % of the
    output's deviation, four times what bfloat16 alone does, so training never takes it.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        bias: whether there is one.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)
        self._transformed: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, slope: float = 1.0, scale: float = 1.0, residual: Tensor | None = None) -> Tensor:
        """`residual + scale · leaky_relu(conv(x), slope)`.

        Args:
            x: (B, in_channels, H, W).
            slope: at most 1, which leaves the leaky ReLU out; 0 is ReLU.
            scale: of the result.
            residual: (B, out_channels, H, W), or None for none.
        """
        if kernels := self._kernels(x):
            return convolve(
                kernels, x, self._at_points(), self.bias, self.out_channels, slope=slope, scale=scale, residual=residual
            )
        y = super().forward(x)
        if slope != 1:
            y = F.leaky_relu(y, slope) if slope else y.relu()
        if scale != 1:
            y = scale * y
        return y if residual is None else residual + y

    def _kernels(self, x: Tensor) -> ctypes.CDLL | None:
        # Processors that multiply tiles of bfloat16 (AMX) are faster without.
        if (
            torch.is_grad_enabled()
            or min(self.in_channels, self.out_channels) < _FEWEST
            or capabilities().get("amx_bf16")
        ):
            return None
        return library_for(x)

    def _at_points(self) -> Tensor:
        """The weight at Winograd's points, computed again where it has changed, in whatever way."""
        if self._transformed is None or not torch.equal(self._transformed[0], self.weight):
            weight = self.weight.detach().clone()
            self._transformed = (weight, transform(weight))
        return self._transformed[1]
