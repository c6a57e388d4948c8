"""Which samples train, which choose the weights and which judge them: by region, and in contiguous blocks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cloudfix.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloudfix.training.datasets.sample import Split

_TEST = 1 / 5
_VALIDATION = 1 / 10
_SHOWN = 6


def assign(
    regions: Sequence[str],
    own: Sequence[Split | None] | None = None,
    *,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
) -> tuple[Split, ...]:
    """The split of each sample; a region is never in two.

    Regions that are named decide. Else the data set's own split does, and regions without one are cut into contiguous
    blocks: the last fifth tests, the tenth of all before it validates. Never at random: neighbours in a list are often
    neighbours on the ground. Where that leaves nothing to validate on, the last tenth of the training regions does.

    Args:
        regions: of each sample, in the order in which neighbours follow each other.
        own: the data set's own split of each sample, None where it has none; the same for all of a region.
        validation: regions that are named for validation.
        test: regions that are named for the test.

    Raises:
        UsageError: a region that is named is not there, or is named for both.
    """
    if validation or test:
        _check_named(regions, validation, test)
        named: dict[str, Split] = dict.fromkeys(validation, "validation")
        named |= dict.fromkeys(test, "test")
        return tuple(named.get(region, "train") for region in regions)
    stated = own or [None] * len(regions)
    free = dict.fromkeys(region for region, split in zip(regions, stated, strict=True) if split is None)
    cut = dict(zip(free, _blocks(len(free)), strict=True))
    splits = tuple(split or cut[region] for region, split in zip(regions, stated, strict=True))
    return splits if "validation" in splits else _hold_out(regions, splits)


def _blocks(count: int) -> list[Split]:
    """The split of each of `count` regions in a row; one alone trains, the second tests, the third validates."""
    test = min(math.ceil(count * _TEST), max(count - 1, 0))
    validation = min(math.ceil(count * _VALIDATION), max(count - test - 1, 0))
    sizes: dict[Split, int] = {"train": count - validation - test, "validation": validation, "test": test}
    return [split for split, size in sizes.items() for _ in range(size)]


def _hold_out(regions: Sequence[str], splits: Sequence[Split]) -> tuple[Split, ...]:
    """The same with the last tenth of the training regions for validation, if there are two at least."""
    train = list(dict.fromkeys(region for region, split in zip(regions, splits, strict=True) if split == "train"))
    held = set(train[len(train) - math.ceil(len(train) * _VALIDATION) :]) if len(train) > 1 else set()
    return tuple("validation" if region in held else split for region, split in zip(regions, splits, strict=True))


def _check_named(regions: Iterable[str], validation: Sequence[str], test: Sequence[str]) -> None:
    known = dict.fromkeys(regions)
    for option, names in (("validation", validation), ("test", test)):
        for name in names:
            if name not in known:
                shown = ", ".join(list(known)[:_SHOWN]) + (" …" if len(known) > _SHOWN else "")
                raise UsageError(f"data.{option}={name}: no such region; the data set has {shown}")
    if both := sorted({*validation} & {*test}):
        raise UsageError(f"data.validation and data.test both name {both[0]}; expected it in one of them")
