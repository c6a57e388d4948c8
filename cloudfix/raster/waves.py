"""A graph computed in waves, so that memory holds what one wave needs however many there are.

Which of a graph's tasks come first is dask's own choice: over a tall scene it went down the columns, and kept chunks
of the scene's whole height.
"""

from __future__ import annotations

import ctypes
import sys
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

import dask
import dask.base
import dask.local
import dask.threaded
from dask.optimization import cull

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    Key = tuple[Any, ...]
    Get = Callable[..., Any]


def scheduler_here(default: Get) -> Get | None:
    """The scheduler that dask would use, if its results are in this process and cost nothing to hand back.

    Args:
        default: the scheduler where nothing is configured.
    """
    get = dask.base.get_scheduler() or default  # type: ignore[no-untyped-call]
    return get if get in (dask.threaded.get, dask.local.get_sync) else None


def run(graph: Mapping[Any, Any], waves: Sequence[Sequence[Key]], get: Get) -> None:
    """Compute `waves` one after the other, and every task they need once.

    Args:
        graph: a low-level graph.
        waves: keys whose tasks return nothing of interest.
        get: from `scheduler_here`.
    """
    # What no wave asks for would never be done, and what it stands on be kept for good.
    graph, below = cull(graph, [key for wave in waves for key in wave])  # type: ignore[no-untyped-call]
    above: dict[Any, set[Any]] = defaultdict(set)
    for key, dependencies in below.items():
        for dependency in dependencies:
            above[dependency].add(key)
    done: set[Any] = set()
    kept: dict[Any, Any] = {}
    for wave in waves:
        tasks, reused = _needed(wave, below, kept)
        done |= tasks
        wanted = [key for key in (*tasks, *reused) if above[key] - done]
        # A result leaves `kept` as it is taken, so that the scheduler may drop it after its last use.
        part = {key: graph[key] for key in tasks} | {key: (partial(kept.pop, key),) for key in reused}
        # In no variable, which would hold them until the next wave is over.
        kept |= dict(zip(wanted, get(part, [wanted, list(wave)])[0], strict=True))
        _give_back()


def _give_back() -> None:
    """Return freed memory to the system: glibc keeps what lies between small things that live on, wave after wave."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _needed(
    wave: Sequence[Key], below: Mapping[Any, Collection[Any]], kept: Mapping[Any, Any]
) -> tuple[set[Any], set[Any]]:
    """Which tasks are to be run for `wave`, and which results that are kept they take."""
    tasks: set[Any] = set()
    reused: set[Any] = set()
    stack: list[Any] = list(wave)
    while stack:
        key = stack.pop()
        if key in kept:
            reused.add(key)
        elif key not in tasks:
            tasks.add(key)
            stack.extend(below[key])
    return tasks, reused
