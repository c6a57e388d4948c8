"""Forms of the attention: `python -m benchmarks.attention [--channels 48 256] [--backward] [--json FILE]`.

On one core, or on the GPU where there is one. "plain" is the definition with its N×N maps, "blocks" the same in memory
that is linear in N, "fused" the kernel in C or Triton, "SDPA" PyTorch's attention to all keys: what selection costs.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from benchmarks.timing import machine, take_turns
from cloudfix.models.ac_attention import attend
from cloudfix.models.plain_attention import attend_by_blocks, attend_dense

if TYPE_CHECKING:
    from collections.abc import Callable

    Attend = Callable[..., torch.Tensor]

LARGEST_MAP = 16384
"""More positions than that, and the N×N maps of the plain form no longer fit 16 GB."""


def main() -> None:
    """Measure, print a table, and write a record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int, nargs="+", default=[1024, 4096, 16384, 65536])
    parser.add_argument("--channels", type=int, nargs="+", default=[48, 256])
    parser.add_argument("--backward", action="store_true", help="forward and backward")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    rows = []
    for channels in options.channels:
        for positions in options.positions:
            rows.append(bench(positions, channels, device, options.backward, options.runs))
            print(describe(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps({**machine(device), "rows": rows}, indent=1) + "\n")


def bench(positions: int, channels: int, device: str, backward: bool, runs: int) -> dict[str, Any]:
    """Every form at one size, and how far the fused one is from the definition."""
    inputs = tokens(positions, channels, device)
    query, key, value, _ = inputs
    half = [tensor.detach().bfloat16().unsqueeze(1).requires_grad_(backward) for tensor in (query, key, value)]
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "plain": partial(attend_dense, *inputs),
        "blocks": partial(attend_by_blocks, *inputs),
        "SDPA": partial(F.scaled_dot_product_attention, *half, scale=1.0),
        "fused": partial(attend, *inputs, products=torch.bfloat16),
    }
    if positions > LARGEST_MAP or (backward and positions > LARGEST_MAP // 2):
        del ways["plain"]
    with torch.set_grad_enabled(backward):
        if backward:
            for tensor in inputs:
                tensor.requires_grad_()
            ways = {name: partial(forward_and_backward, way) for name, way in ways.items()}
        # minutes a call on a core: the spread of the smaller ones tells enough
        timings = take_turns(ways, runs if positions <= LARGEST_MAP else 1, device)
    row: dict[str, Any] = {"positions": positions, "channels": channels, "backward": backward}
    if not backward:
        reference = attend_by_blocks(*inputs)
        row["error"] = ((attend(*inputs, products=torch.bfloat16) - reference).abs().mean() / reference.std()).item()
    return row | {"seconds": {name: asdict(timing) for name, timing in timings.items()}}


def tokens(positions: int, channels: int, device: str) -> list[torch.Tensor]:
    """Query, key, value and threshold as a network has them: neighbours alike, keys the queries at unit length."""
    torch.manual_seed(0)
    query = torch.randn(1, positions, channels) + torch.randn(1, positions // 64, channels).repeat_interleave(64, dim=1)
    query = 3 * query / channels**0.5
    key = F.normalize(query, dim=2)
    threshold = query @ key.mean(dim=1, keepdim=True).transpose(1, 2) + 0.3 * torch.randn(1, positions, 1)
    return [tensor.to(device) for tensor in (query, key, torch.randn_like(query), threshold)]


def forward_and_backward(way: Callable[[], torch.Tensor]) -> None:
    """One step of training through it."""
    way().sum().backward()


def describe(row: dict[str, Any]) -> str:
    """One line: milliseconds of each form, and how many times faster the fused one is."""
    medians = {name: timing["median"] for name, timing in row["seconds"].items()}
    times = ", ".join(
        f"{name} {seconds * 1e3:.0f} ms ({seconds / medians['fused']:.1f}×)" for name, seconds in medians.items()
    )
    step = "forward and backward" if row["backward"] else "forward"
    error = f", error {row['error']:.4f} of the deviation" if "error" in row else ""
    return f"N={row['positions']} C={row['channels']} {step}: {times}{error}"


if __name__ == "__main__":
    main()
