"""How dense an even veil is, from what an image looks like as a whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cloudfix.models.colour_lines import colour_lines

_STATISTICS = 13
_EXAMPLES = 64
_CELL = 8
"""What is dark or bright is so over squares of so many pixels a side: a single pixel is noise, or a shadow."""

_FEW = 0.01
"""Mean trust in colour lines at which what they say counts by half."""

_REACH = 0.3
"""Deviation of the Gaussian around an example, in root mean squares of standardised statistics."""

_LINEAR, _LOCAL = 0.3, 0.3
"""What the squares of the coefficients of the linear and of the local part cost."""


class VeilDensity(nn.Module):
    """The transmission of an even veil by ridge regression on thirteen statistics of the veiled image.

    Linear in them, which carries over to places never seen, plus Gaussians around images that are known, which make up
    for what those lie off the line. The statistics: mean and deviation of each band, the third percentile and the
    median of how dark the darkest band is, the mean of what a pixel's brightest band has more, the square of that, and
    how bright a veil colour lines point at (`colour_lines`). A veil lifts the dark and takes colour and contrast away
    (the dark channel of He, Sun, Tang, CVPR 2009, in spirit). It knows nothing until `fit`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(_STATISTICS))
        self.register_buffer("spread", torch.ones(_STATISTICS))
        self.register_buffer("slope", torch.zeros(_STATISTICS))
        self.register_buffer("level", torch.full((), torch.nan))
        self.register_buffer("examples", torch.zeros(_EXAMPLES, _STATISTICS))
        self.register_buffer("height", torch.zeros(_EXAMPLES))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """How dense a veil looks, and how far the look is from any that is known.

        Args:
            image: (B, 3, H, W) in 0…1; H and W divide by 8.

        Returns:
            (B,) the transmission of the veil, NaN before `fit`, and (B,) the root mean square of what the standardised
            statistics differ by from those of the nearest example.
        """
        standard = (statistics(image) - self.centre) / self.spread
        apart = _apart(standard, self.examples)
        transmission = self.level + standard @ self.slope + _near(apart) @ self.height
        return transmission, apart.amin(1).sqrt()

    def fit(self, seen: Tensor, transmission: Tensor, trust: Tensor, known: int) -> None:
        """Learn from examples, in place and at once.

        Args:
            seen: (N, 13) `statistics` of veiled images.
            transmission: (N,) of their veils.
            trust: (N,) how much each counts.
            known: how many of them, the first ones, the local part is to remember.
        """
        seen, transmission, trust = (values.double() for values in (seen, transmission, trust))
        share = trust / trust.sum()
        centre = share @ seen
        spread = ((share @ (seen - centre) ** 2).sqrt() + 1e-9) * _STATISTICS**0.5
        self.centre, self.spread = centre.float(), spread.float()
        standard = (seen - centre) / spread
        level = share @ transmission
        weighted = standard.T * share
        penalty = _LINEAR / _STATISTICS * torch.eye(_STATISTICS, dtype=torch.float64)
        slope = torch.linalg.solve(weighted @ standard + penalty, weighted @ (transmission - level))
        self.level, self.slope = level.float(), slope.float()
        standard, left, trust = standard[:known], (transmission - level - standard @ slope)[:known], trust[:known]
        chosen = standard[torch.linspace(0, known - 1, min(known, _EXAMPLES)).long()]
        near, among = _near(_apart(standard, chosen)), _near(_apart(chosen, chosen))
        height = torch.linalg.solve((near.T * trust) @ near + _LOCAL * among, (near.T * trust) @ left)
        # What is left of the room is the first example again, of no height: so no other is the nearest.
        self.examples, self.height = chosen[:1].float().repeat(_EXAMPLES, 1), torch.zeros(_EXAMPLES)
        self.examples[: len(chosen)], self.height[: len(chosen)] = chosen.float(), height.float()


def statistics(image: Tensor) -> Tensor:
    """(B, 13) what `VeilDensity` looks at, of (B, 3, H, W) in 0…1; H and W divide by 8."""
    image = image.float()
    bands = image.flatten(2)
    darkest = image.amin(1)
    colour = (bands.amax(1) - darkest.flatten(1)).mean(1, keepdim=True)
    squares = F.avg_pool2d(darkest, _CELL).flatten(1)
    dark = torch.stack([torch.quantile(squares, share, dim=1) for share in (0.03, 0.5)], dim=1)
    lines = _pointed_at(image, dark[:, :1])
    return torch.cat([bands.mean(2), bands.std(2, correction=0), dark, colour, colour**2, lines], dim=1)


def _pointed_at(image: Tensor, dark: Tensor) -> Tensor:
    """(B, 3) how far above the dark colour lines point, at their median and first quartile, and how many do so surely.

    Where few do, the first two are near 0.
    """
    level, trust = colour_lines(image)
    level, order = level.sort(dim=1)
    counted = trust.gather(1, order).cumsum(1) + 1e-9
    among = torch.stack([(counted < share * counted[:, -1:]).sum(1) for share in (0.5, 0.25)], dim=1)
    mean = trust.mean(1, keepdim=True)
    many = mean / (mean + _FEW)
    return torch.cat([many * (level.gather(1, among) - dark), many], dim=1)


def _apart(standard: Tensor, examples: Tensor) -> Tensor:
    """(N, M) squared distances of N images from M."""
    return ((standard[:, None] - examples) ** 2).sum(2)


def _near(apart: Tensor) -> Tensor:
    """How near what is so far apart, squared, is, 0…1."""
    return torch.exp(apart / (-2 * _REACH**2))
