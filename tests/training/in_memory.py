"""A data set of samples that a test makes up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudfix.errors import DataError
from cloudfix.sensors import SLOTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudfix.training.datasets import Sample


@dataclass
class InMemory:
    """A data set of given samples; those called "corrupt" cannot be read."""

    samples: Sequence[Sample]
    name: str = "in-memory"
    slots: tuple[str, ...] = SLOTS
    reads: int = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        if self.samples[index].name.startswith("corrupt"):
            raise DataError(f"{self.samples[index].name}.png: cannot be read")
        return self.samples[index]

    def regions(self) -> tuple[str, ...]:
        return tuple(sample.region for sample in self.samples)
