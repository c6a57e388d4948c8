"""What all data sets have in common whose samples are files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from cloudfix.training.datasets.resize import resized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudfix.training.datasets.layout import Entry
    from cloudfix.training.datasets.sample import Sample


class FileDataset(ABC):
    """Samples that are read from files when they are asked for.

    Args:
        name: as `open_dataset` takes it.
        slots: of its channels.
        entries: the files of each sample.
        resize: pixels a side, None for as they are.
    """

    def __init__(self, name: str, slots: tuple[str, ...], entries: Sequence[Entry], resize: int | None) -> None:
        self.name = name
        self.slots = slots
        self._entries = tuple(entries)
        self._resize = resize

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        """Sample number `index`.

        Raises:
            DataError: its files cannot be read, or hold what they should not.
        """
        return resized(self._read(self._entries[index]), self._resize)

    def regions(self) -> tuple[str, ...]:
        """The region of each sample."""
        return tuple(entry.region for entry in self._entries)

    @abstractmethod
    def _read(self, entry: Entry) -> Sample: ...
