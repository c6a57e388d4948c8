"""Reading a scene's files as one array: a window at a time, from any thread or process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from cloudfix.errors import CloudfixError, SceneError
from cloudfix.raster.header import opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cloudfix.raster.grid import Grid

_TOLERANCE = 1e-3
"""Error of the approximated transform in source pixels. Zero, that is none, fails in rasterio 1.4."""


@dataclass(frozen=True)
class FileBands:
    """Bands of one file as they come to the scene's grid.

    Attributes:
        path: the file.
        stamp: its size and modification time, so that a changed file is another source.
        indexes: bands, counted from 1.
        grid: the file's own grid.
        resampling: name of the resampling onto the scene's grid, or None where both are the same.
        nodata: the value that is no data to the resampling.
        jointly: whether a pixel is no data only where all bands of the file have that value.
    """

    path: str
    stamp: tuple[int, int]
    indexes: tuple[int, ...]
    grid: Grid
    resampling: str | None = None
    nodata: float | None = None
    jointly: bool = False


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

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        bands, rows, columns = key
        window = self.read(slice(*rows.indices(self.shape[1])), slice(*columns.indices(self.shape[2])))
        return window[bands]

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """All bands of a window.

        Raises:
            CloudfixError: as `error`, when a file turns out to be damaged.
        """
        parts = [self._read_file(file, Window.from_slices(rows, columns)) for file in self.files]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def lazy(self, chunks: tuple[Any, Any, Any]) -> da.Array:
        """The same as a dask array; equal files and chunks give equal keys, so that work is shared."""
        # Worker processes may have another working folder.
        files = tuple(replace(file, path=str(Path(file.path).absolute())) for file in self.files)
        name = "cloudfix-read-" + tokenize(
            [(f.path, f.stamp, f.indexes, f.resampling, f.nodata, f.jointly) for f in files],
            (tuple(self.grid.transform), str(self.grid.crs), self.shape),
            (str(self.dtype), self.fill, chunks),
        )
        meta = np.empty((0, 0, 0), self.dtype)
        source = replace(self, files=files)
        lazy: da.Array = da.from_array(source, chunks=chunks, name=name, lock=False, meta=meta)  # type: ignore[no-untyped-call]
        return lazy

    def _read_file(self, file: FileBands, window: Window) -> NDArray[Any]:
        try:
            with opened(file.path, georeferenced=file.grid.georeferenced) as dataset:
                if file.resampling is None:
                    return _read(dataset, file.indexes, window, self.dtype)
                with WarpedVRT(dataset, **self._warp(file)) as warped:
                    return _read_blockwise(warped, file.indexes, window, self.dtype)
        except (RasterioError, OSError) as reason:
            where = f"rows {window.row_off}–{window.row_off + window.height - 1}"
            raise self.error(
                f"{file.path}: cannot be read at {where}: damaged, truncated or gone; download or copy it "
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


def _read(dataset: Any, indexes: tuple[int, ...], window: Window, dtype: np.dtype[Any]) -> NDArray[Any]:
    values: NDArray[Any] = dataset.read(list(indexes), window=window, out_dtype=dtype)
    return values


def _read_blockwise(warped: Any, indexes: tuple[int, ...], window: Window, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read a window block by block of the whole warped raster.

    GDAL approximates the transform between points that depend on what it is asked for, so that values would
    depend, by rounding, on how the scene is cut into chunks. Whole blocks are the same for every chunk.
    """
    (top, bottom), (left, right) = window.toranges()
    height, width = warped.block_shapes[0]
    out = np.empty((len(indexes), bottom - top, right - left), dtype)
    for y in range(top - top % height, bottom, height):
        for x in range(left - left % width, right, width):
            stop = min(y + height, warped.height), min(x + width, warped.width)
            block = _read(warped, indexes, Window.from_slices((y, stop[0]), (x, stop[1])), dtype)
            rows = slice(max(y, top), min(stop[0], bottom))
            columns = slice(max(x, left), min(stop[1], right))
            out[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = block[
                :, rows.start - y : rows.stop - y, columns.start - x : columns.stop - x
            ]
    return out


def _one_line(reason: Exception) -> str:
    return " ".join(str(reason.__cause__ or reason).split())
