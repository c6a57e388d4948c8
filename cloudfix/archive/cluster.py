"""Where workers come from: processes of this machine, or a cluster of dask.distributed."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import dask
import dask.threaded

from cloudfix.archive.workers import Workers
from cloudfix.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_PATIENCE = 60
"""Seconds to wait for a scheduler, and for its first worker."""

_LOUD = ("distributed", "distributed.client")
"""Loggers to which dask.distributed gives levels of their own."""


@contextmanager
def reach(address: str | None, count: int | None) -> Iterator[Workers | None]:
    """The workers of a scheduler, or `count` of this machine; None if neither is asked for.

    Raises:
        UsageError: both, or dask.distributed is not installed.
        ClusterError: there are none at that address.
    """
    if address is not None and count is not None:
        raise UsageError(f"--dask {address} --workers {count}: expected one of them")
    if address is not None:
        with remote_workers(address) as workers:
            yield workers
    elif count is not None:
        with local_workers(count) as workers:
            yield workers
    else:
        # Not by its name: for that dask imports dask.distributed, only to find no client.
        with dask.config.set(scheduler=dask.threaded.get):
            yield None


@contextmanager
def local_workers(count: int) -> Iterator[Workers]:
    """Worker processes of this machine, each with its share of the cores, and of the GPUs if there are any.

    Raises:
        UsageError: a count below 1, or dask.distributed is not installed.
    """
    if count < 1:
        raise UsageError(f"--workers {count}: expected at least 1")
    distributed = _distributed("--workers")
    with (
        _quiet(),
        distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield Workers(client, f"--workers {count}", local=count)


@contextmanager
def remote_workers(address: str) -> Iterator[Workers]:
    """The workers of the scheduler at `address`.

    Raises:
        ClusterError: it does not answer, or has no worker.
        UsageError: dask.distributed is not installed.
    """
    distributed = _distributed("--dask")
    title = f"--dask {address}"
    with _quiet():
        try:
            client = distributed.Client(address, timeout=_PATIENCE)
        except (OSError, ValueError, TypeError) as reason:
            raise ClusterError(
                f"{title}: no scheduler answers ({' '.join(str(reason).split())}); expected an address such as tcp://host:8786"
            ) from None
        with client:
            try:
                client.wait_for_workers(1, timeout=_PATIENCE)
            except TimeoutError:
                raise ClusterError(f"{title}: no worker joined within {_PATIENCE} s; start `dask worker`s") from None
            yield Workers(client, title)


def _distributed(option: str) -> ModuleType:
    try:
        return import_module("distributed")
    except ImportError:
        raise UsageError(f"{option}: needs dask.distributed; pip install 'cloudfix[cluster]'") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log of dask.distributed, which tells of lost workers and connections in tracebacks."""
    loggers = [logging.getLogger(name) for name in _LOUD]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
