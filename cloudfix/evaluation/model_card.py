"""The card of a set of weights as a Markdown page."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cloudfix.evaluation.figures import ALL_BANDS, ALL_PIXELS, CHOICE, HIGH, IMAGES, LOW, NETWORK, on_card
from cloudfix.evaluation.report import COVER_BINS
from cloudfix.evaluation.tables import TITLES, Table, markdown, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cloudfix.evaluation.figures import Figure
    from cloudfix.models.cards import Card

    Cells = Mapping[tuple[str, str, str], float]

_COLUMNS = (
    *((ALL_PIXELS, metric, TITLES[metric]) for metric in ("psnr", "ssim", "sam_degrees", "mae", "rmse", "ndvi")),
    ("cloudy pixels", "psnr", "PSNR cloudy"),
    ("cloudy pixels", "mae", "MAE cloudy"),
    ("clear pixels", "mae", "MAE clear"),
    ("clear pixels", "changed", "clear changed"),
)

_ORIGIN = "Written by `cloudfix models card` from what the weights say of themselves."
_METHODS = (
    "On images that neither trained nor chose the weights where the split is `test`. `copy` is the cloudy input, "
    "`nearest-clear` fills each cloudy pixel with the nearest clear one, `network` is the network's output everywhere; "
    "`no SAR` withholds the radar, `clear kept` pastes the output under the mask alone, as `cloudfix run` does. "
    "`clear changed` is the mean change of clear pixels. Means over images."
)
_PANELS = (
    "Above the cloudy input, what each method made of it and the truth; below the difference from the truth and the "
    "mask."
)


def render(card: Card, *, panels: Sequence[Path] = (), beside: Path | None = None) -> str:
    """The page.

    Args:
        card: of the weights.
        panels: pictures to show, PNG.
        beside: the file that the page will be, for links to the panels; default the current folder.
    """
    parts = [f"# {card.name}", _ORIGIN, _about(card), "## How it was made", _making(card)]
    figures = on_card(card.metrics)
    if figures:
        parts += ["## Accuracy", _METHODS, *_commands(card), *_accuracy(figures)]
    if panels:
        folder = beside.parent if beside else Path()
        links = [f"![{path.stem}]({os.path.relpath(path, folder)})" for path in panels]
        parts += ["## Panels", _PANELS, *links]
    parts += ["## Known failures", card.failures or "None is recorded on the card."]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _about(card: Card) -> str:
    sar = ", ".join(f"{channel.slot.upper()} {channel.clip[0]:g} to {channel.clip[1]:g} dB" for channel in card.sar)
    gives = "the same bands without cloud" if card.role == "restore" else "a map of the cloud's thickness"
    spare = set(card.slots) - set(card.required)
    rows = {
        "network": " ".join((card.architecture, *(f"{option}={value}" for option, value in card.options.items()))),
        "takes": ", ".join(card.slots),
        "has to be there": ", ".join(card.required) + ("; the other bands have stand-ins" if spare else ""),
        "radar": sar or "none",
        "gives": gives,
        "tiles": f"{card.tile} pixels, {card.overlap} overlap",
        "licence": card.licence,
        "training data": card.training_data,
        "source": card.source,
        "checksum": f"`{card.checksum}`",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {title} | {_cell_text(text)} |" for title, text in rows.items())])


def _cell_text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _making(card: Card) -> str:
    """What training wrote onto the card: its own metrics, then the recipe."""
    judged = {figure.name for figure in on_card(card.metrics)}
    own = {
        name: value for name, value in card.metrics.items() if name not in judged and not name.endswith(f"/{CHOICE}")
    }
    lines = [f"- {name}: {value if isinstance(value, str) else f'{value:g}'}" for name, value in own.items()]
    try:
        settings = json.loads(card.recipe)
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        return "\n".join([*lines, f"- recipe: {card.recipe}"])
    shown = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
    return "\n".join([*lines, "", "With these settings:", "", "```yaml", *shown, "```"])


def _commands(card: Card) -> Iterator[str]:
    """How to measure the figures again."""
    for name, value in card.metrics.items():
        if name.endswith(f"/{CHOICE}"):
            yield f"    cloudfix evaluate --model {card.name} --data DIR {value}"


def _accuracy(figures: Sequence[Figure]) -> Iterator[str]:
    """Tables by split and cloud: the means, then PSNR by cover, then by band set."""
    for split, cloud in dict.fromkeys((figure.split, figure.cloud) for figure in figures):
        mine = [figure for figure in figures if (figure.split, figure.cloud) == (split, cloud)]
        title = f"{split.capitalize()} split, {cloud}"
        cells = {(one.pixels, one.method, one.metric): one.value for one in mine if one.bands == ALL_BANDS}
        if cells:
            yield markdown([_means(title, cells), _by_cover(title, cells)])
        if any(one.bands != ALL_BANDS for one in mine):
            yield markdown([_by_bands(title, [one for one in mine if one.pixels == ALL_PIXELS])])


def _means(title: str, cells: Cells) -> Table:
    columns = [(pixels, metric, name) for pixels, metric, name in _COLUMNS if _has(cells, pixels, metric)]
    methods = dict.fromkeys(method for _, method, _ in cells)
    rows = [(method, *(_cell(cells, pixels, method, metric) for pixels, metric, _ in columns)) for method in methods]
    notes = (f"Images: {_images(cells, ALL_PIXELS)}. In brackets the 95 % confidence interval, by bootstrap.",)
    return Table(title, notes, ("", *(name for _, _, name in columns)), tuple(rows))


def _by_cover(title: str, cells: Cells) -> Table:
    bins = [name for name in COVER_BINS if _has(cells, name, "psnr")]
    header = ("", *(f"{name.removeprefix('cover ')} ({_images(cells, name)})" for name in bins))
    methods = dict.fromkeys(method for _, method, _ in cells)
    rows = tuple((method, *(_cell(cells, name, method, "psnr") for name in bins)) for method in methods)
    return Table(f"{title}: PSNR by cloud cover (images)", (), header, rows)


def _by_bands(title: str, figures: Sequence[Figure]) -> Table:
    methods = tuple(dict.fromkeys(figure.method for figure in figures))
    values = {(one.bands, one.method, one.metric): one.value for one in figures}
    rows = tuple(
        (
            bands,
            *(_cell(values, bands, method, "psnr") for method in methods),
            _cell(values, bands, NETWORK, "sam_degrees"),
        )
        for bands in dict.fromkeys(figure.bands for figure in figures)
    )
    return Table(f"{title}: PSNR by band set", (), ("bands", *methods, "SAM of the network, °"), rows)


def _has(cells: Cells, pixels: str, metric: str) -> bool:
    return any((where, what) == (pixels, metric) for where, _, what in cells)


def _images(cells: Cells, pixels: str) -> int:
    return int(next(value for (where, _, what), value in cells.items() if (where, what) == (pixels, IMAGES)))


def _cell(cells: Cells, pixels: str, method: str, metric: str) -> str:
    if (pixels, method, metric) not in cells:
        return "–"
    mean = number(cells[pixels, method, metric], metric)
    bounds = [cells.get((pixels, method, name)) for name in (LOW, HIGH)]
    if metric != "psnr" or None in bounds:
        return mean
    low, high = (number(bound, metric) for bound in bounds if bound is not None)
    return f"{mean} [{low}, {high}]"
