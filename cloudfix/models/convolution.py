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
        self._transformed: tuple[Tensor | tuple[Tensor, int], Tensor] | None = None

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
        if self._transformed is None or not self._is_as_transformed(self._transformed[0]):
            weight = self.weight.detach()
            # What takes no gradient is changed by PyTorch's own means alone, which count; to compare all of it would
            # take as long as reading it from memory does, a fiftieth of the convolution.
            mark = weight.clone() if self.weight.requires_grad else (weight, _changes(weight))
            self._transformed = (mark, transform(weight))
        return self._transformed[1]

    def _is_as_transformed(self, mark: Tensor | tuple[Tensor, int]) -> bool:
        if isinstance(mark, Tensor):
            return torch.equal(mark, self.weight)
        same = mark[0].data_ptr() == self.weight.data_ptr() and mark[1] == _changes(self.weight)
        return same and not self.weight.requires_grad


def _changes(weight: Tensor) -> int:
    """How often PyTorch has written to it."""
    return weight._version  # noqa: SLF001 - it has no public name
