"""The multispectral corpus of `cloudfix.training.corpus` as a data set."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from cloudfix.sensors import SLOTS
from cloudfix.training import corpus
from cloudfix.training.datasets.layout import check_folder
from cloudfix.training.datasets.places import cache_folder
from cloudfix.training.datasets.resize import resized
from cloudfix.training.datasets.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudfix.training.datasets.request import Request


class Corpus:
    """Harmonised samples, clear ones and pairs, of which each fills the slots that its source had."""

    def __init__(self, name: str, samples: Sequence[tuple[Path, str]], resize: int | None) -> None:
        self.name = name
        self.slots: tuple[str, ...] = SLOTS
        self._samples = tuple(samples)
        self._resize = resize

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        """Sample number `index`."""
        stored = corpus.Sample.read(self._samples[index][0])
        real = [SLOTS.index(slot) for slot in stored.slots]
        sample = Sample(
            name=stored.name,
            slots=stored.slots,
            clear=stored.reflectance("clear")[real],
            cloudy=None if stored.cloudy is None else stored.reflectance("cloudy")[real],
            mask=stored.mask,
            sar=stored.sar,
            region=stored.region,
        )
        return resized(sample, self._resize)

    def regions(self) -> tuple[str, ...]:
        """The region of each sample."""
        return tuple(region for _, region in self._samples)


def open_corpus(request: Request) -> Corpus:
    """Open the corpus that the originals in a folder make; it is made once and kept in the user's cache.

    Raises:
        DataError: there is no such folder.
        UsageError: it does not hold the originals, or a region that is named is not there.
    """
    check_folder(request.root)
    paths = sorted(_cached(request.root).glob("*.npz"))
    regions = [_region(path) for path in paths]
    return Corpus(request.name, request.choose(list(zip(paths, regions, strict=True)), regions), request.resize)


def _cached(originals: Path) -> Path:
    """The folder of the samples, made anew where originals or version are other ones."""
    files = sorted(originals.glob("*/*.tif"))
    stamps = (f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files)
    folder = cache_folder("corpus", str(corpus.EDITION), str(originals.resolve()), *stamps)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            # A killed run must not leave part of a corpus that looks whole.
            made = Path(tempfile.mkdtemp(dir=folder.parent))
            corpus.build(originals, made)
            made.rename(folder)
    return folder


def _region(path: Path) -> str:
    with np.load(path) as stored:
        return str(stored["region"])
