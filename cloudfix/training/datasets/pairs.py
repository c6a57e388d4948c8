"""Paired files: a cloudy and a clear image of each place, in two folders or by the ends of their names."""

from __future__ import annotations

import warnings
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from cloudfix.errors import CloudfixWarning, DataError
from cloudfix.training.datasets.checks import checked, pair_size, settle
from cloudfix.training.datasets.files import FileDataset
from cloudfix.training.datasets.images import PICTURES, Reader, blanked, read_mask, read_sar, read_thickness, slots_of
from cloudfix.training.datasets.layout import Found, check_folder, find_pairs
from cloudfix.training.datasets.masks import KeptMasks
from cloudfix.training.datasets.sample import Sample
from cloudfix.training.datasets.splits import assign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cloudfix.training.datasets.layout import Entry
    from cloudfix.training.datasets.request import Request

LEVELS = ("thin", "moderate", "thick")
"""Of SateHaze1k."""

PUBLISHED: Mapping[str, int] = MappingProxyType(
    {"rice": 1236, "rice1": 500, "rice2": 736, "t-cloud": 2939, "satehaze1k": 1200}
    | {f"satehaze1k-{level}": 400 for level in LEVELS}
)
"""How many pairs the published data sets have."""


class PairedFiles(FileDataset):
    """Pairs of pictures or of multispectral files, with masks, thickness and radar where these are there.

    A pixel without data in one of the two images is 0 in both, so that nothing is learned from it.
    """

    def __init__(self, request: Request, slots: tuple[str, ...], entries: Sequence[Entry]) -> None:
        super().__init__(request.name, slots, entries, request.resize)
        self._reader = Reader()
        pictures = all(entry.cloudy.suffix.lower() in PICTURES for entry in entries)
        self._masks = None if pictures else KeptMasks(request.root, "dsen2-cr")

    def _read(self, entry: Entry) -> Sample:
        clear, cloudy = self._reader.read(entry.clear), self._reader.read(entry.cloudy)
        if (clear.slots, clear.valid.shape) != (cloudy.slots, cloudy.valid.shape):
            raise DataError(
                f"{entry.cloudy}: {', '.join(cloudy.slots)} of {cloudy.valid.shape} pixels, but {entry.clear}: "
                f"{', '.join(clear.slots)} of {clear.valid.shape}; expected the same in both"
            )
        mask = None
        if entry.mask is not None:
            mask = read_mask(entry.mask)
        elif self._masks is not None:
            mask = self._masks.of(entry.name, entry.cloudy, cloudy)
        valid = clear.valid & cloudy.valid
        return Sample(
            name=entry.name,
            slots=clear.slots,
            clear=blanked(clear.values, valid),
            cloudy=blanked(cloudy.values, valid),
            mask=None if mask is None else mask & valid,
            sar=None if entry.sar is None else read_sar(entry.sar, entry.clear),
            thickness=None if entry.thickness is None else read_thickness(entry.thickness),
            region=entry.region,
        )


def open_rice(request: Request) -> PairedFiles:
    """RICE-I, RICE-II or both (Lin et al. 2019): `RICE1/cloud/N.png` and `label/N.png`, in RICE-II also `mask/N.png`.

    Raises:
        DataError: it is not laid out, paired or readable as it should be.
        UsageError: a region that is named is not there.
    """
    if request.name != "rice":
        return _open(request, find_pairs(_rice_folder(request) or request.root), one_size=True)
    check_folder(request.root)
    found = Found()
    for name in ("rice1", "rice2"):
        folder = _rice_folder(replace(request, name=name))
        if folder is None:
            raise DataError(f"{request.root}: no {name.upper()}/ in it; name the one part as rice1 or rice2")
        pairs = find_pairs(folder, f"{folder.name}_")
        # Each part has its own blocks, or the test would be all of one kind.
        found += replace(pairs, own=tuple(assign([entry.region for entry in pairs.entries], pairs.own)))
    return _open(request, found, one_size=True)


def _rice_folder(request: Request) -> Path | None:
    """Where RICE1 or RICE2 lies: in the folder itself, or in `rice/` in it."""
    part = request.name.upper()
    folders = (request.root / part, request.root / "rice" / part)
    return next((folder for folder in folders if folder.is_dir()), None)


def open_t_cloud(request: Request) -> PairedFiles:
    """T-CLOUD (Ding et al. 2022): `train/` and `test/`, each with a folder of cloudy and one of clear pictures.

    Raises:
        DataError: it is not laid out, paired or readable as it should be.
        UsageError: a region that is named is not there.
    """
    return _open(request, find_pairs(request.root), one_size=True)


def open_satehaze1k(request: Request) -> PairedFiles:
    """SateHaze1k (Huang et al. 2020), all of it or one level: `Haze1k_thin/{train,valid,test}/{input,target}`.

    Raises:
        DataError: it is not laid out, paired or readable as it should be.
        UsageError: a region that is named is not there.
    """
    check_folder(request.root)
    _, _, wanted = request.name.partition("-")
    found = Found()
    for level in (wanted,) if wanted else LEVELS:
        folder = request.root / f"Haze1k_{level}"
        if request.root.name.lower() == folder.name.lower():
            folder = request.root
        found += find_pairs(folder, f"{level}_")
    return _open(request, found, one_size=True)


def open_simulated(request: Request) -> PairedFiles:
    """What the simulate stage of a recipe writes: `cloud/`, `label/` and `thickness/`.

    Raises:
        DataError: it is not laid out, paired or readable as it should be.
        UsageError: a region that is named is not there.
    """
    found = find_pairs(request.root)
    if any(entry.thickness is None for entry in found.entries):
        raise DataError(f"{request.root}: no thickness/ in it; expected one map for each pair in cloud/ and label/")
    return _open(request, found)


def open_pairs(request: Request) -> PairedFiles:
    """Any folder of paired pictures or multispectral files; see `layout.find_pairs`.

    Raises:
        DataError: it is not laid out, paired or readable as it should be.
        UsageError: a region that is named is not there.
    """
    return _open(request, find_pairs(request.root))


def _open(request: Request, found: Found, *, one_size: bool = False) -> PairedFiles:
    partnerless = [f"{path}: has no partner of that name" for path in found.alone]
    total = len(found.entries)
    settle(partnerless, root=request.root, total=total + len(partnerless), unreadable=request.unreadable)
    published = PUBLISHED.get(request.name, total)
    if total < published:
        note = f"{total} of the {published} pairs of {request.name}; results do not compare with published ones"
        warnings.warn(f"{request.root}: {note}", CloudfixWarning, stacklevel=3)
    chosen = request.choose(found.entries, [entry.region for entry in found.entries], found.own)
    entries = checked(chosen, pair_size, root=request.root, unreadable=request.unreadable, one_size=one_size)
    return PairedFiles(request, slots_of(entries[0].clear), entries)
