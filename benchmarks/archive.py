"""Archives under stress, and at speed: `python -m benchmarks.archive [--scenes 200] [--kills 20] [--json FILE]`.

Scenes are crops of the Sentinel-2 sample, some of them spoilt. What has to hold is asserted: a run that was killed
again and again, and one on a cluster that lost a worker, end with the files of a quiet run, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

SAMPLE = Path(__file__).parent.parent / "sample_data" / "sentinel2_cloudy.tif"
SIDE = 64
RUN = [sys.executable, "-m", "cloudfix", "run", "--out-dir", "clear", "--tile", "64", "--overlap", "16", "--from-file"]
LOOP = """
import sys, time, warnings
from pathlib import Path
import cloudfix
warnings.simplefilter("ignore")
for k, path in enumerate(sys.argv[1:]):
    if k == 1:
        began = time.perf_counter()
    clear = cloudfix.restore(cloudfix.open_scene(path), tile=64, overlap=16)
    cloudfix.write_cog(clear, Path("loop") / Path(path).name)
print(time.perf_counter() - began)
"""


@dataclass(frozen=True)
class Run:
    """One run of the command: exit code, outputs printed, seconds from start to end, from first output to last."""

    code: int
    outputs: int
    seconds: float
    steady: float
    said: str
    """What it wrote to stderr."""
    memory: tuple[int, ...]
    """Resident MB as each output was printed."""


def make_scenes(folder: Path, count: int, bad: int) -> list[str]:
    """Crops of the sample, `bad` of them spoilt in five ways; their names in random order."""
    rng = np.random.default_rng(0)
    with rasterio.open(SAMPLE) as sample:
        profile = {key: value for key, value in sample.profile.items() if not key.startswith(("block", "tiled"))}
        for k in range(count):
            top, left = rng.integers(0, [sample.height - SIDE, sample.width - SIDE]).tolist()
            window = Window(left, top, SIDE, SIDE)
            profile |= {"height": SIDE, "width": SIDE, "transform": sample.window_transform(window)}
            with rasterio.open(folder / f"{k:04}.tif", "w", **profile) as file:
                file.write(sample.read(window=window))
                file.descriptions = sample.descriptions
    names = [f"{k:04}.tif" for k in range(count)]
    random.Random(0).shuffle(names)  # noqa: S311
    for k, name in enumerate(sorted(names[:bad])):
        spoil(folder / name, k % 5)
    return names


def spoil(path: Path, way: int) -> None:
    """Make a scene one that cannot be restored."""
    whole = path.read_bytes()
    path.unlink()
    if way == 0:
        path.write_bytes(whole[: len(whole) // 2])
    elif way == 1:
        path.write_text("not a raster\n")
    elif way == 2:
        path.mkdir()
    elif way == 3:
        path.touch()
    else:
        shape = {"width": SIDE, "height": SIDE, "count": 4, "transform": from_origin(0, 0, 10, 10)}
        with rasterio.open(path, "w", driver="GTiff", dtype="uint16", **shape) as file:
            file.write(np.full((4, SIDE, SIDE), 900, "uint16"))


def run(folder: Path, *options: str, kill_after: float | None = None, each: Any = None) -> Run:
    """Run the command over all scenes of a folder, maybe kill it, and watch its outputs and memory."""
    began = time.perf_counter()
    said = folder / "stderr"
    with said.open("w") as stderr:
        process = subprocess.Popen(
            [*RUN, "list", *options], cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    if kill_after is not None:
        time.sleep(kill_after)
        process.kill()
    times, memory = [], []
    for _ in process.stdout or ():
        times.append(time.perf_counter())
        memory.append(resident(process.pid))
        if each is not None:
            each(len(times), process.pid)
    code = process.wait()
    steady = times[-1] - times[0] if len(times) > 1 else 0.0
    return Run(code, len(times), time.perf_counter() - began, steady, said.read_text(), tuple(memory))


def resident(pid: int) -> int:
    """Resident memory of a process in MB; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0)


def made(folder: Path) -> dict[str, bytes]:
    """Outputs by name."""
    return {path.name: path.read_bytes() for path in (folder / "clear").glob("*.tif")}


def set_aside(folder: Path, name: str) -> None:
    """Make room for another run."""
    (folder / "clear").rename(folder / name)


def worker_of(pid: int) -> int | None:
    """A worker process of a run: a child that has a network in memory."""
    children = [child for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]
    return next((int(child) for child in children if resident(int(child)) > 100), None)


def stress(folder: Path, count: int, bad: int, kills: int) -> dict[str, Any]:
    """What an archive has to survive; the figures."""
    (folder / "list").write_text("\n".join(make_scenes(folder, count, bad)))
    good = count - bad
    quiet = run(folder)
    expected = made(folder)
    require(quiet.code == 1 and len(expected) == good, f"a quiet run makes {good} files", quiet)
    records = [json.loads(path.read_bytes()) for path in (folder / "clear" / ".cloudfix").glob("*.json")]
    reasons = [record["reason"] for record in records if record["status"] == "failed"]
    require(len(reasons) == bad and all(reasons), f"{bad} reasons")
    again = run(folder)
    require(again.code == 1 and again.outputs == 0, "a second run does nothing", again)
    require(again.seconds < 10, "in less than 10 s")

    set_aside(folder, "quiet")
    rng = random.Random(1)  # noqa: S311
    alive = quiet.seconds - quiet.steady
    for _ in range(kills):
        run(folder, kill_after=alive + rng.uniform(-0.3, 2.0 * quiet.steady / max(kills, 1)))
    survived = len(made(folder))
    last = run(folder)
    require(last.code == 1 and made(folder) == expected, f"the same files after {kills} kills", last)
    require(not list((folder / "clear").glob(".*.partial")), "nothing half made")

    set_aside(folder, "killed")
    lost: list[int] = []

    def kill_a_worker(outputs: int, pid: int) -> None:
        victim = worker_of(pid)
        if outputs == good // 3 and victim is not None:
            os.kill(victim, signal.SIGKILL)
            lost.append(victim)

    spread = run(folder, "--workers", "3", each=kill_a_worker)
    require(len(lost) == 1, "a worker was killed")
    require(spread.code == 1 and made(folder) == expected, "the same files from a cluster that lost a worker", spread)
    return {
        "scenes": count, "bad": bad, "quiet_s": quiet.seconds, "second_run_s": again.seconds, "kills": kills,
        "files_after_kills": survived, "cluster_s": spread.seconds,
    }  # fmt: skip


def speed(folder: Path, count: int) -> dict[str, Any]:
    """Scenes a minute after the first one, and memory over time."""
    names = sorted(make_scenes(folder, count, 0))
    (folder / "list").write_text("\n".join(names))
    (folder / "loop").mkdir()
    printed = subprocess.run(
        [sys.executable, "-c", LOOP, *names], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    figures: dict[str, Any] = {"scenes": count, "loop_per_min": 60 * (count - 1) / float(printed)}
    for title, options in (("archive", ()), ("workers_1", ("--workers", "1")), ("workers_2", ("--workers", "2"))):
        done = run(folder, *options)
        require(done.outputs == count, f"{title}: all scenes", done)
        figures[f"{title}_per_min"] = 60 * (count - 1) / done.steady
        if title == "archive":
            tenth, last = done.memory[min(9, count - 1)], done.memory[-1]
            figures |= {"memory_mb_at_10": tenth, "memory_mb_at_end": last, "memory_mb_peak": max(done.memory)}
        set_aside(folder, title)
    return figures


def require(holds: bool, what: str, *runs: Run) -> None:
    """Say that something holds, or end with what the runs that it is about said."""
    print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)
    if not holds:
        raise SystemExit("".join(run.said for run in runs) or 1)


def main() -> None:
    """Measure, print, and write a JSON record beside the hardware."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--bad", type=int, default=10)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--timed", type=int, default=100, help="scenes of the timed runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures: dict[str, Any] = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as folder:
        figures["stress"] = stress(Path(folder), options.scenes, options.bad, options.kills)
    with tempfile.TemporaryDirectory() as folder:
        figures["speed"] = speed(Path(folder), options.timed)
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
