"""What the processes that train are fed with: each its share of one stream of crops."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import DataLoader, Sampler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudfix.training.datasets.sample import Dataset, Sample
    from cloudfix.training.draws import Crop, Draws

CACHE_BYTES = 2 * 2**30
"""How much decoded imagery the processes that load for one training process may keep, together."""


class Share(Sampler[list[int]]):
    """Numbers of the crops of each batch that one of several processes learns from.

    Step s of all processes together takes the crops from s·G on, G = batches a step × processes × crops a batch. How
    those are dealt out leaves their union as it is, so W processes with B crops each see what one with W·B sees.

    Args:
        batch: crops a batch.
        accumulate: batches a step.
        steps: steps of one pass over this sampler.
        rank: of this process.
        world: number of processes.
        position: the step that the next pass begins at.
    """

    def __init__(
        self, *, batch: int, accumulate: int, steps: int, rank: int, world: int, position: Callable[[], int]
    ) -> None:
        self._batch, self._rank, self._world = batch, rank, world
        self._accumulate, self._steps, self._position = accumulate, steps, position

    def __len__(self) -> int:
        """Batches of a pass."""
        return self._steps * self._accumulate

    def __iter__(self) -> Iterator[list[int]]:
        """The numbers of one batch after the other."""
        first = self._position() * self._accumulate
        for batch in range(first, first + len(self)):
            start = (batch * self._world + self._rank) * self._batch
            yield list(range(start, start + self._batch))


class Cached:
    """A data set that keeps what it has read, until that is `budget` bytes."""

    def __init__(self, dataset: Dataset, budget: int) -> None:
        self.name, self.slots = dataset.name, dataset.slots
        self._dataset, self._left = dataset, budget
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        """Sample number `index`.

        Raises:
            DataError: its files cannot be read.
        """
        if index in self._kept:
            return self._kept[index]
        sample = self._dataset[index]
        values = (getattr(sample, field.name) for field in fields(sample))
        size = sum(value.nbytes for value in values if isinstance(value, np.ndarray))
        if size <= self._left:
            self._kept[index] = sample
            self._left -= size
        return sample

    def regions(self) -> tuple[str, ...]:
        """The region of each sample, without reading any."""
        return self._dataset.regions()


def loader(draws: Draws, share: Share, *, workers: int, pin: bool) -> DataLoader[Crop]:
    """Batches of crops, made ahead of time by `workers` processes; which ones does not depend on how many these are."""
    return DataLoader(
        draws,  # type: ignore[arg-type] # a data set without end: the sampler says which numbers there are
        batch_sampler=share,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
    )
