"""What a restoration did to the values of a scene, in numbers to draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudfix.clouds.classes import CLEAR, CLOUD, SHADOW

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cloudfix.report.overview import Overview, Planes

_BINS = 48


@dataclass(frozen=True)
class Histogram:
    """Shares of the pixels by value, before and after, which sum to one each.

    Attributes:
        name: of what it is.
        low: where the first bin begins.
        high: where the last bin ends; greater values are counted in it.
        before: share of each bin.
        after: share of each bin.
    """

    name: str
    low: float
    high: float
    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True)
class IndexChange:
    """NDVI where the sky was clear, and under cloud and shadow before and after; means, NaN where there is no pixel.

    Attributes:
        change: after minus before, (height, width).
        clear: mean of the clear pixels.
        before: mean under cloud and shadow.
        after: mean there of what was restored.
    """

    change: NDArray[np.float32]
    clear: float
    before: float
    after: float


def histograms(view: Overview) -> list[Histogram]:
    """One for every band with a slot."""
    return [_histogram(slot, view.before[slot], view.after[slot]) for slot in view.before]


def _histogram(name: str, before: NDArray[np.float32], after: NDArray[np.float32]) -> Histogram:
    values = [plane[np.isfinite(plane)] for plane in (before, after)]
    seen = np.concatenate(values)
    low, high = (0.0, 1.0) if not seen.size else np.percentile(seen, (0.1, 99.5)).tolist()
    high = max(high, low + 1e-3)
    shares = [
        tuple((np.histogram(np.clip(part, low, high), _BINS, (low, high))[0] / max(part.size, 1)).tolist())
        for part in values
    ]
    return Histogram(name, low, high, shares[0], shares[1])


def vegetation(view: Overview) -> IndexChange | None:
    """How NDVI changed; None without red and near infrared."""
    near = next((slot for slot in ("nir", "nir08") if slot in view.before), None)
    if near is None or "red" not in view.before:
        return None
    before, after = (_ndvi(planes, near) for planes in (view.before, view.after))
    hidden = (view.classes == CLOUD) | (view.classes == SHADOW)
    return IndexChange(
        after - before,
        clear=_mean(before[view.classes == CLEAR]),
        before=_mean(before[hidden]),
        after=_mean(after[hidden]),
    )


def _ndvi(planes: Planes, near: str) -> NDArray[np.float32]:
    total = planes[near] + planes["red"]
    total[total <= 0] = np.nan
    return np.clip((planes[near] - planes["red"]) / total, -1, 1)


def _mean(values: NDArray[np.float32]) -> float:
    valid = values[np.isfinite(values)]
    return float(valid.mean()) if valid.size else float("nan")
