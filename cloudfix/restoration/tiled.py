"""The Dask graph of a network over a scene: tiles computed once, then put together chunk by chunk."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.base import tokenize

from cloudfix.restoration.graph import Call, as_array, tasks, windows
from cloudfix.restoration.synthesis import composite, synthesise, thickness_of
from cloudfix.restoration.tiles import cover

if TYPE_CHECKING:
    from collections.abc import Callable

    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

    from cloudfix.restoration.graph import Chunks, Key
    from cloudfix.restoration.synthesis import Job
    from cloudfix.restoration.tiles import Window

    Finish = Callable[..., Any]


def restored(scene: da.Array, weight: da.Array, radar: da.Array | None, job: Job) -> da.Array:
    """The scene (band, y, x) with the network's output composited in by `weight` (y, x)."""
    inputs = (scene, weight) if radar is None else (scene, weight, radar)
    name = f"restore-{tokenize(job, *(array.name for array in inputs))}"
    graph = _graph(name, job, inputs, composite, (scene, weight))
    return as_array(name, graph, _chunks(scene), scene.dtype, bands=scene.shape[0])


def thickness(scene: da.Array, job: Job) -> da.Array:
    """Thickness of the cloud (y, x) by a thickness network, 0…1, NaN where the scene has no data."""
    name = f"thickness-{tokenize(job, scene.name)}"
    graph = _graph(name, job, (scene,), thickness_of, (scene,))
    planes = as_array(name, graph, _chunks(scene), np.dtype(np.float32), bands=1)
    return planes[0]  # type: ignore[no-any-return]


def _graph(
    name: str, job: Job, inputs: tuple[da.Array, ...], finish: Finish, finished_from: tuple[da.Array, ...]
) -> HighLevelGraph:
    """Every tile is computed by the one chunk in which it begins, and handed to the chunks that it reaches into.

    Those that reach over the chunk's right edge are a task of their own, so that who wants the chunk to the right
    alone need not compute the others.
    """
    chunks = windows(_chunks(inputs[0]))
    owned = {
        (*index, over): tiles
        for index, chunk in chunks.items()
        for over in (False, True)
        if (tiles := [tile for tile in job.grid.owned(chunk) if (tile.right > chunk.right) == over])
    }
    frames = {index: cover(tiles) for index, tiles in owned.items()}
    parts = f"{name}-tiles"
    syntheses = {
        index: Call(partial(synthesise, job, owned[index]), tuple((array, frame) for array in inputs), lazy=True)
        for index, frame in frames.items()
    }
    outputs = {}
    for index, near in _reaching(chunks, frames).items():
        outputs[0, *index] = Call(
            partial(finish, job, chunks[index], [frames[k] for k in near]),
            tuple((array, chunks[index]) for array in finished_from),
            tuple((parts, *k) for k in near),
        )
    return tasks(name, outputs, tasks(parts, syntheses))


def _chunks(scene: da.Array) -> Chunks:
    rows, columns = scene.chunks[-2:]
    return rows, columns


def _reaching(chunks: dict[Key, Window], frames: dict[Key, Window]) -> dict[Key, list[Key]]:
    """Which frames reach into each chunk. Rows and columns are asked apart: a mosaic has many thousand chunks."""
    rows = {i: frame[:2] for (i, *_), frame in frames.items()}
    columns = {tuple(across): frame[2:] for (_, *across), frame in frames.items()}

    def near(spans: dict[Any, tuple[int, int]], start: int, stop: int) -> list[Any]:
        return [k for k, (low, high) in spans.items() if low < stop and high > start]

    down = {i: near(rows, chunk.top, chunk.bottom) for (i, _), chunk in chunks.items()}
    across = {j: near(columns, chunk.left, chunk.right) for (_, j), chunk in chunks.items()}
    return {(i, j): [(k, *m) for k in down[i] for m in across[j]] for i, j in chunks}
