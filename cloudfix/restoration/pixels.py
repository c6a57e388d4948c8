"""DN and reflectance: what is valid, what it means, and what may be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from cloudfix.raster.info import SceneInfo
    from cloudfix.restoration.graph import Mosaic


def valid_pixels(dn: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Where `dn` holds a measurement: neither NaN nor nodata; same shape."""
    valid = np.isfinite(dn) if dn.dtype.kind == "f" else np.ones(dn.shape, bool)
    if nodata is not None and not np.isnan(nodata):
        valid &= dn != nodata
    return valid


def any_valid(dn: NDArray[Any] | Mosaic, info: SceneInfo) -> NDArray[np.bool_]:
    """Where any band that fills a slot holds a measurement, (H, W)."""
    found = np.zeros(dn.shape[1:], bool)
    for k, slot in enumerate(info.slots):
        if slot:
            found |= valid_pixels(dn[k], info.nodata)
            # One band is enough in all but the margins of a scene.
            if found.all():
                break
    return found


def reflectance_by_slot(
    dn: NDArray[Any] | Mosaic, info: SceneInfo, slots: Collection[str] | None = None
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_]]:
    """Reflectance (H, W) of every slot, or of `slots`, NaN where a band holds none, and where the scene has any data.

    A DN of 0 in one band of a pixel that has data in others is a dark measurement, although 0 also means nodata:
    Sentinel-2's cirrus band holds it all the time. So where 0 means nodata, a pixel is empty only as a whole.
    """
    planes = {}
    for k, slot in enumerate(info.slots):
        if slot and (slots is None or slot in slots):
            band = dn[k]
            plane = band * np.float32(info.scale[k])
            plane += np.float32(info.offset[k])
            if info.nodata != 0:
                plane[~valid_pixels(band, info.nodata)] = np.nan
            planes[slot] = plane
    return planes, any_valid(dn, info)


def storable(dn: NDArray[np.floating[Any]], dtype: np.dtype[Any], info: SceneInfo) -> NDArray[Any]:
    """`dn` in the scene's dtype: rounded, kept inside its range and off the values that mean something else."""
    reserved = [value for value in (info.nodata, info.saturated) if value is not None and np.isfinite(value)]
    if dtype.kind == "f":
        stored: NDArray[Any] = dn.astype(dtype)
        for value in reserved:
            stored[stored == value] = np.nextafter(dtype.type(value), dtype.type(np.inf))
        return stored
    limits = np.iinfo(dtype)
    stored = np.clip(np.rint(dn), limits.min, limits.max).astype(dtype)
    for value in reserved:
        stored[stored == value] = value + 1 if value < limits.max else value - 1
    return stored
