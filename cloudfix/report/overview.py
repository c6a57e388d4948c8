"""A scene before and after at a size to look at; memory does not grow with the scene."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudfix.raster.header import opened
from cloudfix.raster.info import SceneInfo
from cloudfix.restoration.pixels import reflectance_by_slot

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    Planes = dict[str, NDArray[np.float32]]

SIDE = 1024
"""Pixels that the longer side has at most."""


@dataclass(frozen=True)
class Overview:
    """A scene before and after, reduced.

    Attributes:
        before: reflectance (height, width) by slot, NaN where there is none.
        after: the same of the output.
        classes: 0 clear, 1 cloud, 2 shadow, 255 no data; (height, width).
        factor: pixels of the scene along a side of one of these.
    """

    before: Planes
    after: Planes
    classes: NDArray[np.uint8]
    factor: int


def overview(scene: xr.DataArray, output: Path, mask: Path) -> Overview:
    """Reduce a scene, its output and its mask by the same power of two, so that they lie on each other.

    To the pixel, that is, where the factor divides the scene: otherwise GDAL stretches overviews by less than one.

    Of the outputs, the overviews are read; the scene may have none and is read once more, chunk by chunk.

    Args:
        scene: from `open_scene`.
        output: the COG that was made of it.
        mask: the mask that was written.
    """
    info = SceneInfo.of(scene)
    level = 0
    while max(scene.shape[-2:]) > SIDE << level:
        level += 1
    names = [slot for slot in info.slots if slot]
    before = dict(zip(names, _reduced(scene, info, 1 << level), strict=True))
    planes, valid = reflectance_by_slot(_read(output, level), info)
    after = {slot: np.where(valid, planes[slot], np.float32(np.nan)) for slot in names}
    return Overview(before, after, _read(mask, level)[0], 1 << level)


def _read(path: Path, level: int) -> NDArray[Any]:
    options: dict[str, Any] = {} if level == 0 else {"overview_level": level - 1}
    with opened(path, **options) as dataset:
        pixels: NDArray[Any] = dataset.read()
        return pixels


def _reduced(scene: xr.DataArray, info: SceneInfo, factor: int) -> NDArray[np.float32]:
    """Means of reflectance over squares of `factor` pixels, (slots, height, width), of the pixels that have data."""
    rows, columns = (factor * -(-sizes[0] // factor) for sizes in scene.data.chunks[1:])
    pixels = scene.data.rechunk((-1, rows, columns))
    chunks = tuple(tuple(-(-size // factor) for size in sizes) for sizes in pixels.chunks[1:])
    count = sum(map(bool, info.slots))
    means = pixels.map_blocks(
        partial(_means, info, factor), dtype=np.float32, chunks=((count,), *chunks), meta=np.empty((0, 0, 0), "float32")
    )
    reduced: NDArray[np.float32] = means.compute()
    return reduced


def _means(info: SceneInfo, factor: int, dn: NDArray[Any]) -> NDArray[np.float32]:
    planes, valid = reflectance_by_slot(dn, info)
    return np.stack([_mean_of_squares(plane, valid, factor) for plane in planes.values()])


def _mean_of_squares(plane: NDArray[np.float32], valid: NDArray[np.bool_], factor: int) -> NDArray[np.float32]:
    height, width = plane.shape
    missing = ((0, -height % factor), (0, -width % factor))
    seen = np.pad(valid & np.isfinite(plane), missing)
    squares = np.pad(np.where(seen[:height, :width], plane, np.float32(0)), missing)
    cut = (seen.shape[0] // factor, factor, -1, factor)
    counts = seen.reshape(cut).sum(axis=(1, 3))
    means = squares.reshape(cut).sum(axis=(1, 3), dtype=np.float64) / np.maximum(counts, 1)
    return np.where(counts, means, np.nan).astype(np.float32)
