"""How dense an even veil is, from what an image looks like as a whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STATISTICS = 10
_EXAMPLES = 64
_STEP = 2
"""Every second pixel each way tells as much as all."""

_REACH = 0.3
"""Deviation of the Gaussian around an example, in root mean squares of standardised statistics."""

_LINEAR, _LOCAL = 0.3, 0.3
"""What the squares of the coefficients of the linear and of the local part cost."""


class VeilDensity(nn.Module):
    """The transmission of an even veil by ridge regression on ten statistics of the veiled image.

    Linear in them, which carries over to places never seen, plus Gaussians around images that are known, which make up
    for what those lie off the line. The statistics: mean and deviation of each band, the first percentile and the
    median of a pixel's darkest band, the mean of what its brightest band has more, and the square of that. A veil lifts
    the dark and takes colour and contrast away (the dark channel of He, Sun, Tang, CVPR 2009, in spirit). It knows
    nothing until `fit`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(_STATISTICS))
        self.register_buffer("spread", torch.ones(_STATISTICS))
        self.register_buffer("slope", torch.zeros(_STATISTICS))
        self.register_buffer("level", torch.full((), torch.nan))
        self.register_buffer("examples", torch.zeros(_EXAMPLES, _STATISTICS))
        self.register_buffer("height", torch.zeros(_EXAMPLES))

    def forward(self, image: Tensor) -> Tensor:
        """(B,) the transmission of the veil over each image (B, 3, H, W) in 0…1; NaN before `fit`."""
        standard = self._standard(statistics(image))
        transmission: Tensor = self.level + standard @ self.slope + _near(standard, self.examples) @ self.height
        return transmission

    def fit(self, seen: Tensor, transmission: Tensor, trust: Tensor, known: int) -> None:
        """Learn from examples, in place and at once.

        Args:
            seen: (N, 10) `statistics` of veiled images.
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
        near, among = _near(standard, chosen), _near(chosen, chosen)
        height = torch.linalg.solve((near.T * trust) @ near + _LOCAL * among, (near.T * trust) @ left)
        self.examples, self.height = torch.zeros(_EXAMPLES, _STATISTICS), torch.zeros(_EXAMPLES)
        self.examples[: len(chosen)], self.height[: len(chosen)] = chosen.float(), height.float()

    def _standard(self, seen: Tensor) -> Tensor:
        standard: Tensor = (seen - self.centre) / self.spread
        return standard


def statistics(image: Tensor) -> Tensor:
    """(B, 10) what `VeilDensity` looks at, of (B, 3, H, W) in 0…1."""
    bands = image[..., ::_STEP, ::_STEP].float().flatten(2)
    darkest = bands.amin(1)
    colour = (bands.amax(1) - darkest).mean(1, keepdim=True)
    dark = torch.stack([torch.quantile(darkest, share, dim=1) for share in (0.01, 0.5)], dim=1)
    return torch.cat([bands.mean(2), bands.std(2, correction=0), dark, colour, colour**2], dim=1)


def _near(standard: Tensor, examples: Tensor) -> Tensor:
    """(N, M) how near each of N images is to each of M, 0…1."""
    apart = ((standard[:, None] - examples) ** 2).sum(2)
    return torch.exp(apart / (-2 * _REACH**2))
