"""`cloudfix run` against the network alone, and how it scales: `python -m benchmarks.pipeline [--json FILE]`.

The floor of a cloudy scene is the time that the same number of tiles takes in the network, on the same cores, with
nothing read or written; it is taken before and after each run that is compared with it. Each run is a process of its
own under `--profile`, at the faster tile of 128 pixels. It needs Linux's `taskset`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.scene import make_scene
from benchmarks.timing import machine
from cloudfix.models import read_card
from cloudfix.models.registry import default_for
from cloudfix.restoration.network import network, plan_network
from cloudfix.restoration.tiles import Window, tile_grid
from cloudfix.sensors import SLOTS

if TYPE_CHECKING:
    from cloudfix.restoration.network import Planes, Tiles

TILE, OVERLAP = 128, 32
TIMED = 441
"""Tiles that the network alone is timed with; more of them take proportionally longer."""


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        side: of the scene, pixels.
        cores: that it had.
        cover: share of the scene under cloud.
        seconds: from typing the command to its end.
        peak_mb: of resident memory.
        network: share of the profiled time in which the network was busy.
        bound_by: the stage that took the largest share.
    """

    side: int
    cores: int
    cover: float
    seconds: float
    peak_mb: float
    network: float
    bound_by: str


@dataclass(frozen=True)
class OverFloor:
    """One run, and seconds of the network alone just before and just after it.

    Attributes:
        run: the run.
        before: the floor.
        after: the floor once more.
        ratio: how many times their mean the run took.
    """

    run: Row
    before: float
    after: float
    ratio: float


def run(folder: Path, side: int, cover: float, cores: int) -> Row:
    """Make a scene, restore it, and print the row."""
    scene, profile = folder / f"{side}_{cover}.tif", folder / "profile.json"
    if not scene.exists():
        make_scene(scene, side, cover=cover)
    command = [sys.executable, "-m", "cloudfix", "run", str(scene), "--sensor", "sentinel-2-l1c", "-o"]
    command += [str(folder / "out.tif"), "--tile", str(TILE), "--overlap", str(OVERLAP), "--profile", str(profile)]
    began = time.perf_counter()
    process = subprocess.Popen(["taskset", "--cpu-list", f"0-{cores - 1}", *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: exit status {status}")
    seconds = time.perf_counter() - began
    found = json.loads(profile.read_text())
    share = found["stages"].get("network", {"share": 0.0})["share"]
    row = Row(side, cores, cover, round(seconds, 1), round(usage.ru_maxrss / 1024), share, found["bound_by"])
    print(
        f"{side:6}² {cores} cores, {cover:4.0%} cloud: {row.seconds:7.1f} s, {side**2 / seconds / 1e6:6.2f} Mpx/s, "
        f"{row.peak_mb:5.0f} MB, network busy {row.network:4.0%}, bound by {row.bound_by}",
        flush=True,
    )
    return row


def floor(side: int) -> float:
    """Seconds that all tiles of a scene take in the network alone, on all cores."""
    weights = default_for(SLOTS)
    card = read_card(weights)
    net = network(plan_network(weights, card, device="auto", precision="auto", batch_size=None))
    grid = tile_grid(card, side, side, tile=TILE, overlap=OVERLAP)
    count = len(grid.owned(Window(0, side, 0, side)))
    random = np.random.default_rng(0)
    planes: Planes = {slot: random.random((1, TILE, TILE), np.float32) for slot in card.slots}

    def batch(_: None) -> Tiles:
        return planes, {}, None

    for _ in net.map(batch, list(repeat(None, 4))):
        pass
    began = time.perf_counter()
    timed = min(count, TIMED)
    for _ in net.map(batch, list(repeat(None, timed))):
        pass
    seconds = (time.perf_counter() - began) * count / timed
    print(f"{side:6}²: {count} tiles take {seconds:.1f} s in the network alone", flush=True)
    return seconds


def over_floor(folder: Path, side: int, cover: float, cores: int) -> OverFloor:
    """A run between two floors, which tell how fast the machine was before and after."""
    before, row, after = floor(side), run(folder, side, cover, cores), floor(side)
    ratio = row.seconds * 2 / (before + after)
    print(f"{cover:.0%} cloud, {side}²: {ratio:.2f} times the network alone", flush=True)
    return OverFloor(row, before, after, ratio)


def main() -> None:
    """Measure, print the ratios, and write a record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--covers", type=float, nargs="+", default=[0.0, 0.1, 0.5, 1.0])
    parser.add_argument("--largest", type=int, nargs="+", default=[4096, 4096, 8192])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    middle = options.sides[len(options.sides) // 2]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        by_cover = [run(folder, middle, cover, cores) for cover in options.covers]
        cloudiest = [over_floor(folder, side, max(options.covers), cores) for side in options.largest]
        by_side = [run(folder, side, 0.1, cores) for side in options.sides]
        by_cores = [run(folder, middle, 0.1, count) for count in range(1, cores + 1)]
    record: dict[str, Any] = {"floor": floor(middle)}
    first, last = by_side[0], by_side[-1]
    record["growth"] = last.seconds / first.seconds
    print(f"{(last.side / first.side) ** 2:.0f} times the pixels take {record['growth']:.1f} times the time")
    if options.json:
        rows = {"by_cover": by_cover, "by_side": by_side, "by_cores": by_cores, "cloudiest": cloudiest}
        record |= {key: [asdict(row) for row in found] for key, found in rows.items()}
        options.json.write_text(json.dumps(machine() | record, indent=1) + "\n")


if __name__ == "__main__":
    main()
