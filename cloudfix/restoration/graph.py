"""Dask wiring: functions called on windows of chunked arrays, as tasks that share every chunk they touch.

`dask.delayed` is not used for it: it optimises each array argument on its own, and a chunk that nine tasks want would
be computed nine times.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph

from cloudfix.restoration.tiles import Window, chunk_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

Chunks = tuple[tuple[int, ...], tuple[int, ...]]
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Call:
    """A function and what it is called on.

    Attributes:
        function: takes the pieces' pixels, then the results of `others` as a list, if there are any.
        pieces: arrays (…, y, x) and the windows of them that are wanted, of any size.
        others: keys of other tasks.
    """

    function: Callable[..., Any]
    pieces: tuple[tuple[da.Array, Window], ...]
    others: tuple[Key, ...] | None = None


def tasks(name: str, calls: Mapping[Key, Call], below: HighLevelGraph | None = None) -> HighLevelGraph:
    """A graph in which (`name`, *index) is the result of each call, on top of the graphs of what it is called on.

    Args:
        name: unique to the functions and to the arrays.
        calls: by index.
        below: the graph that `others` are in.
    """
    layer: dict[Any, Any] = {(name, *index): _task(call) for index, call in calls.items()}
    arrays: dict[str, Any] = {array.name: array for call in calls.values() for array, _ in call.pieces}
    graph = HighLevelGraph.from_collections(name, layer, dependencies=list(arrays.values()))
    if below is None:
        return graph
    dependencies = {**below.dependencies, **graph.dependencies}
    dependencies[name] = {
        *graph.dependencies[name],
        *{key[0] for call in calls.values() for key in call.others or ()},
    }
    return HighLevelGraph({**below.layers, **graph.layers}, dependencies)


def as_array(name: str, graph: HighLevelGraph, chunks: Chunks, dtype: np.dtype[Any], bands: int) -> da.Array:
    """The array (bands, y, x) whose chunks are the tasks (`name`, 0, i, j)."""
    meta = np.empty((0, 0, 0), dtype)
    return da.Array(graph, name, ((bands,), *chunks), dtype=dtype, meta=meta)  # type: ignore[no-untyped-call]


def _task(call: Call) -> tuple[Any, ...]:
    located = [_locate(array, window) for array, window in call.pieces]
    run = partial(_run, call.function, [(rows, columns) for _, rows, columns in located])
    keys = [keys for keys, _, _ in located]
    return (run, *keys) if call.others is None else (run, *keys, list(call.others))


def _run(function: Callable[..., Any], cuts: list[tuple[list[slice], list[slice]]], *inputs: Any) -> Any:
    count = len(cuts)
    pixels = [_cut(blocks, *cut) for blocks, cut in zip(inputs[:count], cuts, strict=True)]
    return function(*pixels, *inputs[count:])


def _locate(array: da.Array, window: Window) -> tuple[list[list[Key]], list[slice], list[slice]]:
    """Keys of the chunks under `window`, row by row, and which rows and columns of each lie in it."""
    rows = _spans(array.chunks[-2], window.top, window.bottom)
    columns = _spans(array.chunks[-1], window.left, window.right)
    leading = (0,) * (array.ndim - 2)
    keys = [[(array.name, *leading, i, j) for j, _ in columns] for i, _ in rows]
    return keys, [cut for _, cut in rows], [cut for _, cut in columns]


def _spans(sizes: tuple[int, ...], start: int, stop: int) -> list[tuple[int, slice]]:
    found, begin = [], 0
    for index, size in enumerate(sizes):
        low, high = max(start - begin, 0), min(stop - begin, size)
        if low < high:
            found.append((index, slice(low, high)))
        begin += size
    return found


def _cut(blocks: list[list[NDArray[Any]]], rows: list[slice], columns: list[slice]) -> NDArray[Any]:
    strips = [
        [block[..., row, column] for block, column in zip(line, columns, strict=True)]
        for line, row in zip(blocks, rows, strict=True)
    ]
    joined = [line[0] if len(line) == 1 else np.concatenate(line, axis=-1) for line in strips]
    return joined[0] if len(joined) == 1 else np.concatenate(joined, axis=-2)


def windows(chunks: Chunks) -> dict[Key, Window]:
    """Window of each chunk by its index (i, j)."""
    return dict(chunk_windows(*chunks))
