"""What is asked of a data set when it is opened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cloudfix.errors import DataError
from cloudfix.training.datasets.splits import assign

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cloudfix.training.datasets.checks import Unreadable
    from cloudfix.training.datasets.sample import Split

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """A data set to open.

    Attributes:
        name: of the data set.
        root: where it lies.
        split: which of its splits.
        resize: pixels a side that samples are brought to, None for as they are.
        validation: regions that validate, in place of the data set's own.
        test: regions that test.
        unreadable: whether what has something wrong is refused or left out.
    """

    name: str
    root: Path
    split: Split
    resize: int | None = None
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    unreadable: Unreadable = "refuse"

    def choose(self, items: Sequence[T], regions: Sequence[str], own: Sequence[Split | None] | None = None) -> list[T]:
        """Those of `items` that are in the split; see `splits.assign`.

        Raises:
            DataError: there are none.
            UsageError: a region that is named is not there.
        """
        splits = assign(regions, own, validation=self.validation, test=self.test)
        chosen = [item for item, split in zip(items, splits, strict=True) if split == self.split]
        if not chosen:
            raise DataError(
                f"{self.root}: none of {len(items)} images is in the {self.split} split; `evaluate` judges others with "
                f"--split {_largest(splits)}, `train` takes the regions that data.validation=[…] and data.test=[…] name"
            )
        return chosen


def _largest(splits: Sequence[Split]) -> Split:
    return Counter(splits).most_common(1)[0][0] if splits else "train"
