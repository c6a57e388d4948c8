"""A report as tables: Markdown, or drawn by rich on a terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudfix.evaluation.report import ALL, CLEAR, CLOUDY, COVER_BINS, EVERY_BAND, METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloudfix.evaluation.report import Estimate, Judgement, Part, Report, Section

TITLES = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "sam_degrees": "SAM, °",
    "mae": "MAE",
    "rmse": "RMSE",
    "ndvi": "NDVI error",
    "changed": "changed",
}
"""What people read for each of `METRICS`."""

_DIGITS = {"psnr": 2, "ssim": 3, "sam_degrees": 2}
_PIXELS = {ALL: "all", CLOUDY: "cloudy", CLEAR: "clear"}


@dataclass(frozen=True)
class Table:
    """A title, what is to be known about it, a header and rows of text."""

    title: str
    notes: tuple[str, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(report: Report, *, each: bool = False) -> Iterator[Table]:
    """The report's tables: per section the means and the PSNR by cover.

    Args:
        report: from `evaluate`.
        each: one table more a section, with a row an image.
    """
    for section in report.sections:
        yield _means(section)
        yield _by_cover(section)
        if each:
            yield _each(section, report.images)


def markdown(shown: Sequence[Table]) -> str:
    """The tables as Markdown."""
    return "\n".join(_markdown(table) for table in shown)


def draw(shown: Sequence[Table]) -> None:
    """Print the tables on the terminal."""
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console()
    for table in shown:
        drawn = RichTable(title=table.title, caption="\n".join(table.notes) or None, title_justify="left")
        for index, column in enumerate(table.header):
            drawn.add_column(column, justify="right" if index > 1 else "left", overflow="fold")
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)


def number(value: float, metric: str) -> str:
    """`value` with the digits that `metric` deserves; "–" where there is none."""
    if math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:.{_DIGITS.get(metric, 4)}f}"


def section_title(cloud: str, bands: str) -> str:
    """The heading of a section."""
    return f"{cloud.capitalize()} cloud, " + ("all bands" if bands == EVERY_BAND else f"bands of {bands}")


def _means(section: Section) -> Table:
    measured = [metric for metric in METRICS if any(metric in m.part(ALL).metrics for m in section.methods)]
    rows = [
        (_PIXELS[pixels], method.name, *(_estimate(method.part(pixels), metric) for metric in measured))
        for pixels in _PIXELS
        for method in section.methods
        if method.part(pixels).images
    ]
    masks = ", ".join(f"{source} ({images})" for source, images in section.masks.items())
    notes = (
        f"Images: {section.images}. What told cloudy pixels: {masks}.",
        "Means over images, in brackets 95 % confidence intervals (--json has all of them). changed: mean difference "
        "from the input.",
    )
    header = ("pixels", "method", *(TITLES[metric] for metric in measured))
    return Table(section_title(section.cloud, section.bands), notes, header, tuple(rows))


def _by_cover(section: Section) -> Table:
    bins = [name for name in COVER_BINS if section.methods[0].part(name).images]
    counts = [section.methods[0].part(name).images for name in bins]
    header = (
        "method", *(f"{name.removeprefix('cover ')} ({count})" for name, count in zip(bins, counts, strict=True))
    )  # fmt: skip
    rows = tuple((method.name, *(_estimate(method.part(name), "psnr") for name in bins)) for method in section.methods)
    title = f"{section_title(section.cloud, section.bands)}: PSNR by cloud cover (images)"
    return Table(title, (), header, rows)


def _each(section: Section, judgements: Sequence[Judgement]) -> Table:
    mine = [one for one in judgements if (one.cloud, one.bands) == (section.cloud, section.bands)]
    methods = [method.name for method in section.methods]
    psnr = {(one.image, one.method): one.scores[ALL].psnr for one in mine}
    rows = tuple(
        (
            one.image,
            f"{one.cover:.0%}",
            "yes" if one.sar else "no",
            *(number(psnr[one.image, method], "psnr") for method in methods),
        )
        for one in mine
        if one.method == methods[0]
    )
    title = f"{section_title(section.cloud, section.bands)}: PSNR of each image"
    return Table(title, (), ("image", "cover", "SAR", *methods), rows)


def _estimate(part: Part, metric: str) -> str:
    if metric not in part.metrics:
        return "–"
    found: Estimate = part.metrics[metric]
    mean = number(found.mean, metric)
    if metric != "psnr" or part.images < 2 or math.isinf(found.mean):
        return mean
    return f"{mean} [{number(found.low, metric)}, {number(found.high, metric)}]"


def _markdown(table: Table) -> str:
    rows = [table.header, ("---",) * len(table.header), *table.rows]
    lines = [f"### {table.title}", "", *(f"{note}\n" for note in table.notes)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])
