"""Dask wiring: functions of windows of arrays, put together into a lazy array of the scene's chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask
import dask.array as da

from cloudfix.restoration.tiles import Window, chunk_windows

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

Chunks = tuple[tuple[int, ...], tuple[int, ...]]


def assemble(chunks: Chunks, make: Callable[[Window], Any], dtype: np.dtype[Any], bands: int = 0) -> da.Array:
    """The lazy array whose chunk over each window is the delayed value `make(window)`.

    Args:
        chunks: rows and columns of each chunk.
        make: gives a Delayed of (height, width), or of (bands, height, width) if `bands`.
        dtype: of the values.
        bands: size of the leading axis; 0 for none.
    """
    rows: list[list[da.Array]] = [[] for _ in chunks[0]]
    for (i, _), window in chunk_windows(*chunks):
        shape = (bands, *window.shape) if bands else window.shape
        rows[i].append(da.from_delayed(make(window), shape, dtype=dtype))
    return da.block(rows)


def map_windows(
    function: Callable[..., Any], array: da.Array, chunks: Chunks, *, halo: int, dtype: np.dtype[Any]
) -> da.Array:
    """Apply `function(block, core)` to every chunk of `array` (…, y, x) with `halo` more pixels around it.

    `core` is the chunk's window within the block; the function returns (height, width) of that core. At the edges of
    the scene there is less halo, so the function sees the edge as it is.
    """
    height, width = array.shape[-2:]
    task = dask.delayed(function, pure=True)

    def make(window: Window) -> Any:
        block = window.grow(halo, height, width)
        return task(array[..., *block.slices], window.within(block))

    return assemble(chunks, make, dtype)
