"""Bands of several files, resolutions and kinds put together on one grid."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudfix.errors import SceneError
from cloudfix.raster.names import CLASS_BANDS
from cloudfix.raster.source import FileArray, FileBands
from cloudfix.raster.transparency import has_mask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloudfix.raster.grid import Grid
    from cloudfix.raster.header import Header
    from cloudfix.raster.recognise import Recognised

_COARSER = 1.5
"""From this ratio of pixel sizes on, bilinear interpolation would skip pixels: their mean is taken."""


@dataclass(frozen=True)
class Assembly:
    """A scene's pixels.

    Attributes:
        array: all bands on one grid.
        block: rows and columns of the blocks that its pixels come in.
        nodata: the DN that means "no data", or None.
        notes: what was done to bring them together.
    """

    array: FileArray
    block: tuple[int, int]
    nodata: float | None
    notes: tuple[str, ...]


def assemble(headers: Sequence[Header], found: Recognised, title: str, resolution: float | None) -> Assembly:
    """Bring a scene's files to one grid.

    Args:
        headers: of the files, in band order.
        found: what their bands are.
        title: the scene in messages.
        resolution: side of a pixel in map units; None for that of the finest band with a slot.

    Raises:
        SceneError: the files are not of the same ground, or hide pixels in a way that does not survive resampling.
    """
    finest = _finest(headers, found)
    grid = finest.grid if resolution is None else finest.grid.at(resolution)
    grid = finest.grid if grid.matches(finest.grid) else grid
    masked = [has_mask(header, *bands) for header, bands in _by_file(headers, found)]
    nodata = _nodata(headers, found, masked=any(masked))
    files: list[FileBands] = []
    for (header, (names, slots)), hides in zip(_by_file(headers, found), masked, strict=True):
        files += _brought(header, names, slots, grid, nodata, hides=hides)
    dtype = np.result_type(*(dtype for header in headers for dtype in header.dtypes))
    factor = grid.pixel / finest.grid.pixel
    block = max(round(finest.block[0] / factor), 1), max(round(finest.block[1] / factor), 1)
    notes = tuple(_notes(headers, found, grid, title))
    return Assembly(FileArray(tuple(files), grid, dtype), block, nodata, notes)


def _by_file(
    headers: Sequence[Header], found: Recognised
) -> Iterator[tuple[Header, tuple[tuple[str, ...], tuple[str, ...]]]]:
    """Each file with the names and slots of its bands."""
    start = 0
    for header in headers:
        stop = start + header.count
        yield header, (found.names[start:stop], found.slots[start:stop])
        start = stop


def _finest(headers: Sequence[Header], found: Recognised) -> Header:
    spectral = [header for header, (_, slots) in _by_file(headers, found) if any(slots)]
    finest = min(spectral, key=lambda header: header.grid.pixel)
    for header in headers:
        _check_together(finest, header)
    return finest


def _check_together(first: Header, other: Header) -> None:
    """Refuse files that do not cover the same ground, to within a pixel of the coarser one."""
    a, b = first.grid, other.grid
    if a.matches(b):
        return
    if a.crs != b.crs or a.crs is None:
        what = f"{b.crs or 'no reference system'}, {b.width} × {b.height}"
        whose = f"{a.crs or 'no reference system'}, {a.width} × {a.height}"
        raise SceneError(f"{other.title}: {what}, but {first.title}: {whose}; give the bands of one product")
    slack = max(a.pixel, b.pixel) * 1.01
    if max(abs(p - q) for p, q in zip(a.bounds, b.bounds, strict=True)) > slack:
        raise SceneError(
            f"{other.title}: covers {_extent(b)}, but {first.title} covers {_extent(a)}; give the bands of one product"
        )


def _extent(grid: Grid) -> str:
    return "(" + ", ".join(f"{value:.10g}" for value in grid.bounds) + ")"


def _nodata(headers: Sequence[Header], found: Recognised, *, masked: bool) -> float | None:
    declared = [value for header in headers for value in header.nodata]
    stated = next((v for v, slot in zip(declared, found.slots, strict=True) if slot and v is not None), None)
    if stated is not None:
        return float(stated)
    integer = np.dtype(headers[0].dtypes[0]).kind in "iu"
    if found.sensor and found.sensor.nodata is not None and integer:
        return float(found.sensor.nodata)
    if masked:
        return 0.0 if integer else np.nan
    return None


def _brought(
    header: Header, names: Sequence[str], slots: Sequence[str], grid: Grid, nodata: float | None, *, hides: bool
) -> Iterator[FileBands]:
    """A file's bands in runs of one kind: classes take the nearest value, and nothing hides an alpha band."""
    moved = not header.grid.matches(grid)
    if moved and header.grid.crs is None:
        raise SceneError(f"{header.title}: has no coordinate reference system, so that it keeps its own resolution")
    if moved and hides:
        raise SceneError(
            f"{header.title}: no data is told by a mask or an alpha band, which is lost in resampling; write it with a "
            "nodata value first: gdalwarp -dstnodata 0 IN OUT"
        )
    kinds = [(name in CLASS_BANDS, bool(slot)) for name, slot in zip(names, slots, strict=True)]
    for (classes, spectral), run in groupby(range(header.count), kinds.__getitem__):
        options: dict[str, Any] = {"nodata": nodata if header.nodata[0] is None else header.nodata[0]}
        if moved:
            options["resampling"] = "nearest" if classes else _resampling(header.grid, grid)
        if hides and spectral:
            options["hidden"] = nodata
        yield FileBands.of(header, [index + 1 for index in run], **options)


def _resampling(own: Grid, grid: Grid) -> str:
    return "average" if grid.pixel > _COARSER * own.pixel else "bilinear"


def _notes(headers: Sequence[Header], found: Recognised, grid: Grid, title: str) -> Iterator[str]:
    if grid.crs is None:
        yield f"{title}: no coordinate reference system; the output has none too"
    resampled = [
        f"{name} ({header.grid.pixel:g})"
        for header, (names, _) in _by_file(headers, found)
        for name in names
        if not header.grid.matches(grid)
    ]
    if resampled:
        yield f"{title}: resampled to pixels of {grid.pixel:g}: {', '.join(resampled)}"
