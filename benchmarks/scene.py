"""Memory and time of `cloudfix run` on scenes of two sizes: `python -m benchmarks.scene [--side 10980] [--turns 3]`.

Every row is a process of its own, so its peak memory is its own. The reference is the same file copied to the same
kind of COG by cloudfix without any restoration; beside it the same by GDAL's COG driver, with all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from benchmarks.timing import machine

SAMPLE = Path(__file__).parent.parent / "sample_data" / "sentinel2_clear.tif"
CLOUD = 128
"""Side of a square cloud."""
CLOUD_DN = 6000
BRIGHTEST_DN = 1200
"""Roofs and beaches of the texture are cut off here: the masks would call some of them cloud."""
COPIED = "copy to a COG"
RUN = [sys.executable, "-m", "cloudfix", "run"]
COPY = (
    "import sys, cloudfix; cloudfix.write_cog(cloudfix.open_scene(sys.argv[1], sensor='sentinel-2-l1c'), sys.argv[3])"
)
GDAL_COPY = (
    "import sys, rasterio, rasterio.shutil\n"
    "with rasterio.Env(GDAL_NUM_THREADS='ALL_CPUS'):\n"
    "    rasterio.shutil.copy(sys.argv[1], sys.argv[3], driver='COG', blocksize=512, bigtiff='IF_SAFER', "
    "compress='DEFLATE', predictor='YES', num_threads='ALL_CPUS')"
)


@dataclass(frozen=True)
class Row:
    """One measured process."""

    what: str
    side: int
    seconds: float
    peak_mb: float
    stages: dict[str, dict[str, float]] = field(default_factory=dict)


def make_scene(path: Path, side: int, *, cover: float) -> None:
    """Write a 13-band Sentinel-2 L1C scene: the clear sample, mirrored, with square clouds over a share of it."""
    with rasterio.open(SAMPLE) as sample:
        texture = np.minimum(sample.read(), BRIGHTEST_DN)
        profile = sample.profile | {
            "width": side, "height": side, "tiled": True, "blockxsize": 512, "blockysize": 512,
            "compress": "zstd", "zstd_level": 1, "interleave": "band", "bigtiff": "if_safer",
        }  # fmt: skip
        descriptions = sample.descriptions
    texture = np.concatenate([texture, texture[:, ::-1]], axis=1)
    texture = np.concatenate([texture, texture[:, :, ::-1]], axis=2)
    squares = [(top, left) for top in range(0, side, CLOUD) for left in range(0, side, CLOUD)]
    clouds = round(cover * len(squares))
    corners = np.random.default_rng(0).permutation(squares)[:clouds]
    with rasterio.open(path, "w", **profile) as target:
        target.descriptions = descriptions
        step = texture.shape[1]
        for top in range(0, side, step):
            for left in range(0, side, step):
                block = texture[:, : side - top, : side - left].copy()
                for y, x in corners:
                    rows, columns = (slice(max(c - o, 0), max(c - o + CLOUD, 0)) for c, o in ((y, top), (x, left)))
                    block[:, rows, columns] = CLOUD_DN
                target.write(block, window=Window(left, top, block.shape[2], block.shape[1]))


def measure(what: str, side: int, command: list[str]) -> Row:
    """Run `command`; its time and the peak of its resident memory, as the kernel counted it."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: exit status {status}")
    row = Row(what, side, round(time.perf_counter() - began, 1), round(usage.ru_maxrss / 1024))
    print(f"{row.what:28} {row.side:6}²  {row.seconds:8.1f} s  {row.peak_mb:6.0f} MB", flush=True)
    return row


def bench(folder: Path, side: int, turns: int) -> list[Row]:
    """In turns: both copies, run without a cloud, run with sparse clouds, over a three-hundredth of the scene."""
    clear, cloudy, out = folder / f"clear{side}.tif", folder / f"cloudy{side}.tif", folder / "out.tif"
    make_scene(clear, side, cover=0)
    make_scene(cloudy, side, cover=1 / 300)
    profile, rows = folder / "profile.json", []
    for _ in range(turns):
        for what, code in ((COPIED, COPY), ("copy by GDAL", GDAL_COPY)):
            rows.append(measure(what, side, [sys.executable, "-c", code, str(clear), "-o", str(out)]))
        for what, scene in (("run, no cloud", clear), ("run, sparse cloud", cloudy)):
            command = [*RUN, str(scene), "--sensor", "sentinel-2-l1c", "-o", str(out), "--profile", str(profile)]
            row = replace(measure(what, side, command), stages=json.loads(profile.read_text())["stages"])
            for name, stage in row.stages.items():
                print(f"    {name:24} busy {stage['busy']:7.1f} s, {stage['share']:4.0%} of the time")
            rows.append(row)
    return rows


def print_ratios(rows: list[Row]) -> None:
    """How many times as long as the copy of the same turn each run took: the median, the least and the most."""
    seconds: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        seconds.setdefault((row.what, row.side), []).append(row.seconds)
    for (what, side), taken in seconds.items():
        ratios = [mine / copied for mine, copied in zip(taken, seconds[COPIED, side], strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{what}, {side}²: {statistics.median(taken):.1f} s, {spread} times the copy")


def main() -> None:
    """Measure, print the ratios, and write a JSON record beside the hardware."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10980)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sides = (options.side // 2, options.side)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for side in sides for row in bench(Path(folder), side, options.turns)]
    print_ratios(rows)
    if options.json:
        options.json.write_text(json.dumps(machine() | {"rows": [asdict(row) for row in rows]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
