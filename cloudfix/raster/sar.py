"""`open_sar`: Sentinel-1 backscatter in dB on a scene's grid, lazily."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cloudfix.errors import CloudfixWarning, SarError
from cloudfix.raster.footprint import coverage, in_words, pixel_on
from cloudfix.raster.grid import Grid, grid_of, place
from cloudfix.raster.header import Header, read_header
from cloudfix.raster.polarisation import find_polarisations
from cloudfix.raster.products import Product, find_radar
from cloudfix.raster.sample import probe_windows
from cloudfix.raster.source import FileArray, FileBands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from cloudfix.raster.polarisation import Place

_DB = (-80.0, 45.0)
_LINEAR = 2.0
"""Median of linear backscatter that even a city stays below."""

_WHOLE = 0.999
_MOST = 0.95
"""Parts of the scene that the image's frame and its data should cover."""

_COARSER = 1.5
"""From this ratio of pixel sizes on, bilinear interpolation would skip radar pixels: their mean is taken."""


def open_sar(
    source: str | Path | Sequence[str | Path], like: xr.DataArray, *, allow_remote: bool = False
) -> xr.DataArray:
    """Open radar backscatter on the grid of a scene.

    Files in linear scale are converted, files of another grid or reference system warped, both lazily.

    Args:
        source: a raster with VV and VH, or VV alone, or the files of the two; or the folder, `.zip` or STAC item of a
            terrain-corrected product.
        like: the scene, as `open_scene` gives it.
        allow_remote: read what is not on disk: https://, s3://, gs://, az:// and GDAL's /vsi….

    Returns:
        Backscatter in dB (band, y, x), float32, `band` being "vv" and "vh" as far as they are there; NaN
        outside the radar image; chunks as in `like`.

    Raises:
        SarError: not readable, of another polarisation or unit, or not over the scene.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    if not sources:
        raise SarError("--sar: no files given; name a raster with VV and VH")
    product = find_radar(sources, allow_remote=allow_remote)
    headers = [read_header(file.path, SarError, allow_remote=allow_remote) for file in product.files]
    found, note = _polarisations(product, headers)
    notes = [note] if note else []
    files = _by_file(headers, found)
    grid = grid_of(like)
    samples = np.concatenate([_sample(header, indexes) for header, indexes in files])
    linear = is_linear(headers[0].title, samples)
    if linear:
        notes.append(f"{headers[0].title}: backscatter in linear scale, converted to dB")
    parts = [_part(header, indexes, grid, notes, linear=linear) for header, indexes in files]
    for text in notes:
        warnings.warn(text, CloudfixWarning, stacklevel=2)
    array = xr.concat([part.lazy(like) for part in parts], "band").assign_coords(band=list(found))
    array.attrs = {"units": "dB", "source": list(product.sources)}
    return place(array.chunk({"band": -1}), grid)


def _polarisations(product: Product, headers: Sequence[Header]) -> tuple[dict[str, Place], str | None]:
    for header in headers:
        if header.in_radar_geometry:
            raise SarError(
                f"{header.title}: in radar geometry, located by ground control points alone; calibrate it to sigma "
                "nought and for terrain first (SNAP, pyroSAR), or take an RTC product (ASF, Planetary Computer)"
            )
    if not product.named:
        return find_polarisations(headers)
    for file, header in zip(product.files, headers, strict=True):
        if header.count != 1:
            raise SarError(f"{header.title}: {header.count} bands, where one, {file.bands[0].upper()}, was expected")
    return {file.bands[0]: (index, 1) for index, file in enumerate(product.files)}, None


def is_linear(title: str, values: NDArray[np.floating[Any]]) -> bool:
    """Tell linear backscatter from dB by the range of some values; zeros and NaN do not count.

    Raises:
        SarError: no valid values, or values that are neither.
    """
    valid = values[np.isfinite(values) & (values != 0)]
    if not valid.size:
        raise SarError(f"{title}: no valid pixel in a sample of the image; give one with data over the scene")
    middle = float(np.median(valid))
    if (valid < 0).mean() > 0.01:
        if _DB[0] <= middle <= _DB[1]:
            return False
    elif middle <= _LINEAR:
        return True
    raise SarError(
        f"{title}: values {valid.min():g} to {valid.max():g} are neither dB (about -35 to 5) nor linear "
        "backscatter (0 to 1); calibrate the image to sigma nought"
    )


def to_decibel(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """10·log10 of linear backscatter, NaN where there is none."""
    return 10 * np.log10(np.where(power > 0, power, np.float32(np.nan)))


def _by_file(headers: Sequence[Header], found: Mapping[str, Place]) -> list[tuple[Header, tuple[int, ...]]]:
    """Headers and band numbers such that one after the other they give the order of `found`."""
    places = list(found.values())
    if len({file for file, _ in places}) == 1:
        return [(headers[places[0][0]], tuple(band for _, band in places))]
    return [(headers[file], (band,)) for file, band in places]


def _sample(header: Header, indexes: tuple[int, ...]) -> NDArray[np.float32]:
    """Calibrated values of some windows of a file, as one row."""
    own = FileBands.of(header, indexes)
    array = FileArray((own,), header.grid, np.dtype("float32"), error=SarError)
    scale, offset, nodata = _calibration(header, indexes)
    blocks = [array.read(rows, columns) for rows, columns in probe_windows(*array.shape[1:])]
    return np.concatenate([_calibrated(block, scale, offset, nodata, jointly=False).ravel() for block in blocks])


def _calibration(
    header: Header, indexes: Iterable[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32], float | None]:
    chosen = [index - 1 for index in indexes]
    scale = np.array([header.scales[i] for i in chosen], "float32")[:, None, None]
    offset = np.array([header.offsets[i] for i in chosen], "float32")[:, None, None]
    return scale, offset, header.nodata[chosen[0]]


def _calibrated(
    block: NDArray[np.float32],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    nodata: float | None,
    *,
    jointly: bool,
) -> NDArray[np.float32]:
    if nodata is None or np.isnan(nodata):
        return block * scale + offset
    missing = block == np.float32(nodata)
    if jointly:
        missing = np.broadcast_to(missing.all(axis=0), missing.shape)
    return np.where(missing, np.float32(np.nan), block * scale + offset)


@dataclass(frozen=True)
class _Part:
    """Bands of one file on the scene's grid, and what makes dB of them."""

    source: FileArray
    finish: Callable[[NDArray[np.float32]], NDArray[np.float32]]

    def lazy(self, like: xr.DataArray) -> xr.DataArray:
        """(band, y, x) in dB in the chunks of `like`."""
        chunks = (-1, like.chunksizes.get("y", -1), like.chunksizes.get("x", -1))
        part = xr.DataArray(self.source.lazy(chunks), dims=("band", "y", "x"))
        decibel: xr.DataArray = xr.apply_ufunc(self.finish, part, dask="parallelized", output_dtypes=[np.float32])
        return decibel

    def share_of_data(self) -> float:
        """The part of a sample of the scene's pixels that has a value in any band, 0 to 1."""
        windows = probe_windows(*self.source.shape[1:])
        found = [np.isfinite(self.finish(self.source.read(*window))).any(axis=0).ravel() for window in windows]
        return float(np.concatenate(found).mean())


def _part(header: Header, indexes: tuple[int, ...], grid: Grid, notes: list[str], *, linear: bool) -> _Part:
    """Bands of one file in dB on the scene's grid, checked to have data there."""
    scale, offset, nodata = _calibration(header, indexes)
    # Undeclared zeros are the frame of the image. In dB a zero may also be a clipped bright target, so there
    # all bands have to be zero.
    jointly = nodata is None and not linear and len(indexes) > 1
    nodata = 0.0 if nodata is None else nodata
    covered, resampling = _bring(header, grid, notes)
    file = FileBands.of(header, indexes, resampling=resampling, nodata=nodata, jointly=jointly)

    def finish(block: NDArray[np.float32]) -> NDArray[np.float32]:
        values = _calibrated(block, scale, offset, nodata, jointly=jointly)
        return to_decibel(values) if linear else values

    part = _Part(FileArray((file,), grid, np.dtype("float32"), fill=np.nan, error=SarError), finish)
    share = part.share_of_data()
    if share == 0:
        raise SarError(f"{header.title}: no data over the scene in a sample of it; give a radar image that has some")
    if covered < _WHOLE or share < _MOST:
        notes.append(
            f"{header.title}: covers {min(covered, share):.0%} of the scene; the rest is restored without radar"
        )
    return part


def _bring(header: Header, grid: Grid, notes: list[str]) -> tuple[float, str | None]:
    """How much of the scene's grid a file's frame covers, and how it comes there; None where it is there already."""
    own = header.grid
    if own.crs is None or grid.crs is None:
        _check_aligned(header, grid, notes)
        return 1.0, None
    covered = coverage(grid, own)
    if covered <= 0:
        raise SarError(
            f"{header.title}: does not overlap the scene: it covers {in_words(own)}, the scene "
            f"{in_words(grid)}; give a radar image of the same place"
        )
    if own.matches(grid):
        return covered, None
    return covered, "average" if grid.pixel > _COARSER * pixel_on(own, grid) else "bilinear"


def _check_aligned(header: Header, grid: Grid, notes: list[str]) -> None:
    own = header.grid
    which = "the radar image" if own.crs is None else "the scene"
    if (own.height, own.width) != (grid.height, grid.width):
        raise SarError(
            f"{header.title}: {own.width} × {own.height} pixels on a scene of {grid.width} × {grid.height}, "
            f"and {which} has no coordinate reference system to bring them together; assign one"
        )
    notes.append(f"{header.title}: {which} has no coordinate reference system; taken as aligned pixel by pixel")
