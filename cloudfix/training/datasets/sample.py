"""What every data set yields, and what it has to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from cloudfix.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

Split: TypeAlias = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Sample:
    """One image of a place, clear, and cloudy too where there is a pair.

    Attributes:
        name: unique in its data set.
        slots: the slot of each channel, C of them.
        clear: (C, H, W) float32, reflectance, or 8-bit values / 255.
        cloudy: the same place under cloud, or None where cloud is still to be simulated.
        mask: (H, W), True under cloud or shadow of `cloudy`, or None where nobody knows.
        sar: (2, H, W) VV and VH in dB, NaN where there is none, or None.
        thickness: (H, W) thickness of the cloud in 0…1, or None; only simulated pairs have it.
        region: what splits are made by.
    """

    name: str
    slots: tuple[str, ...]
    clear: NDArray[np.float32]
    cloudy: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    sar: NDArray[np.float32] | None = None
    thickness: NDArray[np.float32] | None = None
    region: str = ""


class Dataset(Protocol):
    """A split of a data set: samples by index, read when asked for.

    Attributes:
        name: as `open_dataset` takes it.
        slots: the slots of its channels; a sample may fill fewer.
    """

    name: str
    slots: tuple[str, ...]

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Sample number `index`.

        Raises:
            DataError: its files cannot be read.
        """
        ...

    def regions(self) -> tuple[str, ...]:
        """The region of each sample, without reading any."""
        ...


def readable(dataset: Dataset, indices: Iterable[int]) -> Iterator[tuple[int, Sample]]:
    """Those of some samples that can be read, each with its index."""
    for index in indices:
        try:
            sample = dataset[index]
        except DataError:
            continue
        yield index, sample
