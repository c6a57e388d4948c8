"""Refusal of files that keep "no data" in a mask or an alpha band, where it would be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rasterio.windows import Window

from cloudfix.errors import SceneError
from cloudfix.raster.header import opened
from cloudfix.raster.sample import sample_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudfix.raster.header import Header

_REMEDY = "write it with a nodata value first: gdalwarp -dstnodata 0 IN OUT (gdal_translate -b 1 … drops an alpha band)"


def check_transparency(header: Header, slots: Sequence[str], nodata: float | None) -> None:
    """Refuse a file of which a sample shows masked pixels that hold other values than nodata.

    Args:
        header: the file's.
        slots: of its bands, "" for none; an "alpha" band with a slot is one that a writer mislabelled.
        nodata: the value that stands for no data anyway, if any.

    Raises:
        SceneError: there are such pixels.
    """
    spectral = [position for position, slot in enumerate(slots, start=1) if slot]
    mislabelled = any(header.colorinterp[position - 1] == "alpha" for position in spectral)
    if not header.masked or mislabelled or not spectral:
        return
    with opened(header.path, georeferenced=header.grid.georeferenced) as dataset:
        for slices in sample_windows(header.grid.height, header.grid.width):
            window = Window.from_slices(*slices)
            hidden = dataset.read_masks(1, window=window) == 0
            values = dataset.read(spectral, window=window)
            data = np.isfinite(values)
            if nodata is not None:
                data &= values != nodata
            if (hidden & data.any(axis=0)).any():
                kind = "alpha band" if "alpha" in header.colorinterp else "mask"
                raise SceneError(f"{header.path}: no data is told by its {kind}, which is not read; {_REMEDY}")
