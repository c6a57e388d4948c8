"""What colours the ground has where radar looks as it does."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cloudfix.models.squares import at_size_of, means

_CELL, _SQUARE = 8, 5
"""Radar is averaged over cells of 8² pixels, and looked at in squares of 5² cells: speckle tells nothing."""

_SEEN = 4
_TERMS = 10

_PENALTY = 0.01
"""What the squares of the coefficients cost, of standardised terms."""

_SHARE = 0.5
"""Of what separates the colours that a network paints from those expected: each is off where neither knows a place."""

_VISIBLE = 0.5
"""Of the mean brightness of the ground: what changed by so much is half seen, half painted."""

_LEAST = 1e-6


class Look(NamedTuple):
    """What radar shows of the square around each cell.

    Attributes:
        seen: (B, 4, h, w) mean of VV and of VH, and their deviation from cell to cell.
        known: (B, 1, h, w) 1 where there is any radar, 0 elsewhere.
    """

    seen: Tensor
    known: Tensor


class RadarColours(nn.Module):
    """The mean colours of the ground by ridge regression on VV, VH and how they vary: all squares of them, and VV·VH.

    Ten coefficients a band carry over to places never seen. What convolutions make of the radar of a dozen places does
    not. Knows nothing until `fit`.
    """

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(_SEEN))
        self.register_buffer("spread", torch.ones(_SEEN))
        self.register_buffer("least", torch.zeros(_SEEN))
        self.register_buffer("most", torch.zeros(_SEEN))
        self.register_buffer("coefficients", torch.zeros(_TERMS, bands))
        self.register_buffer("visible", torch.ones(()))
        self.register_buffer("share", torch.zeros(()))

    def forward(self, radar: Tensor, image: Tensor, restored: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """What is painted becomes even: the mean colours of the square around it, moved towards those expected there.

        Its detail is that of the cloud, not of the ground. What differs little from the input was seen through haze,
        and is no guess.

        Args:
            radar: (B, 2, H, W) VV and VH from 0 up, 0 where there is none.
            image: (B, C, H, W), with cloud.
            restored: the same without it, as the convolutions have it.
            hidden: (B, 1, H, W) how far cloud hides a pixel, 0…1.

        Returns:
            `restored`, guided; and how far from the mean of the image each pixel is expected to be, (B, C, H, W).
        """
        look = look_of(radar)
        expected = self.expected(look.seen)
        change = (image - restored).abs().mean(1, keepdim=True) ** 2
        painted = hidden * change / (change + self.visible**2)
        colours = over_squares(restored * painted) / over_squares(painted).clamp_min(_LEAST)
        known = self.share * look.known
        mean = (expected * known).mean((2, 3), keepdim=True) / known.mean((2, 3), keepdim=True).clamp_min(_LEAST)
        guided, differing = (
            at_size_of(x, restored) for x in (torch.lerp(colours, expected, known), known * (expected - mean))
        )
        return torch.lerp(restored, guided, painted), differing

    def expected(self, seen: Tensor) -> Tensor:
        """(B, C, h, w) mean colours, for (B, 4, h, w) as in `Look`; beyond all that was fitted, those of its edge."""
        within = torch.clamp(seen.movedim(1, -1), self.least, self.most)
        colours: Tensor = self._terms(within) @ self.coefficients
        return colours.movedim(-1, 1)

    def fit(self, seen: Tensor, colours: Tensor, trust: Tensor) -> None:
        """Learn from examples, in place and at once.

        Args:
            seen: (N, 4) what radar shows of a square.
            colours: (N, C) of the cell in its middle.
            trust: (N,) how much each counts.
        """
        seen, colours, share = seen.double(), colours.double(), (trust / trust.sum()).double()[:, None]
        self.least, self.most = seen.amin(0).float(), seen.amax(0).float()
        centre = (share * seen).sum(0)
        self.centre = centre.float()
        self.spread = ((share * (seen - centre) ** 2).sum(0).sqrt() + _LEAST).float()
        terms = self._terms(seen)
        penalty = _PENALTY * (share * terms**2).sum(0)
        penalty[0] = 0
        weighted = (share * terms).T
        self.coefficients = torch.linalg.solve(weighted @ terms + penalty.diag(), weighted @ colours).float()
        self.visible = (_VISIBLE * (share * colours).sum(0).mean()).float()
        self.share = torch.tensor(_SHARE)

    def _terms(self, seen: Tensor) -> Tensor:
        standard = (seen - self.centre) / self.spread
        vv, vh, *_ = standard.unbind(-1)
        return torch.cat([torch.ones_like(vv)[..., None], standard, standard**2, (vv * vh)[..., None]], dim=-1)


def look_of(radar: Tensor) -> Look:
    """What radar (B, 2, H, W), 0 where there is none, shows around each cell."""
    there = (radar > 0).all(1, keepdim=True).float()
    count = cells(there)
    means = cells(radar * there) / count.clamp_min(_LEAST)
    covered = _squares(count)
    mean, square = (_squares(count * x) / covered.clamp_min(_LEAST) for x in (means, means**2))
    return Look(torch.cat([mean, (square - mean**2).clamp_min(0).sqrt()], dim=1), (covered > 0).float())


def cells(image: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, h, w): the mean of each cell."""
    return means(image, _CELL)


def over_squares(image: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, h, w): the mean of the square around each cell."""
    return _squares(cells(image))


def _squares(grid: Tensor) -> Tensor:
    return F.avg_pool2d(grid, _SQUARE, 1, _SQUARE // 2, count_include_pad=False)
