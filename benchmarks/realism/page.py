"""A page of pictures: two kinds of images of the same places, in natural colour and with one stretch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cloudfix.raster.atomic import staging, writing
from cloudfix.raster.header import opened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Picture = NDArray[np.uint8]

SIDE = 184
"""Rows and columns that are shown of an image; smaller ones are filled up with white."""

_PLACES = 8
_ACROSS = 4
_GAP = 4
_GAMMA = 0.7


def write_page(path: Path, above: Sequence[Image], below: Sequence[Image]) -> None:
    """Write a PNG of eight places, evenly chosen among the large enough: one kind, and below it the other.

    Args:
        path: the PNG; its folder has to be there.
        above: (3, H, W) reflectance of red, green and blue.
        below: the same of the same places.

    Raises:
        OutputError: it cannot be written.
    """
    large = [k for k, image in enumerate(above) if min(image.shape[1:]) >= SIDE] or list(range(len(above)))
    count = min(_PLACES, len(large))
    chosen = [large[k * (len(large) - 1) // max(count - 1, 1)] for k in range(count)]
    rows = []
    for first in range(0, count, _ACROSS):
        places = chosen[first : first + _ACROSS]
        rows += [[kind[place] for place in places] for kind in (above, below)]
    step = SIDE + _GAP
    page = np.full((3, len(rows) * step - _GAP, _ACROSS * step - _GAP), 255, np.uint8)
    for down, row in enumerate(rows):
        for across, image in enumerate(row):
            shown = _picture(image[:, :SIDE, :SIDE])
            top, left = down * step, across * step
            page[:, top : top + shown.shape[1], left : left + shown.shape[2]] = shown
    _write(path, page)


def _picture(image: Image) -> Picture:
    picture: Picture = (image.clip(0, 1) ** _GAMMA * 255).round().astype(np.uint8)
    return picture


def _write(path: Path, page: Picture) -> None:
    channels, height, width = page.shape
    profile = {"driver": "PNG", "width": width, "height": height, "count": channels, "dtype": "uint8"}
    with staging(path) as stage, writing(path):
        with opened(stage.file, "w", **profile, ZLEVEL=9) as file:
            file.write(page)
        stage.publish()
