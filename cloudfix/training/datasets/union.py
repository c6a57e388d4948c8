"""Several data sets as one."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from cloudfix.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudfix.training.datasets.sample import Dataset, Sample

JOINT = "+"
"""Between the names of data sets that are opened as one."""

_OF = ":"


class Union:
    """The samples of one data set after those of another; their regions are called `DATASET:REGION`.

    Args:
        parts: by name, at least one; they share a channel at least.

    Raises:
        UsageError: no channel is in all of them.
    """

    def __init__(self, parts: Mapping[str, Dataset]) -> None:
        self.name = JOINT.join(parts)
        self._parts = dict(parts)
        self._opened = tuple(parts.values())
        self._ends = tuple(accumulate(len(part) for part in self._opened))
        common = set.intersection(*(set(part.slots) for part in self._opened))
        if not common:
            raise UsageError(f"data set {self.name}: its parts have no band in common; train on them one by one")
        self.slots: tuple[str, ...] = tuple(slot for slot in self._opened[0].slots if slot in common)

    def __len__(self) -> int:
        """How many samples there are in all parts."""
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        """Sample number `index`.

        Raises:
            DataError: its files cannot be read.
        """
        part = bisect_right(self._ends, index)
        return self._opened[part][index - (self._ends[part - 1] if part else 0)]

    def regions(self) -> tuple[str, ...]:
        """The region of each sample, after the name of its data set."""
        return tuple(f"{name}{_OF}{region}" for name, part in self._parts.items() for region in part.regions())


def regions_of(part: str, named: Sequence[str], parts: Sequence[str]) -> tuple[str, ...]:
    """Of regions that are named for a union, those of one part, as the part calls them.

    Raises:
        UsageError: a region is not named after a part.
    """
    for region in named:
        if region.partition(_OF)[0] not in parts:
            raise UsageError(f"region {region}: expected one such as {parts[0]}{_OF}{region}, of {', '.join(parts)}")
    return tuple(region.partition(_OF)[2] for region in named if region.startswith(part + _OF))
