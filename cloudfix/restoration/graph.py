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
        lazy: hand the first piece over as a `Mosaic`, to a function that does not look at all of it.
    """

    function: Callable[..., Any]
    pieces: tuple[tuple[da.Array, Window], ...]
    others: tuple[Key, ...] | None = None
    lazy: bool = False


@dataclass(frozen=True)
class Mosaic:
    """A window (bands, y, x) over chunks, which are put together only where they are asked for.

    Attributes:
        blocks: the chunks under the window, row by row.
        rows: what of each row of chunks lies in it.
        columns: what of each column of chunks lies in it.
    """

    blocks: list[list[NDArray[Any]]]
    rows: list[slice]
    columns: list[slice]

    @property
    def dtype(self) -> np.dtype[Any]:
        """As in an array."""
        return self.blocks[0][0].dtype

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""
        height, width = (sum(cut.stop - cut.start for cut in cuts) for cuts in (self.rows, self.columns))
        return len(self.blocks[0][0]), height, width

    def __getitem__(self, key: int | tuple[slice, slice, slice]) -> NDArray[Any]:
        """One band, or some bands of some rows and columns, as an array."""
        if not isinstance(key, tuple):
            return _cut([[block[key] for block in line] for line in self.blocks], self.rows, self.columns)
        bands, rows, columns = key
        down, across = _part(self.rows, rows), _part(self.columns, columns)
        blocks = [[self.blocks[i][j][bands] for j, _ in across] for i, _ in down]
        return _cut(blocks, [cut for _, cut in down], [cut for _, cut in across])


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
    run = partial(_run, call.function, [(rows, columns) for _, rows, columns in located], call.lazy)
    keys = [keys for keys, _, _ in located]
    return (run, *keys) if call.others is None else (run, *keys, list(call.others))


def _run(function: Callable[..., Any], cuts: list[tuple[list[slice], list[slice]]], lazy: bool, *inputs: Any) -> Any:
    count = len(cuts)
    forms = [Mosaic if lazy and not at else _cut for at in range(count)]
    pixels = [form(blocks, *cut) for form, blocks, cut in zip(forms, inputs[:count], cuts, strict=True)]
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


def _part(cuts: list[slice], wanted: slice) -> list[tuple[int, slice]]:
    """Which of `cuts`, which follow each other, hold the pixels `wanted`, and where."""
    sizes = tuple(cut.stop - cut.start for cut in cuts)
    start, stop, _ = wanted.indices(sum(sizes))
    spans = _spans(sizes, start, stop)
    return [(i, slice(cuts[i].start + part.start, cuts[i].start + part.stop)) for i, part in spans]


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
