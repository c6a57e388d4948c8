"""How well a simple classifier tells two kinds of images apart, judged on regions that it did not learn from.

It looks at small tiles: at the colours of what is bright in them, and at their texture. An area under the ROC curve of
0.5 means that it cannot tell them apart, 1 that it always can.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import optimize, special, stats

from cloudfix.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Image: TypeAlias = NDArray[np.float32]
    Features: TypeAlias = NDArray[np.float64]

VISIBLE = ("red", "green", "blue")

_LAGS = (1, 2, 4, 8, 16)
_BINS = 4
_PENALTY = 0.003
_LEAST = 1e-4


@dataclass(frozen=True)
class Described:
    """Tiles as the classifier sees them.

    Attributes:
        colour: (N, F) features of their spectra.
        texture: (N, G) features of their structure.
        names: of the F and then the G features.
        regions: (N,) where each tile is from.
    """

    colour: Features
    texture: Features
    names: tuple[str, ...]
    regions: NDArray[np.str_]

    @property
    def both(self) -> Features:
        """(N, F + G)."""
        return np.hstack([self.colour, self.texture])


def describe(tiles: Sequence[Image], slots: Sequence[str], regions: Sequence[str]) -> Described:
    """Features of tiles.

    Args:
        tiles: (C, side, side) each, reflectance; sides of more than 16 pixels.
        slots: the slots of the C channels; red, green and blue among them.
        regions: of each tile.
    """
    others = [slot for slot in slots if slot != "red"]
    colour = ["brightness", "highlights", *(f"{slot} to red" for slot in others), *(f"{slot} rise" for slot in others)]
    steps = [f"variation over {short} to {long}" for short, long in pairwise(_LAGS)]
    shape = ["variation to brightness", "direction", "skewness", "kurtosis"]
    fine = [f"{what} of {slot} and red" for what in ("sharpness", "shared detail") for slot in VISIBLE[1:]]
    return Described(
        np.array([_colour(tile, slots) for tile in tiles]),
        np.array([_texture(tile, slots) for tile in tiles]),
        (*colour, *steps, *shape, *fine),
        np.array(regions),
    )


def _colour(tile: Image, slots: Sequence[str]) -> Features:
    """How bright the brighter half of the pixels is, its bands' ratios to red, and how bands rise with brightness."""
    brightness = tile[[slots.index(slot) for slot in VISIBLE]].mean(axis=0)
    middle = np.median(brightness)
    medians = np.maximum(np.median(tile[:, brightness >= middle], axis=1), _LEAST)
    red = slots.index("red")
    others = [k for k in range(len(slots)) if k != red]
    offset = brightness - brightness.mean()
    rise = (tile[others] * offset).mean(axis=(1, 2)) / max(float((offset**2).mean()), _LEAST**2)
    highlights = np.percentile(brightness, 95)
    return np.concatenate([[middle, highlights], np.log(medians[others] / medians[red]), rise]).astype(float)


def _texture(tile: Image, slots: Sequence[str]) -> Features:
    """Variation over several distances, shape of the histogram, and how green and blue share red's finest detail.

    All of it in the visible: other bands of Sentinel-2 are coarser, and how they were resampled tells data sets apart.
    """
    visible = tile[[slots.index(slot) for slot in VISIBLE]]
    brightness = visible.mean(axis=0)
    variation = np.array([_variation(brightness, lag) for lag in _LAGS])
    scaled = (brightness - brightness.mean()) / max(float(brightness.std()), _LEAST)
    down, across = (max(float(np.abs(np.diff(brightness, axis=axis)).mean()), _LEAST) for axis in (0, 1))
    fine = np.diff(visible, axis=2)
    spread = np.maximum(visible.std(axis=(1, 2)), _LEAST)
    sharpness = np.log(np.maximum(np.abs(fine).mean(axis=(1, 2)), _LEAST) / spread)
    return np.concatenate(
        [
            np.log(variation[:-1] / variation[1:]),
            [np.log(variation[0] / max(float(brightness.mean()), _LEAST)), abs(np.log(down / across))],
            [(scaled**3).mean(), (scaled**4).mean()],
            sharpness[1:] - sharpness[0],
            [_correlation(band, fine[0]) for band in fine[1:]],
        ]
    )


def _variation(values: Image, lag: int) -> float:
    steps = [np.abs(values[lag:] - values[:-lag]).mean(), np.abs(values[:, lag:] - values[:, :-lag]).mean()]
    return max(float(np.mean(steps)), _LEAST)


def _correlation(first: Image, second: Image) -> float:
    scale = float(np.sqrt((first**2).mean() * (second**2).mean()))
    return float((first * second).mean()) / max(scale, _LEAST**2)


def area(first: Features, second: Features) -> float:
    """Area under the ROC curve of one number: how likely it is larger in `second` than in `first`."""
    ranks = stats.rankdata(np.concatenate([first, second]))
    surplus = ranks[len(first) :].sum() - len(second) * (len(second) + 1) / 2
    return float(surplus / (len(first) * len(second)))


def separability(
    first: Features, second: Features, first_regions: NDArray[np.str_], second_regions: NDArray[np.str_]
) -> float:
    """Area under the ROC curve of an additive logistic model over quantile bins of each feature.

    Each region is judged by a model of all others.

    Args:
        first: (N, F).
        second: (M, F).
        first_regions: (N,).
        second_regions: (M,).

    Raises:
        DataError: fewer than two regions.
    """
    features = np.concatenate([first, second])
    labels = np.concatenate([np.zeros(len(first)), np.ones(len(second))])
    regions = np.concatenate([first_regions, second_regions])
    if len(np.unique(regions)) <= 1:
        raise DataError("cloudy images of one region only; expected two, to learn from one and judge on the other")
    scores = np.zeros(len(labels))
    for region in np.unique(regions):
        held = regions == region
        scores[held] = _learned_scores(features[~held], labels[~held], features[held])
    return area(scores[labels == 0], scores[labels == 1])


def _learned_scores(features: Features, labels: Features, unseen: Features) -> Features:
    """Scores of `unseen` by a model of `features`, both kinds weighing the same in it."""
    edges = np.quantile(features, np.arange(1, _BINS) / _BINS, axis=0)
    known = _binned(features, edges)
    share = max(float(labels.mean()), _LEAST)
    weights = np.where(labels == 1, 0.5 / share, 0.5 / max(1 - share, _LEAST)) / len(labels)

    def loss(coefficients: Features) -> tuple[float, Features]:
        logits = known @ coefficients
        value = (weights * (np.logaddexp(0, logits) - labels * logits)).sum() + _PENALTY / 2 * (coefficients**2).sum()
        return float(value), known.T @ (weights * (special.expit(logits) - labels)) + _PENALTY * coefficients

    found = optimize.minimize(loss, np.zeros(known.shape[1]), jac=True, method="L-BFGS-B")
    scores: Features = _binned(unseen, edges) @ found.x
    return scores


def _binned(features: Features, edges: Features) -> Features:
    """(N, F · bins) which bin each feature is in, as ones and zeros."""
    bins = (features[:, None, :] > edges).sum(axis=1)
    hot: NDArray[np.bool_] = bins[..., None] == np.arange(_BINS)
    return hot.reshape(len(features), -1).astype(float)
