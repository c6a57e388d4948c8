"""How the transmission of a veil changes within an image, from what the image looks like."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELL = 8
"""Pixels a side of what has one transmission."""

THICKEST = 0.1
"""Transmission below which nothing is told apart, and nothing could be undone."""

_TRAITS, _CHANNELS, _HALVINGS = 10, 32, 3
_SMOOTH = 5
"""Cells a side over which a map is averaged, twice: a veil has no edges, the ground has."""


class TransmissionMap(nn.Module):
    """A small U-Net over squares of 8 pixels that maps the transmission of a veil, even where it is thick and uneven.

    A veil lifts the dark and takes contrast and colour away, here more and there less; ground does so, too, but in
    other shapes. What changes within an image it tells of places never seen; how dense all of it is, less surely than
    `VeilDensity` does under an even veil (docs/training-log.md, "Thick and uneven"). It has nothing to say until
    `fitted` is 1.
    """

    fitted: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(_TRAITS, _CHANNELS, 1)
        self.down = nn.ModuleList(_block(_CHANNELS) for _ in range(_HALVINGS + 1))
        self.whole = nn.Linear(2 * _CHANNELS, _CHANNELS)
        self.up = nn.ModuleList(_block(2 * _CHANNELS) for _ in range(_HALVINGS))
        self.leave = nn.Conv2d(_CHANNELS, 1, 1)
        self.register_buffer("fitted", torch.zeros(()))
        # It has a training of its own (`cloudfix.training.transmission_map`), before the network's.
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """The transmission of each cell.

        Args:
            image: (B, 3, H, W) in 0…1, with cloud; H and W divide by 8.

        Returns:
            (B, 1, H / 8, W / 8) in 0.1…1.
        """
        levels = []
        seen = F.silu(self.enter(_traits(image)))
        for depth, block in enumerate(self.down):
            seen = block(F.avg_pool2d(seen, 2, ceil_mode=True) if depth else seen)
            levels.append(seen)
        whole = torch.cat([seen.mean((2, 3)), seen.flatten(2).std(2, correction=0)], dim=1)
        seen = seen + self.whole(whole)[:, :, None, None]
        for block, level in zip(self.up, levels[-2::-1], strict=True):
            wider = F.interpolate(seen, size=level.shape[-2:], mode="bilinear", align_corners=False)
            seen = block(torch.cat([wider, level], dim=1))
        transmission = torch.sigmoid(self.leave(seen))
        for _ in range(2):
            transmission = F.avg_pool2d(transmission, _SMOOTH, 1, _SMOOTH // 2, count_include_pad=False)
        return transmission.clamp_min(THICKEST)


def _traits(image: Tensor) -> Tensor:
    """(B, 10, h, w) what `TransmissionMap` looks at in each cell of (B, 3, H, W) in 0…1.

    Mean and deviation of each band, how dark the darkest band is, on average and at least, how bright the brightest is
    at most, and how much colour there is.
    """
    darkest, brightest = image.amin(1, keepdim=True), image.amax(1, keepdim=True)
    mean = F.avg_pool2d(image, CELL)
    deviation = (F.avg_pool2d(image**2, CELL) - mean**2).clamp_min(1e-6).sqrt()
    return torch.cat(
        [
            mean,
            1 + 0.3 * deviation.log(),
            F.avg_pool2d(darkest, CELL),
            -F.max_pool2d(-F.avg_pool2d(darkest, 3, 1, 1), CELL),
            F.max_pool2d(F.avg_pool2d(brightest, 3, 1, 1), CELL),
            F.avg_pool2d(brightest - darkest, CELL),
        ],
        dim=1,
    )


def _block(channels: int) -> nn.Sequential:
    """Two convolutions over squares of three cells a side."""
    return nn.Sequential(
        nn.Conv2d(channels, _CHANNELS, 3, padding=1, padding_mode="replicate"),
        nn.SiLU(),
        nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1, padding_mode="replicate"),
        nn.SiLU(),
    )
