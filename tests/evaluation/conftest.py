"""A small data set of squares of cloud over smooth land, and networks whose answer is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from cloudfix.errors import DataError
from cloudfix.models import Card
from cloudfix.sensors import SLOTS
from cloudfix.training.datasets.sample import Sample

SIDE = 48


@dataclass
class Squares:
    """Pairs whose cloud covers a growing square; those named in `damaged` cannot be read."""

    count: int = 4
    slots: tuple[str, ...] = SLOTS
    paired: bool = True
    sar: bool = False
    damaged: tuple[int, ...] = ()
    name: str = "squares"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if index in self.damaged:
            raise DataError(f"image {index}: damaged")
        random = np.random.default_rng(index)
        rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
        land = 0.1 + 0.1 * np.sin(6 * rows + index) ** 2 + 0.05 * columns
        clear = (land + 0.02 * np.arange(len(self.slots))[:, None, None]).astype(np.float32)
        sar = random.uniform(-20, 0, (2, SIDE, SIDE)).astype(np.float32) if self.sar else None
        if not self.paired:
            return Sample(f"image {index}", self.slots, clear, sar=sar, region=f"region {index % 2}")
        mask = np.zeros((SIDE, SIDE), bool)
        side = (index + 1) * SIDE // (self.count + 1)
        mask[:side, :side] = True
        cloudy = np.where(mask, np.float32(0.8), clear)
        return Sample(f"image {index}", self.slots, clear, cloudy, mask, sar, region=f"region {index % 2}")

    def regions(self) -> tuple[str, ...]:
        return tuple(f"region {index % 2}" for index in range(self.count))


class Shift(nn.Module):
    """Returns the optical channels of its input, `by` brighter; some of what the radar and the first channel say is
    added.
    """

    def __init__(self, by: float, channels: int, sar: float, first: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))
        self.channels, self.sar, self.first = channels, sar, first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        radar, optical = x[:, : x.shape[1] - self.channels], x[:, -self.channels :]
        told = radar.mean(dim=1, keepdim=True) if self.sar else 0.0
        return optical + self.by + self.sar * told + self.first * optical[:, :1]


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """On images this small, threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def squares():
    """The class of the data set."""
    return Squares


@pytest.fixture(scope="session")
def shift():
    """Makes a network and its card."""

    def make(name="shift.test", by=0.0, slots=SLOTS, sar=(), first=0.0, **settings):
        network = Shift(by, len(slots), 0.1 if sar else 0.0, first)
        return network.eval(), Card(name, "shift", {}, slots, sar, tile=SIDE, overlap=0, **settings)

    return make
