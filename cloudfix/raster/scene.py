"""`open_scene`: a lazy DataArray in the file's own DN, with what is needed to turn it into reflectance."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cloudfix import sensors
from cloudfix.errors import CloudfixWarning, SceneError, UsageError
from cloudfix.raster.checks import check_values
from cloudfix.raster.chunks import natural_chunks
from cloudfix.raster.grid import Grid, place
from cloudfix.raster.header import Header, read_header
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.names import CLASS_BANDS
from cloudfix.raster.radiometry import radiometry
from cloudfix.raster.recognise import Recognised, recognise, title_of
from cloudfix.raster.sample import ValueRange, sample_range, sample_windows
from cloudfix.raster.source import FileArray, FileBands
from cloudfix.raster.transparency import check_transparency

if TYPE_CHECKING:
    from collections.abc import Sequence


def open_scene(
    source: str | Path | Sequence[str | Path],
    *,
    sensor: str | None = None,
    bands: Sequence[str] | None = None,
    chunks: int | None = None,
) -> xr.DataArray:
    """Open a scene lazily, recognise its sensor and bands, and check that it can be what it seems.

    Sensor and bands are taken from `sensor` and `bands`, else from tags, names and descriptions, and only
    then from the number of bands. What is assumed is said in a `CloudfixWarning`.

    Args:
        source: a multi-band raster (GeoTIFF, COG, VRT, JPEG2000, …) or the files of its bands. Files of
            several resolutions come to the finest grid of a band with a slot, classes by nearest neighbour.
        sensor: one of `sensors.SENSORS`, where it is not to be recognised.
        bands: the bands' names in order ("B02", "SR_B2", "red", …), where they are not to be recognised.
        chunks: rows and columns of a dask chunk; default about 512 each, in whole blocks of the file, and strips as
            wide as the scene for a file in strips.

    Returns:
        DN (band, y, x) in the file's dtype, with the coordinates `band` (names), `y`, `x` and `spatial_ref`,
        and the attributes of `SceneInfo` besides those that `write_cog` needs to keep the file's metadata.

    Raises:
        SceneError: the files cannot be read, do not fit together, or are not what they should be.
        UsageError: `sensor` is unknown, or `chunks` is not positive.
    """
    if chunks is not None and chunks < 1:
        raise UsageError(f"chunks {chunks}: expected a positive number of pixels")
    if sensor is not None:
        sensors.get(sensor)
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    scene = _open(sources, sensor, bands, None if chunks is None else (chunks, chunks))
    for note in scene.attrs["notes"]:
        warnings.warn(note, CloudfixWarning, stacklevel=2)
    return scene


def scenes_of(files: Sequence[str | Path]) -> list[list[str | Path]]:
    """Sort files into scenes: those of a single band are one scene together, any other is one by itself.

    A file that cannot be read is a scene by itself too, so that opening it says why.
    """
    single = [file for file in files if _band_count(file) == 1]
    together = [single] if single else []
    return together + [[file] for file in files if file not in single]


def _band_count(file: str | Path) -> int:
    try:
        return read_header(file).count
    except SceneError:
        return 0


def reopen(scene: xr.DataArray, chunks: tuple[int, int]) -> xr.DataArray:
    """The files that a scene was made from, as it was opened, without saying anything twice.

    Args:
        scene: made of the result of `open_scene`.
        chunks: rows and columns of a dask chunk.

    Raises:
        SceneError: the scene is not from files, or they are gone.
    """
    attrs = scene.attrs
    if not attrs.get("source"):
        raise SceneError("scene: not opened from files, so that nothing tells its input; pass that as before=")
    headers = [read_header(item) for item in attrs["source"]]
    sensor = sensors.get(attrs["sensor"]) if attrs["sensor"] else None
    found = Recognised(sensor, tuple(attrs["bands"]), tuple(attrs["slots"]), attrs["quality_band"], ())
    array, _ = _assemble(headers, found)
    return _data_array(array, attrs, chunks)


def _open(
    sources: Sequence[str | Path], sensor: str | None, bands: Sequence[str] | None, chunks: tuple[int, int] | None
) -> xr.DataArray:
    if not sources:
        raise SceneError("no files given; name a raster, or the files of its bands")
    headers = [read_header(item) for item in sources]
    found = recognise(headers, sensor, bands)
    array, notes = _assemble(headers, found)
    nodata = _nodata(headers, found)
    _check_transparency(headers, found, nodata)
    sampled = _sample(array, found, nodata)
    info, more = _describe(headers, found, array, sampled, nodata)
    info = replace(info, notes=found.notes + notes + more)
    if chunks is None:
        chunks = natural_chunks(next(header for header in headers if header.grid == array.grid))
    return _data_array(array, info.to_attrs() | _file_attrs(headers, found), chunks)


def _check_transparency(headers: Sequence[Header], found: Recognised, nodata: float | None) -> None:
    slots = iter(found.slots)
    for header in headers:
        check_transparency(header, [next(slots) for _ in range(header.count)], nodata)


def _assemble(headers: Sequence[Header], found: Recognised) -> tuple[FileArray, tuple[str, ...]]:
    grid = _common_grid(headers, found)
    nodata = 0 if found.sensor is None else found.sensor.nodata
    files, resampled, start = [], [], 0
    for header in headers:
        names = found.names[start : start + header.count]
        start += header.count
        moved = not header.grid.matches(grid)
        resampled += [f"{name} ({header.grid.pixel:g})" for name in names if moved]
        files.append(
            FileBands(
                path=header.path,
                stamp=header.stamp,
                indexes=tuple(range(1, header.count + 1)),
                grid=header.grid,
                resampling=(("nearest" if set(names) & CLASS_BANDS else "bilinear") if moved else None),
                nodata=header.nodata[0] if header.nodata[0] is not None else nodata,
            )
        )
    dtype = np.result_type(*(dtype for header in headers for dtype in header.dtypes))
    notes = [] if grid.crs else [f"{title_of(headers)}: no coordinate reference system; the output has none too"]
    if resampled:
        notes.append(f"{title_of(headers)}: resampled to pixels of {grid.pixel:g}: {', '.join(resampled)}")
    return FileArray(tuple(files), grid, dtype), tuple(notes)


def _common_grid(headers: Sequence[Header], found: Recognised) -> Grid:
    owners = [header for header in headers for _ in range(header.count)]
    spectral = [header for header, slot in zip(owners, found.slots, strict=True) if slot]
    finest = min(spectral, key=lambda header: header.grid.pixel)
    for header in headers:
        _check_together(finest, header)
    return finest.grid


def _check_together(first: Header, other: Header) -> None:
    """Refuse files that do not cover the same ground, to within a pixel of the coarser one."""
    a, b = first.grid, other.grid
    if a.matches(b):
        return
    if a.crs != b.crs or a.crs is None:
        what = f"{b.crs or 'no reference system'}, {b.width} × {b.height}"
        whose = f"{a.crs or 'no reference system'}, {a.width} × {a.height}"
        raise SceneError(f"{other.path}: {what}, but {first.path}: {whose}; give the bands of one product")
    slack = max(a.pixel, b.pixel) * 1.01
    if max(abs(p - q) for p, q in zip(a.bounds, b.bounds, strict=True)) > slack:
        raise SceneError(
            f"{other.path}: covers {_extent(b)}, but {first.path} covers {_extent(a)}; give the bands of one product"
        )


def _extent(grid: Grid) -> str:
    return "(" + ", ".join(f"{value:.10g}" for value in grid.bounds) + ")"


def _nodata(headers: Sequence[Header], found: Recognised) -> float | None:
    declared = [value for header in headers for value in header.nodata]
    stated = next((v for v, slot in zip(declared, found.slots, strict=True) if slot and v is not None), None)
    if stated is not None:
        return float(stated)
    integer = np.dtype(headers[0].dtypes[0]).kind in "iu"
    usual = found.sensor.nodata if found.sensor and integer else None
    return None if usual is None else float(usual)


def _sample(array: FileArray, found: Recognised, nodata: float | None) -> ValueRange:
    """Look at values until neither 8-bit data, reflectance nor an offset of +1000 are possible any more."""
    spectral = [index for index, slot in enumerate(found.slots) if slot]

    def settled(seen: ValueRange) -> bool:
        highs, lows = np.array(seen.high)[spectral], np.array(seen.low)[spectral]
        return bool((np.nan_to_num(highs) > 255).any() and (lows < 900).any())

    return sample_range(array.read, sample_windows(*array.shape[1:]), nodata, settled)


def _describe(
    headers: Sequence[Header], found: Recognised, array: FileArray, sampled: ValueRange, nodata: float | None
) -> tuple[SceneInfo, tuple[str, ...]]:
    spectral = [index for index, slot in enumerate(found.slots) if slot]
    notes: list[str] = []
    if found.sensor is not None:
        dark = check_values(title_of(headers), found.sensor, array.dtype, sampled, spectral)
        notes += [dark] if dark else []
    values = radiometry(headers, found, sampled)
    info = SceneInfo(
        sensor=found.sensor.name if found.sensor else None,
        slots=found.slots,
        scale=values.scale,
        offset=values.offset,
        nodata=nodata,
        saturated=_saturated(found, array.dtype),
        quality_band=found.quality_band,
    )
    return info, (*notes, *values.notes)


def _saturated(found: Recognised, dtype: np.dtype[Any]) -> float | None:
    value = found.sensor.saturated if found.sensor else None
    return float(value) if value is not None and dtype.kind in "iu" and value <= np.iinfo(dtype).max else None


def _data_array(array: FileArray, attrs: dict[str, Any], chunks: tuple[int, int]) -> xr.DataArray:
    lazy = array.lazy((-1, *chunks))
    scene = xr.DataArray(lazy, dims=("band", "y", "x"), coords={"band": attrs["bands"]}, attrs=attrs, name="scene")
    return place(scene, array.grid)


def _file_attrs(headers: Sequence[Header], found: Recognised) -> dict[str, Any]:
    """What the files say of themselves, for `write_cog` to keep."""
    descriptions = [text for header in headers for text in header.descriptions]
    if len(headers) > 1:
        descriptions = [text or name for text, name in zip(descriptions, found.names, strict=True)]
    declared = [value for header in headers for value in header.nodata]
    return {
        "bands": list(found.names),
        "tags": dict(headers[0].tags),
        "band_tags": [dict(tags) for header in headers for tags in header.band_tags],
        "descriptions": descriptions,
        "colorinterp": [name for header in headers for name in header.colorinterp],
        "file_nodata": next((value for value in declared if value is not None), None),
        "file_scales": [value for header in headers for value in header.scales],
        "file_offsets": [value for header in headers for value in header.offsets],
        "source": [str(Path(header.path).absolute()) for header in headers],
    }
