"""The record of an evaluation: every image's scores, and their means with bootstrap confidence intervals."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cloudfix.evaluation.metrics import Scores

METRICS = ("psnr", "ssim", "sam_degrees", "mae", "rmse", "ndvi", "changed")
"""The fields of `Scores` that are averaged."""

COPY, NEAREST_CLEAR, CONSTANT = "copy", "nearest-clear", "constant"
"""The baselines; the last one is that of thickness."""

NO_SAR, CLEAR_KEPT = "no SAR", "clear kept"
"""What is added to a model's name for its further rows."""

ALL, CLOUDY, CLEAR = "all", "cloudy", "clear"
COVER_BINS = tuple(f"cover {low}–{low + 20} %" for low in range(0, 100, 20))
"""Parts of a section that hold all pixels of the images whose cloud cover lies in the bin."""

EVERY_BAND = "all"
REAL, SIMULATED = "real", "simulated"

_DRAWS = 1000
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Judgement:
    """One image by one method.

    Attributes:
        image: its name.
        region: what the data set splits by.
        cloud: "real" or "simulated".
        bands: "all", or the sensor whose bands alone were shown and judged.
        mask: what told cloudy pixels.
        cover: share of them, 0…1.
        sar: whether the image has SAR.
        method: a baseline's or a model's name.
        scores: over "all", "cloudy" and "clear" pixels.
    """

    image: str
    region: str
    cloud: str
    bands: str
    mask: str
    cover: float
    sar: bool
    method: str
    scores: dict[str, Scores]


@dataclass(frozen=True)
class Estimate:
    """A mean over images and its 95 % confidence interval; infinite if an image came back without error."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Part:
    """The means of one method over a part of the pixels.

    Attributes:
        name: "all", "cloudy" or "clear" pixels, or one of `COVER_BINS`.
        images: how many have such pixels.
        metrics: by name out of `METRICS`; those that cannot be measured are absent.
    """

    name: str
    images: int
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Method:
    """One method's row of a section."""

    name: str
    parts: tuple[Part, ...]

    def part(self, name: str) -> Part:
        """The part called `name`."""
        return next(part for part in self.parts if part.name == name)


@dataclass(frozen=True)
class Section:
    """Images that are averaged together.

    Attributes:
        cloud: "real" or "simulated".
        bands: "all" or a sensor's.
        images: how many.
        masks: what told cloudy pixels, and in how many of the images.
        methods: the baselines and the models.
    """

    cloud: str
    bands: str
    images: int
    masks: dict[str, int]
    methods: tuple[Method, ...]


@dataclass(frozen=True)
class Model:
    """A model that was judged, and how it was run."""

    name: str
    checksum: str
    tile: int
    overlap: int
    precision: str


@dataclass(frozen=True)
class Report:
    """All of an evaluation, and what it takes to repeat it.

    Attributes:
        version: of cloudfix.
        dataset: its name.
        split: of it.
        seed: of simulated cloud and of the bootstrap.
        models: in the order given.
        sections: real cloud before simulated, all bands before those of one sensor.
        images: every image by every method.
        recipe: the one whose held-back regions these are, if any.
        part: of the data sets that it joins, the one that was judged, if not all.
    """

    version: str
    dataset: str
    split: str
    seed: int
    models: tuple[Model, ...]
    sections: tuple[Section, ...]
    images: tuple[Judgement, ...]
    recipe: str | None = None
    part: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The record as JSON takes it: what is infinite or not a number is null."""
        record: dict[str, Any] = _plain(asdict(self))
        return record


def sections(judgements: Sequence[Judgement], seed: int) -> tuple[Section, ...]:
    """The judgements averaged by kind of cloud and by bands, with intervals drawn from `seed`."""
    keys = dict.fromkeys((judgement.cloud, judgement.bands) for judgement in judgements)
    ordered = sorted(keys, key=lambda key: key[0] != REAL)
    return tuple(
        _section([one for one in judgements if (one.cloud, one.bands) == key], *key, seed=seed) for key in ordered
    )


def _section(judgements: list[Judgement], cloud: str, bands: str, *, seed: int) -> Section:
    first = judgements[0].method
    images = [one for one in judgements if one.method == first]
    draws = _draws(len(images), seed)
    names = dict.fromkeys(one.method for one in judgements)
    if not any(image.sar for image in images):
        # without SAR anywhere, withholding it makes no second row
        names = dict.fromkeys(name for name in names if name.removesuffix(f", {NO_SAR}") not in names.keys() - {name})
    methods = tuple(_method([one for one in judgements if one.method == name], name, draws) for name in names)
    return Section(cloud, bands, len(images), dict(Counter(image.mask for image in images)), methods)


def _method(judgements: list[Judgement], name: str, draws: NDArray[np.float64]) -> Method:
    bins = np.array([cover_bin(one.cover) for one in judgements])
    everywhere = np.ones(len(judgements), bool)
    pixels = [_part(title, title, everywhere, judgements, draws) for title in (ALL, CLOUDY, CLEAR)]
    covers = [_part(title, ALL, bins == index, judgements, draws) for index, title in enumerate(COVER_BINS)]
    return Method(name, (*pixels, *covers))


def _part(
    title: str, pixels: str, chosen: NDArray[np.bool_], judgements: list[Judgement], draws: NDArray[np.float64]
) -> Part:
    """The means over the `chosen` judgements and over those `pixels`."""
    scores = [one.scores[pixels] for one in judgements]
    seen = chosen & np.array([one.pixels > 0 for one in scores])
    metrics = {}
    for metric in METRICS:
        values = np.where(seen, [getattr(one, metric) for one in scores], math.nan)
        if not np.isnan(values).all():
            metrics[metric] = _estimate(values, draws)
    return Part(title, int(seen.sum()), metrics)


def cover_bin(cover: float) -> int:
    """The index in `COVER_BINS` for a cover of 0…1; a bin begins with its lower edge."""
    return min(int(cover * len(COVER_BINS)), len(COVER_BINS) - 1)


def _draws(images: int, seed: int) -> NDArray[np.float64]:
    """(draws, images) how often each image is in each bootstrap sample: the same samples for every method."""
    shares = np.full(images, 1 / images)
    return np.random.default_rng(seed).multinomial(images, shares, size=_DRAWS).astype(np.float64)


def _estimate(values: NDArray[np.float64], draws: NDArray[np.float64]) -> Estimate:
    """Mean and percentile interval of (images,) values, NaN left out; Efron 1979."""
    known = ~np.isnan(values)
    if np.isinf(values[known]).any():
        return Estimate(math.inf, math.inf, math.inf)
    counts = draws[:, known].sum(axis=1)
    sums = draws[:, known] @ values[known]
    means = sums[counts > 0] / counts[counts > 0]
    low, high = np.quantile(means, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Estimate(float(values[known].mean()), float(low), float(high))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
