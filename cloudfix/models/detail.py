"""What of a restored image's detail is the ground's, and what a trace of the cloud."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cloudfix.models.squares import at_size_of, means

_LEVELS = 5
"""Of detail: what is finer than 2 pixels, than 4, … 32."""

_CELL = 8
"""How much detail there is shows in cells of so many pixels a side."""

_FAR = (4, 16)
"""How much the cloud hides is also looked at over squares of so many cells a side."""

_HIDDEN = 16
_OPEN = 4.0
"""Logit of a gate before training: 98 % of the detail come through."""

_LEAST = 1e-8


class Detail(nn.Module):
    """Lets through as much of each level of detail as is to be trusted.

    Under opaque cloud a network restores the right colours, with the cloud's own relief in them: its long skip has to
    subtract that to the last bit. How strong the detail of the image is, how strong what was made of it, and how much
    was taken away tell whether it is ground that shows through a veil or relief of a cloud. That carries over to
    places never seen as the network's features do not (docs/training-log.md).
    """

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3 + 2 * _LEVELS, _HIDDEN, 1)
        self.gates = nn.Conv2d(_HIDDEN, _LEVELS, 1)
        for parameter, value in zip(self.gates.parameters(), (0.0, _OPEN), strict=True):
            nn.init.constant_(parameter, value)

    def forward(self, image: Tensor, restored: Tensor) -> Tensor:
        """The restored image without the detail that is not to be trusted.

        Args:
            image: (B, C, H, W), with cloud.
            restored: the same without it.

        Returns:
            (B, C, H, W) in float32.
        """
        with torch.autocast(image.device.type, enabled=False):
            image, restored = image.float(), restored.float()
            *details, base = _levels(restored)
            *behind, _ = _levels(image)
            change = means((image - restored).abs().mean(1, keepdim=True), _CELL)
            wider = [_over(change, side) for side in _FAR]
            seen = torch.cat([change, *wider, *map(_strength, details + behind)], dim=1)
            gates = at_size_of(torch.sigmoid(self.gates(F.relu(self.look(seen)))), image)
            shown: Tensor = (gates[:, :, None] * torch.stack(details, dim=1)).sum(1)
            return base + shown


def _levels(image: Tensor) -> list[Tensor]:
    """A Laplacian pyramid at full size (Burt & Adelson, IEEE Trans. Communications 31, 1983), the base last."""
    levels, finer = [], image
    for level in range(1, _LEVELS + 1):
        coarse = _over(image, 2**level)
        levels.append(finer - coarse)
        finer = coarse
    return [*levels, finer]


def _strength(detail: Tensor) -> Tensor:
    """(B, C, H, W) to (B, 1, h, w): the logarithm of the root mean square in each cell, about −3 to 3."""
    return means((detail**2).mean(1, keepdim=True), _CELL).clamp_min(_LEAST).log() / 2 + 4


def _over(image: Tensor, side: int) -> Tensor:
    """The means over squares of `side`², at the size of the image."""
    return at_size_of(means(image, side), image)
