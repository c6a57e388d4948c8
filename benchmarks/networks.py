"""Networks against their plain float32 versions: `python -m benchmarks.networks [--sides 128 256] [--json FILE]`.

One tile on one core, as `cloudfix run` has it (one tile per core), or on the GPU. "plain" is the arithmetic as
published: float32, N×N attention maps, four gathers for each tap of a deformable convolution. "fast" is what
`--precision bf16` runs. Weights and inputs are random; the error is that of the image on −1…1, after tanh (on 0…1 for
ThiefCloud). Peak memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import machine, take_turns
from cloudfix.models import ac_attention, create
from cloudfix.models.plain_attention import attend_dense

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NETWORKS: dict[str, dict[str, Any]] = {
    "aca-crnet, published": {"name": "aca-crnet"},
    "aca-crnet, multispectral": {
        "name": "aca-crnet", "in_channels": 15, "out_channels": 13, "blocks": 10, "features": 48,
    },
    "dsen2-cr, published": {"name": "dsen2-cr"},
    "thiefcloud, published": {"name": "thiefcloud"},
}  # fmt: skip


def main() -> None:
    """Measure, print a table, and write a record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", choices=["plain", "fast"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = [(name, side) for name in options.networks for side in options.sides]
    if options.peak:
        print(peak(*cases[0], options.peak))
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    for case in cases:
        rows.append(bench(*case, device, options.runs))
        print(describe(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps({**machine(device), "rows": rows}, indent=1) + "\n")


def bench(name: str, side: int, device: str, runs: int) -> dict[str, Any]:
    """Both versions of one network at one size of tile."""
    ways = {version: build(name, side, version, device) for version in ("plain", "fast")}
    with torch.inference_mode():
        timings = take_turns(ways, runs, device)
        difference = ways["fast"]() - ways["plain"]()
    row = {
        "network": name,
        "side": side,
        "seconds": {version: asdict(timing) for version, timing in timings.items()},
        "error": difference.abs().mean().item(),
    }
    if device == "cpu":
        row["peak_mb"] = {version: peak_of_a_process(name, side, version) for version in ways}
    return row


def build(name: str, side: int, version: str, device: str = "cpu") -> Callable[[], Tensor]:
    """A network with random weights, and an input in its own units, as a call that gives the image."""
    torch.manual_seed(0)
    options = dict(NETWORKS[name])
    network = create(options.pop("name"), **options).eval().requires_grad_(False).to(device)
    x = torch.rand(1, next(network.parameters()).shape[1], side, side, device=device)
    x = x if "thiefcloud" in name else 2 * x - 1
    if version == "fast":
        network, x = (part.to(memory_format=torch.channels_last) for part in (network, x))

    def run() -> Tensor:
        with as_published() if version == "plain" else torch.autocast(device, dtype=torch.bfloat16):
            output = network(x)
        image = (output[0] if isinstance(output, tuple) else output).float()
        return image if "thiefcloud" in name else image.tanh()

    return run


@contextmanager
def as_published() -> Iterator[None]:
    """N×N maps, and each corner of each tap gathered by itself."""
    dense = mock.patch.object(ac_attention, "attend", lambda *inputs: attend_dense(*inputs[:4]))
    with dense, mock.patch.object(F, "embedding_bag", gather_corners):
        yield


def gather_corners(index: Tensor, pixels: Tensor, *, per_sample_weights: Tensor, mode: str) -> Tensor:
    """What `embedding_bag` does in one pass."""
    if mode != "sum":
        raise ValueError(mode)
    taps = pixels.new_zeros(len(index), pixels.shape[1])
    for corner in range(index.shape[1]):
        taps = taps.addcmul(pixels[index[:, corner]], per_sample_weights[:, corner, None])
    return taps


def peak_of_a_process(name: str, side: int, version: str) -> float:
    """The most resident memory of a process that runs one version once, as the kernel counted it, in MB."""
    command = [sys.executable, "-m", "benchmarks.networks", "--networks", name, "--sides", str(side), "--peak", version]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def peak(name: str, side: int, version: str) -> float:
    """As `peak_of_a_process`, of this one."""
    run = build(name, side, version)
    with torch.inference_mode():
        run()
    # Not getrusage: there a process begins with the peak of the one that started it.
    status = Path("/proc/self/status").read_text()
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def describe(row: dict[str, Any]) -> str:
    """One line: both times, how many times faster, the error, the memory."""
    times = {version: timing["median"] for version, timing in row["seconds"].items()}
    line = f"{row['network']} {row['side']}²: plain {times['plain']:.2f} s, fast {times['fast']:.2f} s, "
    line += f"{times['plain'] / times['fast']:.1f}×, mean error {row['error']:.4f}"
    if peaks := row.get("peak_mb"):
        line += f", peak {peaks['plain']:.0f} MB and {peaks['fast']:.0f} MB, {peaks['plain'] / peaks['fast']:.1f}×"
    return line


if __name__ == "__main__":
    main()
