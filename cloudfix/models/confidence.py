"""Where a network has restored the ground, and where it has guessed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cloudfix.models.squares import at_size_of, means

CELL = 4
"""Pixels a side of what is judged as one."""

_FAR = (4, 16)
"""A cell is compared with the squares of so many cells a side that it lies in, and with all of the image."""

_TRAITS, _HIDDEN = 11, 16
_STARTS = 8
"""Regressions whose answers are averaged: each ends elsewhere, where few places teach it."""

_PENALTY = 1e-4
"""What the squares of the coefficients cost, beside the mean logarithm of the likelihood."""

_ITERATIONS = 200
_MOST = 3.0
"""Deviations from the mean that still tell something."""

_DARK = 0.05
"""Of network units: what is darker is all the same."""

_LEAST = 1e-6


class Confidence(nn.Module):
    """Tells what was restored from what was guessed, by a small regression on brightness and contrast.

    Cloud is brighter and smoother than what lies around it, shadow darker, what was made of both has less contrast and
    was changed a lot. Eleven such traits, none of them a colour, tell it of places never seen, too
    (docs/training-log.md). Trusts nothing until `fit`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(_TRAITS))
        self.register_buffer("spread", torch.ones(_TRAITS))
        for name, shape in _shapes().items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("fitted", torch.zeros(()))

    def forward(self, image: Tensor, restored: Tensor) -> Tensor:
        """How likely each cell was restored.

        Args:
            image: (B, C, H, W), with cloud, in units whose zero is reflectance 0.
            restored: what a network made of it.

        Returns:
            (B, 1, h, w) 0…1, cells of 4² pixels; 0 everywhere before `fit`.
        """
        coefficients = {name: getattr(self, name) for name in _shapes()}
        seen = traits(image, restored).movedim(1, -1)
        logits = _regression(self._standard(seen).flatten(0, -2), coefficients)
        likely: Tensor = self.fitted * torch.sigmoid(logits).mean(0).reshape(seen.shape[:-1])[:, None]
        return likely

    def fit(self, seen: Tensor, right: Tensor, trust: Tensor) -> None:
        """Learn from examples, in place.

        Args:
            seen: (N, 11) `traits` of cells.
            right: (N,) how right each was restored, 0…1.
            trust: (N,) how much each counts.
        """
        seen, right, share = seen.double(), right.double(), (trust / trust.sum()).double()
        centre = share @ seen
        spread = (share @ (seen - centre) ** 2).sqrt() + _LEAST
        self.centre, self.spread = centre.float(), spread.float()
        standard = self._standard(seen)
        random = torch.Generator().manual_seed(0)
        found = {
            name: (torch.randn(shape, generator=random, dtype=torch.float64) / shape[1] ** 0.5).requires_grad_()
            for name, shape in _shapes().items()
        }
        optimiser = torch.optim.LBFGS(found.values(), max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            logits = _regression(standard, found)
            unlikely = F.binary_cross_entropy_with_logits(logits, right.expand_as(logits), reduction="none")
            penalty = _PENALTY * torch.stack([values.square().sum() for values in found.values()]).sum()
            total: Tensor = (unlikely @ share).sum() + penalty
            total.backward()  # type: ignore[no-untyped-call]
            return total

        with torch.enable_grad():
            optimiser.step(loss)  # type: ignore[no-untyped-call]
        for name, values in found.items():
            setattr(self, name, values.detach().float())
        self.fitted = torch.ones(())

    def forget(self) -> None:
        """Trust nothing again, so that a network gives what it gave before `fit`."""
        self.fitted = torch.zeros(())

    def _standard(self, seen: Tensor) -> Tensor:
        return ((seen - self.centre) / self.spread).clamp(-_MOST, _MOST)


def traits(image: Tensor, restored: Tensor) -> Tensor:
    """(B, 11, h, w) what `Confidence` looks at in each cell, for two images as in `Confidence.forward`.

    How much was changed, and of either image how bright it is, how much contrast it has, and how much brighter it is
    than all that was restored and than the squares around: logarithms.
    """
    parts = [_log(_brightness((image - restored).abs()))]
    bright = [_brightness(image), _brightness(restored)]
    whole = _log(bright[1].mean((2, 3), keepdim=True))
    for source, brightness in zip((image, restored), bright, strict=True):
        level = _log(brightness)
        parts += [level, _contrast(source), level - whole]
        parts += [level - _log(at_size_of(means(brightness, side), brightness)) for side in _FAR]
    return torch.cat(parts, dim=1)


def cells(image: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, h, w): the mean of each cell."""
    return means(image, CELL)


def _brightness(image: Tensor) -> Tensor:
    """(B, 1, h, w): the mean of each cell over all bands."""
    return cells(image).mean(1, keepdim=True)


def _contrast(image: Tensor) -> Tensor:
    """(B, 1, h, w): the logarithm of the deviation within each cell, over all bands."""
    variance = (cells(image**2) - cells(image) ** 2).mean(1, keepdim=True)
    return _log(variance.clamp_min(0).sqrt())


def _log(values: Tensor) -> Tensor:
    return (values.clamp_min(0) + _DARK).log()


def _shapes() -> dict[str, tuple[int, ...]]:
    """Of the coefficients, by name."""
    return {
        "look": (_STARTS, _TRAITS, _HIDDEN),
        "bias": (_STARTS, 1, _HIDDEN),
        "tell": (_STARTS, _HIDDEN, 1),
        "level": (_STARTS, 1, 1),
    }


def _regression(standard: Tensor, coefficients: dict[str, Tensor]) -> Tensor:
    """(N, 11) standardised traits to (8, N) logits."""
    hidden = torch.relu(standard @ coefficients["look"] + coefficients["bias"])
    return (hidden @ coefficients["tell"] + coefficients["level"])[..., 0]
