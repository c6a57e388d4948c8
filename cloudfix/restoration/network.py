"""Weights on a device, run over batches of tiles of one shape."""

from __future__ import annotations

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from cloudfix.errors import ModelError, UsageError
from cloudfix.models.inputs import assemble, assemble_ground, to_reflectance
from cloudfix.models.weights import load
from cloudfix.restoration.capacity import capacity
from cloudfix.restoration.transfer import fetch, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from cloudfix.models.cards import Card
    from cloudfix.restoration.transfer import Arriving

    Planes = Mapping[str, NDArray[np.float32]]
    Tiles = tuple[Planes, Planes, NDArray[np.float32] | None]
    """Optical and SAR planes of some tiles, and the ground around them, as `Network.start` takes them."""

Item = TypeVar("Item")

_WORTH_COMPILING = 20_000
"""Tiles from which on it pays to compile the network, which takes a minute or so: more than one Sentinel-2 tile has."""

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""The arithmetic that convolutions may run in; sums, norms and attention scores stay in float32."""


@dataclass(frozen=True)
class NetworkPlan:
    """Which weights run where and how; small enough to travel to any worker.

    Attributes:
        weights: registered name or path of a weights file.
        checksum: of its tensors, so that a worker with other weights under that name refuses to mix in.
        device: a torch device.
        precision: a key of `PRECISIONS`.
        batch_size: tiles in every call; the last batch is padded to it, so that one shape serves all.
        compiled: whether `torch.compile` fuses operations and replays them as a CUDA graph.
    """

    weights: str
    checksum: str
    device: str
    precision: str
    batch_size: int
    compiled: bool = False


def resolve_device(device: str) -> str:
    """The torch device meant by `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        UsageError: this machine has no such device.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise UsageError(f"--device {device}: expected auto, cpu, cuda, cuda:N or mps")
    kind, _, index = device.partition(":")
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if int(index or 0) >= available[kind]:
        raise UsageError(f"--device {device}: this machine has {available[kind]} of them; use --device auto")
    return device


def resolve_precision(precision: str, device: str) -> str:
    """The arithmetic meant by `auto`: bfloat16 where the hardware multiplies it, float32 elsewhere.

    Raises:
        UsageError: unknown, or float16 on a CPU.
    """
    if precision == "auto":
        native = torch.cuda.is_bf16_supported(False) if device.startswith("cuda") else _cpu_multiplies_bf16(device)
        return "bf16" if native else "fp32"
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision}: expected auto, {', '.join(PRECISIONS)}")
    if precision == "fp16" and device == "cpu":
        raise UsageError("--precision fp16: needs a GPU; on a CPU use bf16 or fp32")
    return precision


def _cpu_multiplies_bf16(device: str) -> bool:
    # Older versions of torch cannot tell: float32 serves everywhere.
    capabilities: Callable[[], Mapping[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
    flags = capabilities() if device == "cpu" else {}
    return bool(flags.get("avx512_bf16") or flags.get("amx_bf16") or flags.get("bf16"))


def arithmetic(precision: str, device: str) -> AbstractContextManager[object]:
    """Within it, networks on `device` run in `precision`, a key of `PRECISIONS`."""
    kind = device.partition(":")[0]
    if precision == "fp32":
        # TF32, which cuDNN takes by default, keeps 10 bits.
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if kind == "cuda" else nullcontext()
    return torch.autocast(kind, dtype=PRECISIONS[precision])


class Network:
    """A loaded model that maps tiles of reflectance to tiles of reflectance.

    On a CPU each batch runs on one core, and as many at a time as there are cores: rounding in float32 depends on how
    many threads share a sum, and so would the output, were it not always one. (`torch.set_num_threads` has no scope
    narrower than the process, so other work with torch in the same process runs on one core as well.)

    Raises:
        ModelError: the weights are not those of the plan.
    """

    def __init__(self, plan: NetworkPlan) -> None:
        module, self.card = load(plan.weights, device=plan.device)
        if self.card.checksum != plan.checksum:
            raise ModelError(
                f"{plan.weights}: checksum {self.card.checksum[:12]}… here, {plan.checksum[:12]}… where the run "
                "began; install the same weights on every machine"
            )
        # torch declares this overload for tensors only.
        self._plain = module.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._module = self._plain
        if plan.compiled:
            self._module = torch.compile(self._plain, mode="reduce-overhead", dynamic=False)
        self._plan = plan
        self._fitting = None if plan.device.startswith("cuda") else plan.batch_size
        on_cpu = plan.device == "cpu"
        self._pool = ThreadPoolExecutor(
            max_workers=_cores() if on_cpu else 1,
            thread_name_prefix="network",
            initializer=partial(torch.set_num_threads, 1) if on_cpu else None,
        )

    def map(self, batch: Callable[[Item], Tiles], items: Sequence[Item]) -> Iterator[NDArray[np.float32]]:
        """Restore `batch(item)`, some tiles, for every item, in their order.

        Each as `start` takes and gives them.

        Raises:
            ModelError: the network gave NaN or infinity, or the device is too small for one tile.
        """
        started = self._pool.map(lambda item: self.start(*batch(item)), items)
        return (self._checked(output) for output in started)

    def start(self, optical: Planes, sar: Planes, ground: NDArray[np.float32] | None = None) -> Arriving:
        """Restore up to `batch_size` tiles; a GPU may still be at it on return, while the next batch is prepared.

        Args:
            optical: reflectance by slot, each (tiles, height, width).
            sar: σ⁰ in dB by polarisation, each (tiles, height, width); empty without radar.
            ground: for a card that takes it, what lies around each tile, (tiles, slots of the card + 1).

        Returns:
            Reflectance of every slot of the card, (tiles, slots, height, width).

        Raises:
            ModelError: the device is too small for one tile.
        """
        count = len(next(iter(optical.values())))
        with torch.inference_mode():
            inputs = assemble(self.card, self._on_device(optical), self._on_device(sar) or None)
            with arithmetic(self._plan.precision, self._plan.device):
                outputs = self._forward(inputs.contiguous(memory_format=torch.channels_last), *self._around(ground))
            return fetch(to_reflectance(self.card, outputs)[:count])

    def _checked(self, output: Arriving) -> NDArray[np.float32]:
        restored: NDArray[np.float32] = output.wait()
        if not np.isfinite(restored).all():
            raise ModelError(
                f"{self._plan.weights}: the network gave NaN or infinity in {self._plan.precision}; "
                "run again with --precision fp32"
            )
        return restored

    def _forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The network's output, part after part once the device has turned out too small for the whole batch."""
        parts = self._parts(inputs)
        try:
            if self._fitting is None:
                self._fitting = min(capacity(self._plain, parts[0][0]), len(inputs[0]))
                parts = self._parts(inputs)
            return torch.cat([self._module(*part) for part in parts]) if len(parts) > 1 else self._module(*inputs)
        except torch.OutOfMemoryError:
            if len(parts[0][0]) == 1:
                height, width = inputs[0].shape[-2:]
                raise ModelError(
                    f"{self._plan.weights}: {self._plan.device} has not enough free memory for one tile of {height} × "
                    f"{width}; use a smaller --tile, or --device cpu"
                ) from None
        # Outside of the handler, whose traceback holds on to what the attempt took.
        self._fitting = len(parts[0][0]) // 2
        if inputs[0].is_cuda:
            torch.cuda.empty_cache()
        return self._forward(*inputs)

    def _parts(self, inputs: tuple[torch.Tensor, ...]) -> list[tuple[torch.Tensor, ...]]:
        return list(zip(*(torch.split(tensor, self._fitting or 1) for tensor in inputs), strict=True))

    def _around(self, ground: NDArray[np.float32] | None) -> tuple[torch.Tensor, ...]:
        """The ground in the network's units, for a network that takes it."""
        if not self.card.takes_ground:
            return ()
        if ground is None:
            ground = np.full((self._plan.batch_size, len(self.card.slots) + 1), np.nan, np.float32)
        lacking = self._plan.batch_size - len(ground)
        filled = np.pad(ground, ((0, lacking), (0, 0)), constant_values=np.nan)
        return (assemble_ground(self.card, send(filled, self._plan.device)),)

    def _on_device(self, planes: Planes) -> dict[str, torch.Tensor]:
        return {name: send(self._filled(a), self._plan.device) for name, a in planes.items()}

    def _filled(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        lacking = self._plan.batch_size - len(tiles)
        return np.pad(tiles, ((0, lacking), (0, 0), (0, 0))) if lacking else tiles


def _cores() -> int:
    # Not torch.get_num_threads: it is 1 in a dask.distributed worker, and after the first network here.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_LOADING = threading.Lock()


def network(plan: NetworkPlan) -> Network:
    """The loaded network of `plan`: once per process, however many threads ask at the same time."""
    with _LOADING:
        return _load(plan)


_load = lru_cache(maxsize=2)(Network)


def plan_network(
    weights: str, card: Card, *, device: str, precision: str, batch_size: int | None, tiles: int = 0
) -> NetworkPlan:
    """Settle what `auto` leaves open.

    Args:
        weights: registered name or path of a weights file.
        card: of these weights.
        device: as for `resolve_device`.
        precision: as for `resolve_precision`.
        batch_size: tiles in every call; None for what suits the device.
        tiles: how many the network has before it.

    Raises:
        UsageError: an option that this machine cannot serve.
    """
    device = resolve_device(device)
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: expected at least 1")
    size = batch_size or (1 if device == "cpu" else 8)
    compiled = device.startswith("cuda") and tiles >= _WORTH_COMPILING and find_spec("triton") is not None
    return NetworkPlan(weights, card.checksum, device, resolve_precision(precision, device), size, compiled)
