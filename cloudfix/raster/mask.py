"""Class rasters from files, such as cloud masks, brought to a scene's grid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cloudfix.errors import MaskError
from cloudfix.raster.grid import grid_of, place
from cloudfix.raster.header import read_header
from cloudfix.raster.location import is_remote, shown
from cloudfix.raster.sample import probe_windows
from cloudfix.raster.source import FileArray, FileBands

if TYPE_CHECKING:
    from cloudfix.raster.header import Header

_OUTSIDE = 254
"""Where a mask does not reach: none of the values below."""

_CLASSES = (0, 1, 2, 128, 255)
"""What masks hold: 128 and 255 are shadow and cloud in RICE2 and other sets of pictures."""


def open_mask(path: str | Path, like: xr.DataArray) -> xr.DataArray:
    """Open a one-band mask lazily on the grid of `like`; another grid comes to it by nearest neighbour.

    Returns:
        (y, x), the file's values, in the chunks of `like`; its attribute `unknown` is the value of pixels without one,
        or None.

    Raises:
        MaskError: the file cannot be read, has several bands or other values than classes, or cannot be placed on the
            scene.
    """
    header = _header(path)
    if header.count != 1:
        raise MaskError(f"--mask {path}: {header.count} bands; expected one, 0 clear, 1 cloud, 2 shadow")
    grid = grid_of(like)
    same = header.grid.matches(grid)
    if not same and (header.grid.crs is None or grid.crs is None):
        raise MaskError(
            f"--mask {path}: {header.grid.width} × {header.grid.height} pixels without a common reference system; "
            f"expected the scene's {grid.width} × {grid.height}, or a CRS in both files"
        )
    nodata = header.nodata[0]
    _check_classes(header)
    unknown = nodata if same or nodata is not None else _OUTSIDE
    file = FileBands.of(header, (1,), resampling=None if same else "nearest", nodata=nodata)
    values = FileArray((file,), grid, np.dtype(header.dtypes[0]), fill=None if same else unknown, error=MaskError)
    lazy = values.lazy((-1, *like.data.chunks[-2:]))[0]
    return place(xr.DataArray(lazy, dims=("y", "x"), name="mask", attrs={"unknown": unknown}), grid)


def _header(path: str | Path) -> Header:
    if is_remote(path):
        raise MaskError(f"--mask {shown(path)}: is not a file on disk; download it first, and name the file")
    if not Path(path).exists():
        raise MaskError(
            f"--mask {path}: no such file; expected a raster (0 clear, 1 cloud, 2 shadow), thickness weights "
            "(.safetensors) or the name of a plug-in, such as s2cloudless"
        )
    try:
        return read_header(path, MaskError)
    except MaskError as error:
        raise MaskError(f"--mask {error}") from None


def _check_classes(header: Header) -> None:
    """Refuse a raster of other things than classes, by a sample of it."""
    own = FileBands.of(header, (1,))
    array = FileArray((own,), header.grid, np.dtype(header.dtypes[0]), error=MaskError)
    found = np.unique(np.concatenate([array.read(*window).ravel() for window in probe_windows(*array.shape[1:])]))
    other = found[np.isfinite(found) & ~np.isin(found, [*_CLASSES, header.nodata[0] or 0])]
    if other.size:
        shown = ", ".join(f"{value:g}" for value in other[:4]) + (" …" if other.size > 4 else "")
        raise MaskError(
            f"--mask {header.path}: values {shown}; expected 0 clear, 1 cloud, 2 shadow (a probability needs a "
            "threshold first; SCL and QA bands belong among the scene's own files)"
        )
