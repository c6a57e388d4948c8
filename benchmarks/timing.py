"""Times of several ways to do one thing, taken in turns so that what else the machine does falls on all alike."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Timing:
    """Seconds: the median of `runs`, the fastest and the slowest."""

    median: float
    fastest: float
    slowest: float
    runs: int

    def __str__(self) -> str:
        return f"{self.median * 1e3:.0f} ms ({self.fastest * 1e3:.0f}–{self.slowest * 1e3:.0f})"


def take_turns(ways: Mapping[str, Callable[[], object]], runs: int, device: str = "cpu") -> dict[str, Timing]:
    """Call each way once to warm up, then `runs` times in turns.

    On a CPU it is the time that this thread had a core for, so other processes slow it through shared caches alone;
    on a GPU the time until it is idle again.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(runs + 1):
        for name, way in ways.items():
            began = _now(device)
            way()
            if turn:
                seconds[name].append(_now(device) - began)
    return {name: Timing(statistics.median(s), min(s), max(s), runs) for name, s in seconds.items()}


def machine(device: str = "cpu") -> dict[str, Any]:
    """What the times were taken on, and of which commit."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    record = {"processor": _processor(), "cores": os.cpu_count(), "torch": torch.__version__}
    if device == "cuda":
        record["gpu"] = torch.cuda.get_device_name()
    return record | {"commit": commit.stdout.strip() or "unknown", "threads": torch.get_num_threads()}


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.thread_time()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    extensions = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    name = facts.get("model name", platform.processor() or platform.machine())
    return " ".join([name, f"family {facts['cpu family']}", *extensions]) if "cpu family" in facts else name
