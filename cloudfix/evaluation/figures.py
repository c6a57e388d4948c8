"""The figures of an evaluation that go onto a card, by flat names, and how they are read from there again.

A name is SPLIT/CLOUD/BANDS/PIXELS/METHOD/METRIC, such as "test/real cloud/all bands/cloudy pixels/copy/psnr". The model
whose card it is, is called "network".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cloudfix.evaluation.report import ALL, CLEAR, CLOUDY, COVER_BINS, EVERY_BAND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudfix.evaluation.report import Part, Report, Section
    from cloudfix.models.cards import Card

NETWORK = "network"
IMAGES = "images"
LOW, HIGH = "psnr_low", "psnr_high"
CHOICE = "chosen by"
"""With the split before it: the options of `cloudfix evaluate` that choose the images of the figures."""

ALL_BANDS = "all bands"
ALL_PIXELS = f"{ALL} pixels"

_PIXELS = {ALL: ALL_PIXELS, CLOUDY: f"{CLOUDY} pixels", CLEAR: f"{CLEAR} pixels"}
_KEPT: dict[str, tuple[str, ...]] = {
    ALL: ("psnr", "ssim", "sam_degrees", "mae", "rmse", "ndvi"),
    CLOUDY: ("psnr", "mae"),
    CLEAR: ("psnr", "mae", "changed"),
    **dict.fromkeys(COVER_BINS, ("psnr",)),
}
_KEPT_OF_A_SENSOR: dict[str, tuple[str, ...]] = {ALL: ("psnr", "sam_degrees")}
_DECIMALS = 5
_DEPTH = 6


@dataclass(frozen=True)
class Figure:
    """One figure on a card; the fields as in its name."""

    split: str
    cloud: str
    bands: str
    pixels: str
    method: str
    metric: str
    value: float

    @property
    def name(self) -> str:
        """Its key in the card's metrics."""
        return "/".join((self.split, self.cloud, self.bands, self.pixels, self.method, self.metric))


def with_figures(card: Card, report: Report) -> Card:
    """The card with the figures of a report on its model alone, and with the tiles that gave them.

    Figures on the same images that were there before go.
    """
    (model,) = report.models
    judged = {_where(report, section) for section in report.sections}
    found = [figure for section in report.sections for figure in _of_section(report, section)]
    old = {figure.name for figure in on_card(card.metrics) if (figure.split, figure.cloud, figure.bands) in judged}
    kept = {name: value for name, value in card.metrics.items() if name not in old}
    new = {figure.name: round(figure.value, _DECIMALS) for figure in found if math.isfinite(figure.value)}
    choice = f"--recipe {report.recipe}" if report.recipe else f"--dataset {report.dataset}"
    choice += f" --dataset {report.part}" if report.part else ""
    metrics = {**kept, **new, f"{report.split}/{CHOICE}": f"{choice} --split {report.split}"}
    return replace(card, metrics=metrics, tile=model.tile, overlap=model.overlap)


def on_card(metrics: Mapping[str, float | str]) -> list[Figure]:
    """The figures among a card's metrics, in their order."""
    found = []
    for name, value in metrics.items():
        parts = name.split("/")
        if len(parts) == _DEPTH and isinstance(value, int | float):
            split, cloud, bands, pixels, method, metric = parts
            found.append(Figure(split, cloud, bands, pixels, method, metric, float(value)))
    return found


def _of_section(report: Report, section: Section) -> Iterator[Figure]:
    every_band = section.bands == EVERY_BAND
    model = report.models[0].name
    where = _where(report, section)
    for method in section.methods:
        label = method.name.replace(model, NETWORK, 1) if method.name.startswith(model) else method.name
        for part_name, metrics in (_KEPT if every_band else _KEPT_OF_A_SENSOR).items():
            part = method.part(part_name)
            for metric, value in _values(part, metrics):
                yield Figure(*where, _PIXELS.get(part_name, part_name), label, metric, value)


def _where(report: Report, section: Section) -> tuple[str, str, str]:
    bands = ALL_BANDS if section.bands == EVERY_BAND else section.bands
    return report.split, f"{section.cloud} cloud", bands


def _values(part: Part, metrics: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    if not part.images:
        return
    yield IMAGES, part.images
    for metric in metrics:
        if metric in part.metrics:
            yield metric, part.metrics[metric].mean
    if part.name == ALL and "psnr" in part.metrics and part.images > 1:
        yield LOW, part.metrics["psnr"].low
        yield HIGH, part.metrics["psnr"].high
