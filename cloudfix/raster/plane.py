"""A single band made on a scene's grid, such as a mask, as a scene of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudfix.raster.info import SceneInfo

if TYPE_CHECKING:
    import xarray as xr


def plane(values: xr.DataArray, *, nodata: float) -> xr.DataArray:
    """A one-band scene for `write_cog`.

    Args:
        values: (y, x) with the coordinates of the scene it was made from; its name becomes the band's, and one in
            `names.CLASS_BANDS` says that the values are classes.
        nodata: the value that means "no data"; NaN for NaN.
    """
    info = SceneInfo(None, slots=("",), scale=(1.0,), offset=(0.0,), nodata=nodata)
    band = values.expand_dims(band=[str(values.name)])
    return band.assign_attrs(info.to_attrs())
