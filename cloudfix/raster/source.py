"""Reading a scene's files as one array: a window at a time, from any thread or process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from cloudfix.errors import CloudfixError, SceneError
from cloudfix.raster.header import UNREADABLE, Header, opened
from cloudfix.raster.location import absolute, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cloudfix.raster.grid import Grid

_TOLERANCE = 1e-3
"""Error of the approximated transform in source pixels. Zero, that is none, fails in rasterio 1.4."""


@dataclass(frozen=True)
class FileBands:
    """Bands of one file as they come to the scene's grid.

    Attributes:
        path: the file, as `location.gdal_name` gives it.
        driver: GDAL's name of its format.
        stamp: its size and modification time, so that a changed file is another source.
        indexes: bands, counted from 1.
        grid: the file's own grid.
        resampling: name of the resampling onto the scene's grid, or None where both are the same.
        nodata: the value that is no data to the resampling.
        jointly: whether a pixel is no data only where all bands of the file have that value.
        hidden: the value of pixels that the file's mask or alpha band hides; None takes them as they are.
    """

    path: str
    driver: str
    stamp: tuple[int, int]
    indexes: tuple[int, ...]
    grid: Grid
    resampling: str | None = None
    nodata: float | None = None
    jointly: bool = False
    hidden: float | None = None

    @classmethod
    def of(cls, header: Header, indexes: Sequence[int], **options: Any) -> FileBands:
        """Bands of a file whose header was read."""
        return cls(header.path, header.driver, header.stamp, tuple(indexes), header.grid, **options)


@dataclass(frozen=True)
class FileArray:
    """Files as a three-dimensional array (band, y, x) for dask, opened anew for each window.

    GDAL's handles are neither thread-safe nor picklable; opening costs a millisecond, far less than a chunk.

    Attributes:
        files: where the bands come from, in their order.
        grid: of the array.
        dtype: of the array.
        fill: value outside the files and where there is no data, when resampled; None keeps the files' own.
        error: what a failed read raises.
    """

    files: tuple[FileBands, ...]
    grid: Grid
    dtype: np.dtype[Any]
    fill: float | None = None
    error: type[CloudfixError] = SceneError
    ndim: int = 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""
        return sum(len(file.indexes) for file in self.files), self.grid.height, self.grid.width

    def __getitem__(self, key: tuple[Any, Any, Any]) -> NDArray[Any]:
        """Any selection along the three axes; dask hands down the user's own, so that only its bands are read."""
        chosen = [np.arange(length)[part] for length, part in zip(self.shape, key, strict=True)]
        bands, rows, columns = (np.atleast_1d(part) for part in chosen)
        window = self.read(_span(rows), _span(columns), bands.tolist())
        for axis, places in ((1, rows), (2, columns)):
            if places.size != window.shape[axis] or (np.diff(places) != 1).any():
                window = np.take(window, places - places.min(initial=self.shape[axis]), axis)
        return window[tuple(0 if part.ndim == 0 else slice(None) for part in chosen)]

    def read(self, rows: slice, columns: slice, bands: Sequence[int] | None = None) -> NDArray[Any]:
        """Bands of a window, from 0 and in the order given; default all.

        Raises:
            CloudfixError: as `error`, when a file turns out to be damaged.
        """
        window = Window.from_slices(rows, columns)
        wanted = range(self.shape[0]) if bands is None else bands
        out = np.empty((len(wanted), int(window.height), int(window.width)), self.dtype)
        if out.size:
            for file, places in self._split(wanted):
                out[places] = self._read_file(file, window)
        return out

    def lazy(self, chunks: tuple[Any, Any, Any]) -> da.Array:
        """The same as a dask array; equal files and chunks give equal keys, so that work is shared."""
        # Worker processes may have another working folder.
        files = tuple(replace(file, path=absolute(file.path)) for file in self.files)
        name = "cloudfix-read-" + tokenize(
            [(f.path, f.stamp, f.indexes, f.resampling, f.nodata, f.jointly, f.hidden) for f in files],
            (tuple(self.grid.transform), str(self.grid.crs), self.shape),
            (str(self.dtype), self.fill, chunks),
        )
        meta = np.empty((0, 0, 0), self.dtype)
        source = replace(self, files=files)
        lazy: da.Array = da.from_array(source, chunks=chunks, name=name, lock=False, meta=meta)  # type: ignore[no-untyped-call]
        return lazy

    def _split(self, wanted: Sequence[int]) -> Iterator[tuple[FileBands, list[int]]]:
        """Those bands of each file that are in `wanted`, and their places there."""
        start = 0
        for file in self.files:
            stop = start + len(file.indexes)
            if places := [place for place, band in enumerate(wanted) if start <= band < stop]:
                yield replace(file, indexes=tuple(file.indexes[wanted[place] - start] for place in places)), places
            start = stop

    def _read_file(self, file: FileBands, window: Window) -> NDArray[Any]:
        try:
            with opened(file.path, driver=file.driver, georeferenced=file.grid.georeferenced) as dataset:
                if file.resampling is None:
                    return _read(dataset, file, window, self.dtype)
                with WarpedVRT(dataset, **self._warp(file)) as warped:
                    return _read_blockwise(warped, file, window, self.dtype)
        except (*UNREADABLE, OSError) as reason:
            where = f"rows {window.row_off}–{window.row_off + window.height - 1}"
            raise self.error(
                f"{shown(file.path)}: cannot be read at {where}: damaged, truncated or gone; download or copy it "
                f"again ({_one_line(reason)})"
            ) from None

    def _warp(self, file: FileBands) -> dict[str, Any]:
        return {
            "crs": self.grid.crs,
            "transform": self.grid.transform,
            "height": self.grid.height,
            "width": self.grid.width,
            "resampling": Resampling[file.resampling],
            "src_nodata": file.nodata,
            "nodata": file.nodata if self.fill is None else self.fill,
            "dtype": self.dtype.name,
            "tolerance": _TOLERANCE,
            "UNIFIED_SRC_NODATA": "YES" if file.jointly else "NO",
        }


def _span(places: NDArray[np.int_]) -> slice:
    return slice(int(places.min()), int(places.max()) + 1) if places.size else slice(0, 0)


def _read(dataset: Any, file: FileBands, window: Window, dtype: np.dtype[Any]) -> NDArray[Any]:
    values: NDArray[Any] = dataset.read(list(file.indexes), window=window, out_dtype=dtype)
    if file.hidden is not None:
        values[:, dataset.read_masks(1, window=window) == 0] = file.hidden
    return values


def _read_blockwise(warped: Any, file: FileBands, window: Window, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read a window block by block of the whole warped raster.

    GDAL approximates the transform between points that depend on what it is asked for, so that values would
    depend, by rounding, on how the scene is cut into chunks. Whole blocks are the same for every chunk.
    """
    (top, bottom), (left, right) = window.toranges()
    height, width = warped.block_shapes[0]
    out = np.empty((len(file.indexes), bottom - top, right - left), dtype)
    for y in range(top - top % height, bottom, height):
        for x in range(left - left % width, right, width):
            stop = min(y + height, warped.height), min(x + width, warped.width)
            block = _read(warped, file, Window.from_slices((y, stop[0]), (x, stop[1])), dtype)
            rows = slice(max(y, top), min(stop[0], bottom))
            columns = slice(max(x, left), min(stop[1], right))
            out[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = block[
                :, rows.start - y : rows.stop - y, columns.start - x : columns.stop - x
            ]
    return out


def _one_line(reason: Exception) -> str:
    return " ".join(str(reason.__cause__ or reason).split())
