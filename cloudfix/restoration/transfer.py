"""Arrays to a device and back, so that a GPU and the host need not wait for each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Arriving:
    """Values on their way to the host.

    Attributes:
        values: where they arrive, in pinned memory if they come from a GPU.
        arrived: what happens on the GPU once they have; None if they are there.
    """

    values: Tensor
    arrived: torch.cuda.Event | None = None

    def wait(self) -> NDArray[Any]:
        """The values, as soon as they are there; from any thread."""
        if self.arrived is not None:
            self.arrived.synchronize()
        values: NDArray[Any] = self.values.numpy()
        return values


def send(values: NDArray[Any], device: str) -> Tensor:
    """The same on a device; to a GPU they go by way of pinned memory, which PyTorch keeps for the next ones."""
    host = torch.from_numpy(values)
    return host.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else host.to(device)


def fetch(values: Tensor) -> Arriving:
    """Have values copied to the host once the device is done with them, and wait for neither."""
    if not values.is_cuda:
        return Arriving(values.cpu())
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record(torch.cuda.current_stream(values.device))
    return Arriving(host, arrived)
