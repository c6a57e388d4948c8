"""Streaming a lazy scene into encoded tiles: one pass over the dask graph, on any scheduler."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise, product
from threading import Lock
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph

from cloudfix.raster.atomic import writing
from cloudfix.raster.pyramid import CHUNK
from cloudfix.raster.space import require_space
from cloudfix.raster.waves import run, scheduler_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cloudfix.raster.pyramid import Pyramid

_STRIP = 5120
"""Columns that are read at a time.

Chunks wait in memory for their neighbours of the next row, so memory would grow with the width of a scene. What
reaches over the edge of a strip is computed twice: one column of tiles.
"""

_MARGIN = 1024
"""Columns of these that belong to the strip to the left, or to the right, and that masks and tiles look at."""


@dataclass(frozen=True)
class Layer:
    """An array (band, y, x) and the scratch files it goes to."""

    array: da.Array
    pyramid: Pyramid


class PyramidTarget:
    """Where dask stores chunks of `CHUNK` pixels a side; works in worker processes that share the file system, too."""

    def __init__(self, pyramid: Pyramid, final: Path) -> None:
        self._pyramid = pyramid
        self._final = final
        self._token = uuid.uuid4().hex

    def __setitem__(self, key: tuple[slice, slice, slice], block: NDArray[Any]) -> None:
        _, rows, columns = key
        with writing(self._final):
            require_space(self._pyramid.folder, block.nbytes)
            self._pyramid.write(rows.start, columns.start, block)

    def __dask_tokenize__(self) -> str:
        # A run must never be taken for an earlier one on the same output.
        return self._token


class _Counter:
    """Passes blocks on, and tells how many came by; the copy in a worker process tells nobody."""

    def __init__(self, progress: Callable[[int], None], total: int) -> None:
        self._progress: Callable[[int], None] | None = progress
        self._total = total
        self._lock = Lock()
        self.done = 0

    def __call__(self, block: NDArray[Any]) -> NDArray[Any]:
        if self._progress is not None:
            with self._lock:
                # Chunks at the edge of a strip come by twice.
                self.done = min(self.done + 1, self._total)
                self._progress(self.done)
        return block

    def __getstate__(self) -> dict[str, Any]:
        return {"_progress": None}


def store(layers: Sequence[Layer], final: Path, progress: Callable[[int], None]) -> None:
    """Compute all layers in one pass, strip by strip, and encode them as they come.

    Args:
        layers: what to compute; chunks cover all bands.
        final: the output that messages name.
        progress: called with the number of done chunks of the first layer. Worker processes cannot call it: then it is
            called once, in the end.

    Raises:
        OutputError: the disk is full or fails. What the computation itself raises comes through as it is.
    """
    total = layers[0].array.npartitions
    counter = _Counter(progress, total)
    with writing(final):
        for layer in layers:
            layer.pyramid.folder.mkdir()
    first = layers[0].array
    counted = da.map_blocks(counter, first, meta=np.empty((0, 0, 0), first.dtype))  # type: ignore[no-untyped-call]
    arrays = [array.rechunk({1: CHUNK, 2: CHUNK}) for array in (counted, *(layer.array for layer in layers[1:]))]
    targets = [PyramidTarget(layer.pyramid, final) for layer in layers]
    for columns in _strips(arrays[0].chunks[-1]):
        _store_strip(arrays, targets, columns)
    if counter.done < total:
        progress(total)


def _store_strip(arrays: Sequence[da.Array], targets: Sequence[PyramidTarget], columns: slice) -> None:
    """Compute these columns of all arrays: chunk row after chunk row, where a scheduler in this process does it."""
    region = (slice(None), slice(None), columns)
    parts = [array[region] for array in arrays]
    get = scheduler_here(parts[0].__dask_scheduler__)
    if get is None:
        da.store(parts, targets, lock=False, regions=[region] * len(parts))  # type: ignore[arg-type]
        return
    name = f"store-{uuid.uuid4().hex}"
    layer: dict[Any, Any] = {}
    waves: dict[int, list[Any]] = defaultdict(list)
    for number, (part, target) in enumerate(zip(parts, targets, strict=True)):
        for (i, rows), (j, (left, right)) in product(*(enumerate(_spans(sizes)) for sizes in part.chunks[-2:])):
            window = slice(None), slice(*rows), slice(columns.start + left, columns.start + right)
            key = (name, number, i, j)
            layer[key] = (partial(target.__setitem__, window), (part.name, 0, i, j))
            waves[i].append(key)
    graph = HighLevelGraph.from_collections(name, layer, dependencies=parts)
    optimised: Mapping[Any, Any] = da.optimize(graph, list(layer))  # type: ignore[no-untyped-call]
    run(dict(optimised), [waves[row] for row in sorted(waves)], get)


def _spans(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Start and end of each chunk along an axis."""
    return list(pairwise(accumulate(sizes, initial=0)))


def _strips(widths: Sequence[int]) -> Iterator[slice]:
    """Runs of whole chunks that make up, with their margins, about `_STRIP` columns."""
    total = sum(widths)
    start = stop = 0
    for width in widths:
        reached, left = stop + width, _MARGIN if start else 0
        ends_here = total - start + left <= _STRIP
        if stop > start and not ends_here and reached - start + left + _MARGIN > _STRIP:
            yield slice(start, stop)
            start = stop
        stop = reached
    yield slice(start, stop)
