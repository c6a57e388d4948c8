"""Where the time of one run goes: `python -m benchmarks.stages SCENE [cloudfix.open_scene's sensor]`.

Tasks of the Dask graph are summed by stage over both threads; what comes after the last one is the encoding of the COG.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from dask.diagnostics import Profiler

import cloudfix

STAGES = {
    "read": ("cloudfix-read",),
    "network and blending": ("synthesise",),
    # Dask fuses what follows a slice into one task, so these cannot be told apart.
    "mask, compositing, writing scratch": ("classify", "getitem", "restore", "store"),
}


def main() -> None:
    """Run, and print seconds by stage as JSON."""
    sensor = sys.argv[2] if len(sys.argv) > 2 else None
    began = time.perf_counter()
    scene = cloudfix.open_scene(sys.argv[1], sensor=sensor)
    restored = cloudfix.restore(scene)
    prepared = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Profiler() as profile:
        cloudfix.write_cog(restored, Path(folder) / "out.tif")
    ended = time.perf_counter()
    busy: Counter[str] = Counter()
    for task in profile.results:
        busy[_stage(str(task.key))] += task.end_time - task.start_time
    graph_end = max(task.end_time for task in profile.results)
    graph_start = min(task.start_time for task in profile.results)
    record = {"prepare": prepared - began, **busy, "graph, wall": graph_end - graph_start}
    record |= {"overviews and COG": ended - prepared - record["graph, wall"], "all, wall": ended - began}
    print(json.dumps({name: round(seconds, 1) for name, seconds in record.items()}, indent=1))


def _stage(key: str) -> str:
    name = key.lstrip("('")
    return next((stage for stage, starts in STAGES.items() if name.startswith(starts)), "other")


if __name__ == "__main__":
    main()
