"""One scene's page: all of it in one file, which asks nothing of the network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from cloudfix import sensors
from cloudfix.raster.grid import grid_of
from cloudfix.raster.info import SceneInfo
from cloudfix.report.changes import histograms, vegetation
from cloudfix.report.html import duration, rows, style, template, written
from cloudfix.report.overview import overview
from cloudfix.report.pictures import Stretch, change_overlay, data_uri, mask_overlay, thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from cloudfix.report.changes import Histogram, IndexChange
    from cloudfix.restoration.cover import Cover

_THUMBNAIL = 96
_WIDEST = 1024
_PLOT = (240, 70)
_CHANGE_SWITCH = (
    '<label><input type="checkbox" data-layer="change"> change of NDVI: '
    '<span class="swatch" style="background:#018571"></span> more '
    '<span class="swatch" style="background:#8c510a"></span> less</label>'
)


@dataclass(frozen=True)
class Story:
    """What a page tells besides the pictures.

    Attributes:
        title: of the scene.
        scene: from `open_scene`.
        output: the COG that was made of it.
        mask: the mask that was written.
        cover: counted in the mask.
        seconds: that the restoration took.
        provenance: tags of the output.
        notes: what was assumed.
    """

    title: str
    scene: xr.DataArray
    output: Path
    mask: Path
    cover: Cover
    seconds: float
    provenance: Mapping[str, str]
    notes: Sequence[str]


def write_page(path: Path, story: Story) -> str:
    """Write the page of a scene, whole or not at all.

    Returns:
        A small picture of the output, as a data URI, for an index.

    Raises:
        OutputError: it cannot be written there.
        SceneError: the scene can no longer be read.
    """
    view = overview(story.scene, story.output, story.mask)
    stretch, change = Stretch.of(view), vegetation(view)
    after = stretch.colours(view.after)
    height, width = view.classes.shape
    text = template("page.html").substitute(
        style=style(),
        title=escape(story.title),
        subtitle=escape(_subtitle(story.scene)),
        facts="".join(_fact(name, value) for name, value in _facts(story)),
        notes=_notes(story.notes),
        cover_text=f"{story.cover.cloud:.0%} cloud, {story.cover.shadow:.0%} shadow",
        before=data_uri(stretch.colours(view.before)),
        after=data_uri(after),
        mask=data_uri(mask_overlay(view.classes)),
        change_image="" if change is None else _change_image(change, view.classes),
        change_switch="" if change is None else _CHANGE_SWITCH,
        width=min(_WIDEST, max(width, width * 640 // max(width, height))),
        rendering="auto" if view.factor > 1 else "pixelated",
        scale=f" A pixel here is {view.factor} × {view.factor} of the scene." if view.factor > 1 else "",
        vegetation="" if change is None else _vegetation(change),
        bands="".join(map(_plot, histograms(view))),
        provenance=rows(story.provenance.items()),
    )
    with written(path) as file:
        file.write(text)
    return data_uri(thumbnail(after, _THUMBNAIL))


def _subtitle(scene: xr.DataArray) -> str:
    info, grid = SceneInfo.of(scene), grid_of(scene)
    sensor = sensors.get(info.sensor).title if info.sensor else "unknown sensor"
    place = grid.crs.to_string() if grid.crs else "no reference system"
    return f"{sensor}, {grid.width} × {grid.height} pixels of {grid.pixel:g}, {place}"


def _facts(story: Story) -> Iterator[tuple[str, str]]:
    yield "cloud", f"{story.cover.cloud:.1%}"
    yield "shadow", f"{story.cover.shadow:.1%}"
    yield "mask by", story.cover.source
    yield "time", duration(story.seconds)
    yield "model", story.provenance.get("CLOUDFIX_MODEL", "unknown")


def _fact(name: str, value: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return "<h2>To know</h2><ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>"


def _change_image(change: IndexChange, classes: NDArray[np.uint8]) -> str:
    picture = data_uri(change_overlay(change.change, classes))
    return f'<img id="change" class="over" src="{picture}" alt="Change of NDVI: more green, less brown" hidden>'


def _vegetation(change: IndexChange) -> str:
    cells = "".join(
        f'<tr><th scope="row">{name}</th><td class="number">{"-" if math.isnan(value) else f"{value:.2f}"}</td></tr>'
        for name, value in (
            ("clear sky, left as it is", change.clear),
            ("under cloud and shadow, before", change.before),
            ("under cloud and shadow, after", change.after),
        )
    )
    return (
        "<h2>Vegetation</h2><table><caption>Mean NDVI. What was restored should be near to what is clear, if the land "
        f"is alike.</caption><tbody>{cells}</tbody></table>"
    )


def _plot(histogram: Histogram) -> str:
    width, height = _PLOT
    highest = max(*histogram.before, *histogram.after, 1e-9)

    def steps(shares: Sequence[float]) -> str:
        step = width / len(shares)
        levels = [height * (1 - share / highest) for share in shares]
        return "".join(f"H{step * k:.1f}V{level:.1f}" for k, level in enumerate(levels)) + f"H{width}V{height}"

    text = f"{histogram.name}: histogram of reflectance before and after"
    return (
        f"<figure><figcaption>{escape(histogram.name)}</figcaption>"
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(text)}" preserveAspectRatio="none">'
        f'<path class="new" d="M0,{height}{steps(histogram.after)}Z"/>'
        f'<path class="old" d="M0,{height}{steps(histogram.before)}"/></svg>'
        f'<div class="ends"><span>{histogram.low:.2f}</span><span>{histogram.high:.2f}</span></div></figure>'
    )
