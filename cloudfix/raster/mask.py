"""Class rasters from files, such as cloud masks, brought to a scene's grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cloudfix.errors import MaskError
from cloudfix.raster.grid import grid_of, place
from cloudfix.raster.header import read_header
from cloudfix.raster.source import FileArray, FileBands

if TYPE_CHECKING:
    from pathlib import Path

_OUTSIDE = 255


def open_mask(path: str | Path, like: xr.DataArray) -> xr.DataArray:
    """Open a one-band mask lazily on the grid of `like`; another grid comes to it by nearest neighbour.

    Returns:
        (y, x), the file's values, in the chunks of `like`; its attribute `unknown` is the value of pixels without one,
        or None.

    Raises:
        MaskError: the file cannot be read, has several bands, or cannot be placed on the scene.
    """
    header = read_header(path, MaskError)
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
    unknown = nodata if same or nodata is not None else _OUTSIDE
    file = FileBands(header.path, header.stamp, (1,), header.grid, None if same else "nearest", nodata)
    values = FileArray((file,), grid, np.dtype(header.dtypes[0]), fill=None if same else unknown, error=MaskError)
    lazy = values.lazy((-1, *like.data.chunks[-2:]))[0]
    return place(xr.DataArray(lazy, dims=("y", "x"), name="mask", attrs={"unknown": unknown}), grid)
