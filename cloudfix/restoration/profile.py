"""How long each stage of a run was busy, and which one bounds it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import dask
from dask.diagnostics.profile import Profiler

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_TASKS: Mapping[str, str] = MappingProxyType({"cloudfix-read": "read", "classify": "mask", "store": "encode"})
"""Stages by how the names of their tasks begin; those of the network end differently from those of compositing."""

_BEFORE, _AFTER = "open and plan", "put together"


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        busy: seconds, of all threads together.
        share: of the run's time, in which a thread at least was at it.
    """

    busy: float
    share: float


@dataclass
class Profile:
    """Where the time of a run went.

    Attributes:
        seconds: from the beginning to the end.
        stages: by name; they overlap, so that shares may add up to more than 1.
    """

    seconds: float = 0.0
    stages: dict[str, Stage] = field(default_factory=dict)

    @property
    def bound_by(self) -> str:
        """The stage that took the largest share of the time."""
        return max(self.stages, key=lambda name: self.stages[name].share)

    def to_json(self) -> dict[str, Any]:
        """A record for programs."""
        stages = {name: {key: round(value, 3) for key, value in asdict(s).items()} for name, s in self.stages.items()}
        return {"seconds": round(self.seconds, 2), "bound_by": self.bound_by, "stages": stages}


@contextmanager
def profiled() -> Iterator[Profile]:
    """Fill the profile that is yielded with what dask's threads do until the end of the block.

    Dask then runs each stage as tasks of its own, rather than several in one.
    """
    profile, tasks = Profile(), Profiler()  # type: ignore[no-untyped-call]
    began = time.perf_counter()
    with dask.config.set({"optimization.fuse.active": False}), tasks:
        yield profile
    ended = time.perf_counter()
    spans: dict[str, list[tuple[float, float]]] = {}
    for task in tasks.results:
        if stage := _stage(task.key):
            spans.setdefault(stage, []).append((task.start_time, task.end_time))
    # Planning samples the scene, with tasks that read; the mask is the first that only the run itself makes.
    first = min((start for start, _ in spans.get("mask", [])), default=ended)
    last = max((end for _, end in spans.get("encode", [])), default=first)
    spans = {_BEFORE: [(began, first)], **spans, _AFTER: [(last, ended)]}
    profile.seconds = ended - began
    profile.stages = {
        name: Stage(sum(end - start for start, end in found), _covered(found) / profile.seconds)
        for name, found in spans.items()
    }


def _stage(key: Any) -> str | None:
    name = str(key[0] if isinstance(key, tuple) else key)
    if name.startswith("restore-"):
        return "network" if name.endswith("-tiles") else "composite"
    return next((stage for start, stage in _TASKS.items() if name.startswith(start)), None)


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds in which one at least of the spans goes on."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0)
        reached = max(reached, end)
    return total
