"""The workers of a cluster: scenes handed to them, and what they find."""

from __future__ import annotations

import os
import threading
import warnings
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import dask

import cloudfix
from cloudfix.archive.inputs import stamps
from cloudfix.errors import CloudfixError, CloudfixWarning, ClusterError, OutputError
from cloudfix.raster.atomic import staging

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from distributed import Client, Future

    from cloudfix.archive.outcome import Outcome
    from cloudfix.archive.run import Archive
    from cloudfix.archive.scene import Restored, Single
    from cloudfix.archive.tasks import Task

_AHEAD = 4
"""Scenes handed over per worker, so that none waits for the next and a scheduler that adds workers sees the demand."""

_LARGE = 64 * 2**20
"""Bytes of input from which on a scene is worth spreading over several workers."""

_FATAL = "several workers died of it, one after the other; give them more memory"

_ONE_AT_A_TIME = threading.Lock()
"""Held by the scene that a worker process has in hand: it has the network, and dask's settings, to itself."""


@dataclass(frozen=True)
class Workers:
    """Workers that a client reaches.

    Attributes:
        client: of their scheduler.
        title: what messages call it.
        local: how many processes share the cores and GPUs of this machine; 0 if they are not this run's own.
    """

    client: Client
    title: str
    local: int = 0

    def count(self) -> int:
        """How many there are now."""
        with self._connected():
            return len(self.client.scheduler_info(n_workers=-1)["workers"])

    def attempts(self, archive: Archive, tasks: list[Task]) -> Iterator[Outcome]:
        """Try scenes, one a worker; if there are fewer than workers, the chunks of large ones on all of them.

        Raises:
            ClusterError: the scheduler is gone, or its workers cannot do this.
        """
        workers = max(self.count(), 1)
        large = [task for task in tasks if len(tasks) < workers and _size(task) >= _LARGE]
        yield from self._each(archive, [task for task in tasks if task not in large], _AHEAD * workers)
        yield from self._each(archive, large, 1, spread=True)

    def restore(self, single: Single, task: Task) -> Restored:
        """One scene, its chunks on all workers if it is large; its notes are said here as well.

        Raises:
            CloudfixError: as `restore_scene`.
            ClusterError: as `attempts`.
        """
        from distributed import KilledWorker

        spread = self.count() > 1 and _size(task) >= _LARGE
        future = self.client.submit(
            _on_worker, single.absolute(), self._terms(spread=spread), task.absolute(), pure=False
        )
        result: Restored | CloudfixError
        try:
            result, notes = self._result(future)
        except KilledWorker:
            raise ClusterError(f"{task.title}: {_FATAL}") from None
        for note in notes:
            warnings.warn(note, CloudfixWarning, stacklevel=2)
        if isinstance(result, CloudfixError):
            raise result
        return result

    def _each(self, archive: Archive, tasks: list[Task], ahead: int, *, spread: bool = False) -> Iterator[Outcome]:
        from distributed import KilledWorker, as_completed

        attempt = partial(_on_worker, archive.absolute(), self._terms(spread=spread))
        waiting = iter(tasks)
        owners: dict[Future[Any], Task] = {}
        suspects: list[Task] = []

        def hand_over(count: int) -> list[Future[Any]]:
            futures = {
                self.client.submit(attempt, task.absolute(), pure=False): task for task in islice(waiting, count)
            }
            owners.update(futures)
            return list(futures)

        try:
            running = as_completed(hand_over(ahead), raise_errors=False)  # type: ignore[no-untyped-call]
            for future in running:
                task = owners.pop(future)
                try:
                    outcome = replace(self._result(future), task=task)
                except KilledWorker:
                    outcome = None
                running.update(hand_over(1))  # type: ignore[no-untyped-call]
                if outcome is None and ahead > 1:
                    suspects.append(task)
                else:
                    yield outcome or archive.fail(task, f"{task.title}: {_FATAL}")
        except BaseException:
            self._give_up(owners)
            raise
        if suspects:
            # Dask blames a scene for every worker that died while it waited there, too.
            yield from self._each(archive, suspects, 1)

    def _give_up(self, owners: dict[Future[Any], Task]) -> None:
        """Take back scenes that were handed over. Workers that are not ours finish what they have in hand."""
        if self.client.status == "running":
            self.client.cancel(list(owners))  # type: ignore[no-untyped-call]
        if self.local and self.client.cluster is not None:
            self.client.cluster.close()
            _sweep(owners.values())

    def _terms(self, *, spread: bool) -> _Terms:
        return _Terms(cloudfix.__version__, self.local, spread)

    def _result(self, future: Future[Any]) -> Any:
        """What a worker found.

        Raises:
            KilledWorker: several workers died of it.
            CloudfixError: what the worker raised on purpose, or a `ClusterError` for all else.
        """
        from distributed import KilledWorker

        with self._connected():
            error = future.exception()  # type: ignore[no-untyped-call]
            if error is None and not future.cancelled():  # type: ignore[no-untyped-call]
                # Its worker may die before this: then others find it again, and this waits for them.
                return future.result()
        if error is None:
            raise self._gone()
        if isinstance(error, CloudfixError | KilledWorker):
            raise error
        text = " ".join(str(error).split())
        raise ClusterError(
            f"{self.title}: a worker failed ({type(error).__name__}: {text}); install the same cloudfix on every "
            "worker, and let all see the same folders"
        )

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """A connection that breaks is told in one line."""
        try:
            yield
        except (OSError, CancelledError):
            raise self._gone() from None

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"{self.title}: the scheduler is gone; start it again, and the same command goes on with what is left"
        )


class _Terms(NamedTuple):
    """How a worker is to take a scene: `Workers` says what the fields mean."""

    version: str
    share_of: int
    spread: bool


def _on_worker(job: Archive | Single, terms: _Terms, task: Task) -> Any:
    """Try a scene, its chunks on this worker's cores or, if it is to be spread, on all workers."""
    from distributed import get_client, get_worker, worker_client

    if cloudfix.__version__ != terms.version:
        raise ClusterError(
            f"cloudfix {cloudfix.__version__} on a worker, {terms.version} here; install the same everywhere"
        )
    with _ONE_AT_A_TIME:
        if terms.share_of:
            device = _take_share(int(get_worker().name), terms.share_of)
            job = job if device is None else replace(job, options=job.options.on(device))
        if terms.spread:
            with worker_client():
                return job.attempt(task)
        # Dask asks for this client once it locks a file, and its coming into being would undo the setting.
        get_client()
        with dask.config.set(scheduler="threads", num_workers=_cores()):
            return job.attempt(task)


def _take_share(index: int, count: int) -> str | None:
    """Keep this thread, and those it starts, to the worker's share of the cores; its GPU, if there are several."""
    if hasattr(os, "sched_setaffinity"):
        # The process keeps all of them: the next scene of this worker asks again.
        every = sorted(os.sched_getaffinity(os.getpid()))
        os.sched_setaffinity(0, every[index::count] or {every[index % len(every)]})
    from torch.cuda import device_count

    gpus = device_count()
    return f"cuda:{index % gpus}" if gpus > 1 else None


def _sweep(tasks: Iterable[Task]) -> None:
    """Remove what workers that are no more have left half made."""
    for path in (path for task in tasks for path in (*task.outputs, task.hidden_mask)):
        with suppress(OutputError), staging(path):
            pass


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _size(task: Task) -> int:
    """Bytes of the input, as far as it is files here."""
    return sum(stamp[0] for stamp in stamps(task.sources).values() if stamp)
