"""Which pixels are restored: the mask's source, its classes, and how far its rim reaches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr

from cloudfix.clouds import plugins, quality, spectral
from cloudfix.clouds.buffer import feather
from cloudfix.clouds.classes import CLEAR, CLOUD, NODATA, SHADOW
from cloudfix.errors import MaskError, UsageError
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.mask import open_mask
from cloudfix.restoration.graph import map_windows
from cloudfix.restoration.sampling import sample_blocks
from cloudfix.restoration.synthesis import valid_pixels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cloudfix.restoration.graph import Chunks
    from cloudfix.restoration.tiles import Window

FULL_WEIGHT = 255
MAX_BUFFER = 200


def cloud_classes(scene: xr.DataArray, mask: str | Path | xr.DataArray | None) -> tuple[da.Array, str]:
    """The classes of every pixel, lazily, and the name of what decided them.

    In this order: the mask that was given (an array, a file, a plug-in's name), the product's own quality band, the
    spectral rules of DSen2-CR.

    Returns:
        (y, x) uint8 of `cloudfix.clouds.classes`, in the scene's chunks; and the source for the provenance.

    Raises:
        MaskError: the mask does not fit the scene, or nothing can make one.
    """
    info = SceneInfo.of(scene)
    if mask is not None:
        return _given(scene, info, mask)
    if info.quality_band is not None:
        return _from_quality_band(scene, info), info.quality_band
    if not spectral.missing_slots([slot for slot in info.slots if slot]):
        return _from_spectral_rules(scene, info), "spectral rules (DSen2-CR)"
    raise MaskError(
        f"no cloud mask: the bands {', '.join(scene.band.values)} hold no SCL, QA_PIXEL or BQA, and the spectral "
        f"rules also need {', '.join(spectral.missing_slots(info.slots))}; give one with --mask FILE"
    )


def synthesis_weight(classes: da.Array, buffer: int) -> da.Array:
    """How much of the network's output each pixel takes, 0 … 255.

    255 on cloud and shadow, falling to 0 over `buffer` pixels around them; 0 on nodata.

    Raises:
        UsageError: a buffer that is negative or too wide.
    """
    if not 0 <= buffer <= MAX_BUFFER:
        raise UsageError(f"--buffer {buffer}: expected 0 to {MAX_BUFFER} pixels")

    def weigh(block: NDArray[np.uint8], core: Window) -> NDArray[np.uint8]:
        masked = (block == CLOUD) | (block == SHADOW)
        weight = np.ceil(feather(masked, buffer) * FULL_WEIGHT).astype(np.uint8)
        weight[block == NODATA] = 0
        return weight[core.slices]

    return map_windows(weigh, classes, classes.chunks, halo=buffer, dtype=np.dtype(np.uint8))


def reflectance_by_slot(
    dn: NDArray[np.generic], info: SceneInfo
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_]]:
    """Reflectance (H, W) of every slot, NaN where a band holds none, and where the scene has any data.

    A DN of 0 in one band of a pixel that has data in others is a dark measurement, although 0 also means nodata:
    Sentinel-2's cirrus band holds it all the time.
    """
    valid = valid_pixels(dn, info.nodata)
    planes = {
        slot: (dn[k] * info.scale[k] + info.offset[k]).astype(np.float32)
        for k, slot in enumerate(info.slots)
        if slot
    }
    if info.nodata != 0:
        for k, slot in enumerate(info.slots):
            if slot:
                planes[slot][~valid[k]] = np.nan
    return planes, valid.any(axis=0)


def _given(
    scene: xr.DataArray, info: SceneInfo, mask: str | Path | xr.DataArray
) -> tuple[da.Array, str]:
    if isinstance(mask, xr.DataArray):
        if mask.shape != scene.shape[1:]:
            raise MaskError(f"mask: shape {mask.shape}, expected the scene's {scene.shape[1:]}")
        return _with_nodata(scene, info, da.asarray(mask.data).astype(np.uint8)), "array"
    if isinstance(mask, Path) or Path(mask).exists() or mask not in plugins.names():
        values = open_mask(mask, scene)
        classes = values.data.map_blocks(_mask_classes, values.attrs["unknown"], dtype=np.uint8)
        return _with_nodata(scene, info, classes), f"file {Path(mask).name}"
    plugin = plugins.find(mask)
    return _per_window(scene, info, plugin, halo=plugins.halo(plugin)), f"plug-in {mask}"


def _mask_classes(values: NDArray[Any], unknown: float | None) -> NDArray[np.uint8]:
    """0 is clear, 2 is shadow, every other value is cloud; what is unknown counts as clear."""
    classes = np.where(values == CLEAR, np.uint8(CLEAR), np.uint8(CLOUD))
    classes[values == SHADOW] = SHADOW
    classes[~np.isfinite(values)] = CLEAR
    if unknown is not None:
        classes[values == unknown] = CLEAR
    return classes


def _from_quality_band(scene: xr.DataArray, info: SceneInfo) -> da.Array:
    name = info.quality_band or ""
    band = scene.sel(band=name).data
    return _with_nodata(scene, info, band.map_blocks(_quality, name, dtype=np.uint8))


def _quality(band: NDArray[np.integer[Any]], name: str) -> NDArray[np.uint8]:
    return quality.classes_from(name, band)


def _from_spectral_rules(scene: xr.DataArray, info: SceneInfo) -> da.Array:
    thresholds = _shadow_thresholds(scene, info)

    def classify(
        reflectance: dict[str, NDArray[np.float32]], valid: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        return spectral.classes(reflectance, thresholds, valid)

    return _per_window(scene, info, classify, halo=spectral.HALO)


def _shadow_thresholds(scene: xr.DataArray, info: SceneInfo) -> spectral.ShadowThresholds:
    """Thresholds from the scene's cloud-free pixels.

    The published rule takes all pixels. Cloud raises the means by so much that dark land counts as shadow: over a third of
    the Sentinel-2 sample.
    """
    parts = []
    for block in sample_blocks(scene):
        reflectance, valid = reflectance_by_slot(block, info)
        cloudy = spectral.cloud_score(reflectance, valid) >= spectral.THRESHOLD
        parts.append(spectral.shadow_statistics(reflectance, valid & ~cloudy))
    return spectral.shadow_thresholds(parts)


def _per_window(
    scene: xr.DataArray, info: SceneInfo, classify: Callable[..., NDArray[np.uint8]], *, halo: int
) -> da.Array:
    def classify_window(dn: NDArray[np.generic], core: Window) -> NDArray[np.uint8]:
        reflectance, valid = reflectance_by_slot(dn, info)
        return np.where(valid, classify(reflectance, valid), np.uint8(NODATA))[core.slices]

    return map_windows(
        classify_window, scene.data, _chunks(scene), halo=halo, dtype=np.dtype(np.uint8)
    )


def _with_nodata(scene: xr.DataArray, info: SceneInfo, classes: da.Array) -> da.Array:
    """`classes` in the scene's chunks, with NODATA exactly where the scene holds nothing in any of its slots."""
    slots = [k for k, slot in enumerate(info.slots) if slot]

    def combine(dn: NDArray[np.generic], own: NDArray[np.uint8]) -> NDArray[np.uint8]:
        empty = ~valid_pixels(dn[slots], info.nodata).any(axis=0)
        known = np.where(own == NODATA, np.uint8(CLEAR), own)
        return np.where(empty, np.uint8(NODATA), known).astype(np.uint8)

    return da.map_blocks(
        combine, scene.data, classes.rechunk(_chunks(scene)), dtype=np.uint8, drop_axis=0
    )


def _chunks(scene: xr.DataArray) -> Chunks:
    return scene.data.chunks[1:]
