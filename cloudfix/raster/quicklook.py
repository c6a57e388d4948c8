"""The quicklook: before | mask | after, side by side, from COGs that are there already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.enums import Resampling

from cloudfix.raster.header import opened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WIDTH = 1600
"""Greatest width of the picture in pixels."""

_GAP = 8
_COLOURS = {1: (255, 96, 32), 2: (64, 96, 255)}
_OPACITY = 0.5
_STRETCH = (2, 98)


def write_quicklook(out: Path, *, before: Path, after: Path, mask: Path, rgb: tuple[int, int, int]) -> None:
    """Write the picture as PNG.

    Both images have the stretch of the clear pixels before, so that what differs was changed.

    Args:
        out: the PNG.
        before: GeoTIFF with the red, green and blue band of the input, in this order.
        after: GeoTIFF of the output's bands.
        mask: GeoTIFF with 0 clear, 1 cloud, 2 shadow, 255 no data.
        rgb: the bands of `after`, from 1, that are red, green and blue.
    """
    classes = _thumbnail(mask, (1,), Resampling.nearest)[0].filled(255)
    shown = _thumbnail(before, (1, 2, 3), Resampling.average)
    restored = _thumbnail(after, rgb, Resampling.average)
    low, high = _limits(shown, classes == 0)
    picture = _side_by_side(
        [_stretched(shown, low, high), _overlay(_stretched(shown, low, high), classes),
         _stretched(restored, low, high)]
    )  # fmt: skip
    _, height, width = picture.shape
    with opened(out, "w", driver="PNG", width=width, height=height, count=3, dtype="uint8") as dataset:
        dataset.write(picture)


def _thumbnail(path: Path, bands: Sequence[int], resampling: Resampling) -> np.ma.MaskedArray[Any, Any]:
    with opened(path) as dataset:
        panel = (WIDTH - 2 * _GAP) // 3
        factor = min(1.0, panel / dataset.width, WIDTH / dataset.height)
        height, width = (max(1, round(side * factor)) for side in dataset.shape)
        values = dataset.read(list(bands), out_shape=(len(bands), height, width), resampling=resampling, masked=True)
    return np.ma.masked_invalid(values)


def _limits(image: np.ma.MaskedArray[Any, Any], clear: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Per band the DN shown as black and as white; those of all valid pixels if none is clear."""
    valid = ~np.ma.getmaskarray(image).any(axis=0)
    chosen = valid & clear if (valid & clear).any() else valid
    values = image.data[:, chosen]
    if not values.size:
        return np.zeros((3, 1, 1)), np.ones((3, 1, 1))
    low, high = np.percentile(values.astype(float), _STRETCH, axis=1)
    return low[:, None, None], np.maximum(high, low + 1e-6)[:, None, None]


def _stretched(image: np.ma.MaskedArray[Any, Any], low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.uint8]:
    level = np.ma.masked_array((image.astype(float) - low) / (high - low)).filled(0)
    shown: NDArray[np.uint8] = (np.clip(level, 0, 1) * 255).round().astype(np.uint8)
    return shown


def _overlay(image: NDArray[np.uint8], classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = np.broadcast_to(image.mean(axis=0), image.shape).copy()
    for value, colour in _COLOURS.items():
        where = classes == value
        grey[:, where] = (1 - _OPACITY) * grey[:, where] + _OPACITY * np.array(colour, float)[:, None]
    return grey.round().astype(np.uint8)


def _side_by_side(panels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    gap = np.full((3, panels[0].shape[1], _GAP), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=2)
