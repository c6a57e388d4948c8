"""What a network restored, made exact where one even veil explains what it took away."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEAST = 0.15
"""Transmission below which nothing is taken for a veil that can be undone."""

_STEPS = 851
_SHARE = 0.8
_BELIEVED = ((63, 0.05, 0.1), (9, 0.08, 0.16))
"""Sides of squares in pixels, and the mean difference over them, on 0…1, up to which the veil is believed, and from
which on it is not: the large ones see a slope, the small ones an edge."""


class EvenVeil(nn.Module):
    """Undoes one grey veil over the whole input by the scattering model, as dense as the restored image says.

    x = t y + (1 − t) A with A = 1 − t: the denser a veil, the brighter (RICE-I, docs/training-log.md). At t = 0.5 an
    error of 0.01 in t moves y by 0.01 to 0.03, and an error of the network by pixels is gone. Where the two differ,
    over squares around a pixel, the veil is not even there, and the restored image stays. Four fifths of the one and
    a fifth of the other are better than either.
    """

    def forward(self, image: Tensor, restored: Tensor) -> Tensor:
        """The restored image, its even veil undone.

        Args:
            image: (B, 3, H, W) in 0…1, with cloud.
            restored: the same without it, as the network has it.

        Returns:
            (B, 3, H, W) in float32.
        """
        with torch.autocast(image.device.type, enabled=False):
            image, restored = image.float(), restored.float()
            shown = restored.clamp(0, 1)
            t = transmission(image, shown)
            cleared = _cleared(image, t).clamp(0, 1)
            distance = (cleared - shown).abs().mean(1, keepdim=True)
            shares = [((far - _smoothed(distance, side)) / (far - near)).clamp(0, 1) for side, near, far in _BELIEVED]
            return torch.lerp(restored, cleared, _SHARE * torch.minimum(*shares))


def transmission(image: Tensor, restored: Tensor) -> Tensor:
    """(B, 1, 1, 1) the transmission of the even veil that leads from `restored` to `image`, by least squares.

    Args:
        image: (B, 3, H, W) in 0…1.
        restored: the same.
    """
    t = torch.linspace(_LEAST, 1, _STEPS, device=image.device)
    veil = (1 - t) ** 2

    def mean(values: Tensor) -> Tensor:
        return values.double().mean((1, 2, 3))[:, None]

    # The mean of ((x − veil) / t − y)², from moments, for all t at once.
    squares = mean(image**2) - 2 * t * mean(image * restored) + t**2 * mean(restored**2)
    error = (squares - 2 * veil * (mean(image) - t * mean(restored)) + veil**2) / t**2
    return t[error.argmin(dim=1)][:, None, None, None]


def _cleared(image: Tensor, t: Tensor) -> Tensor:
    return (image - (1 - t) ** 2) / t


def _smoothed(values: Tensor, side: int) -> Tensor:
    """Means of (B, 1, H, W) over squares, by rows and then by columns."""
    for window in ((side, 1), (1, side)):
        above, left = (length // 2 for length in window)
        values = F.avg_pool2d(F.pad(values, (left, left, above, above), mode="replicate"), window, 1)
    return values
