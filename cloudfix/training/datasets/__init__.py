"""Data sets to train and judge on, by name or by their layout, checked when they are opened."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from cloudfix.errors import CloudfixWarning, UsageError
from cloudfix.training.datasets.corpus import open_corpus
from cloudfix.training.datasets.pairs import (
    LEVELS,
    open_pairs,
    open_rice,
    open_satehaze1k,
    open_simulated,
    open_t_cloud,
)
from cloudfix.training.datasets.recognise import recognise
from cloudfix.training.datasets.request import Request
from cloudfix.training.datasets.sample import Dataset, Sample, Split
from cloudfix.training.datasets.scenes import open_scenes
from cloudfix.training.datasets.sen12mscr import open_sen12mscr
from cloudfix.training.datasets.union import JOINT, Union, regions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloudfix.training.datasets.checks import Unreadable

__all__ = ["JOINT", "Dataset", "Sample", "Split", "names", "open_dataset", "regions_of"]

_OPENERS: Mapping[str, Callable[[Request], Dataset]] = MappingProxyType(
    {
        "rice": open_rice,
        "rice1": open_rice,
        "rice2": open_rice,
        "t-cloud": open_t_cloud,
        "satehaze1k": open_satehaze1k,
        **{f"satehaze1k-{level}": open_satehaze1k for level in LEVELS},
        "sen12mscr": open_sen12mscr,
        "sen12mscr-s2cloudless": open_sen12mscr,
        "pairs": open_pairs,
        "scenes": open_scenes,
        "simulated": open_simulated,
        "corpus": open_corpus,
    }
)


def names() -> tuple[str, ...]:
    """The data sets that `open_dataset` knows."""
    return tuple(_OPENERS)


def open_dataset(
    name: str | None,
    root: str | Path,
    split: Split,
    *,
    resize: int | None = None,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    unreadable: Unreadable = "refuse",
) -> Dataset:
    """Open a split of a data set and check its files' headers, sizes and partners; pixels are read when asked for.

    What was assumed or left out is said in `CloudfixWarning`s.

    Args:
        name: one of `names()`, or several with + between, which all lie in `root`; None recognises the layout.
        root: where it lies.
        split: "train", "validation" or "test": the published split where there is one, else contiguous blocks.
        resize: pixels a side that samples are brought to; None leaves them as they are.
        validation: regions that validate, in place of the data set's own.
        test: regions that test, in place of the data set's own.
        unreadable: "refuse" what has something wrong, or "skip" it. Damage deeper in a file shows when it is read.

    Raises:
        DataError: it is not laid out, paired or readable as it should be, or the split is empty.
        UsageError: the name, or a region that is named, is unknown.
    """
    root = Path(root)
    if name is None:
        name = recognise(root, names())
        note = f"{root}: taken for {name} by its layout; name the data set to settle it"
        warnings.warn(note, CloudfixWarning, stacklevel=2)
    parts = name.split(JOINT)
    for part in parts:
        if part not in _OPENERS:
            raise UsageError(f"data set {part}: unknown; use one of {', '.join(names())}")
    request = Request(name, root, split, resize, tuple(validation), tuple(test), unreadable)
    return _OPENERS[name](request) if len(parts) == 1 else _union(request, parts)


def _union(request: Request, parts: Sequence[str]) -> Union:
    """All parts, each with the regions that are named for it; one without any keeps its own split."""
    opened = {}
    for part in parts:
        validation, test = (regions_of(part, named, parts) for named in (request.validation, request.test))
        opened[part] = _OPENERS[part](replace(request, name=part, validation=validation, test=test))
    return Union(opened)
