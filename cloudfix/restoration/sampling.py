"""A sample of a scene, for statistics that should be the scene's and not a chunk's."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import dask.base as dask

from cloudfix.restoration.tiles import Window

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

_WINDOWS = 4
_SIDE = 512


def sample_windows(height: int, width: int) -> list[Window]:
    """At most 4 × 4 windows of 512² pixels, evenly spread; they depend on the scene's size alone.

    A scene of up to 2048 pixels a side is covered whole.
    """
    return spread(height, width, _WINDOWS, _SIDE)


def spread(height: int, width: int, most: int, side: int) -> list[Window]:
    """At most `most` × `most` windows of `side` pixels each way, evenly spread, row by row.

    A scene of up to `most` · `side` pixels a side is covered whole. In a larger one they begin at multiples of `side`,
    as blocks of files do: none is read that holds only a rim of a window.
    """
    rows, columns = (_spans(length, most, side) for length in (height, width))
    return [Window(*down, *across) for down, across in product(rows, columns)]


def sample_blocks(scene: xr.DataArray) -> list[NDArray[Any]]:
    """The pixels of `scene` (band, y, x) under `sample_windows`, read at once."""
    windows = sample_windows(*scene.shape[1:])
    blocks = [scene.data[:, *window.slices] for window in windows]
    return list(dask.compute(*blocks))  # type: ignore[no-untyped-call]


def _spans(length: int, most: int, side: int) -> list[tuple[int, int]]:
    count = min(most, -(-length // side))
    step = side if length > count * side else 1
    side = min(side, -(-length // count))
    last = length - side
    starts = [round(k * last / max(count - 1, 1)) // step * step for k in range(count)]
    return [(start, start + side) for start in starts]
