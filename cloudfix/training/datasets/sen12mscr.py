"""SEN12MS-CR (Ebel et al. 2020): cloudy and clear Sentinel-2 L1C with Sentinel-1, patches of 256 × 256 pixels."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from cloudfix.errors import CloudfixWarning, DataError
from cloudfix.raster.info import SceneInfo
from cloudfix.sensors import SAR_SLOTS, SLOTS, get
from cloudfix.training.corpus import region_of
from cloudfix.training.datasets.checks import check_bands, checked, settle
from cloudfix.training.datasets.files import FileDataset
from cloudfix.training.datasets.images import blanked, read_decibels, to_image
from cloudfix.training.datasets.layout import Entry, check_folder, natural
from cloudfix.training.datasets.masks import KeptMasks
from cloudfix.training.datasets.reading import read_bands
from cloudfix.training.datasets.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cloudfix.training.datasets.request import Request
    from cloudfix.training.datasets.sample import Split

TEST = frozenset(
    {f"ROIs1158_spring_{number}" for number in (31, 44, 106, 123, 140)}
    | {f"ROIs1868_summer_{number}" for number in (73, 119)}
    | {"ROIs1970_fall_139"}
    | {f"ROIs2017_winter_{number}" for number in (63, 108)}
)
"""The published test regions."""

VALIDATION = frozenset(
    {"ROIs1158_spring_17"}
    | {f"ROIs1868_summer_{number}" for number in (17, 19, 80, 127)}
    | {"ROIs1970_fall_65"}
    | {f"ROIs2017_winter_{number}" for number in (22, 84, 107, 130)}
)
"""The published validation regions; all others train."""

_SEASON = r"ROIs\d+_(?:spring|summer|fall|winter)"
_FOLDER = re.compile(rf"({_SEASON})(?:_(s1|s2|s2_cloudy))?")
_REGION = re.compile(r"(s1|s2|s2_cloudy)_(\d+)")
_PATCH = re.compile(rf"({_SEASON})_(s1|s2|s2_cloudy)_(\d+)_p(\d+)\.tiff?")
_FLAT = re.compile(r"(.+)_(s1|s2_clear|s2_cloudy)\.tiff?")
_OFFICIAL = re.compile(rf"{_SEASON}_\d+")
_ROLES = {"s2": "clear", "s2_clear": "clear", "s2_cloudy": "cloudy", "s1": "sar"}


class Sen12MsCr(FileDataset):
    """Triplets, or pairs where there is no radar image, with masks that are made once and kept."""

    def __init__(self, request: Request, entries: Sequence[Entry]) -> None:
        super().__init__(request.name, SLOTS, entries, request.resize)
        self._masks = KeptMasks(request.root, "s2cloudless" if request.name.endswith("s2cloudless") else "dsen2-cr")
        sensor = get("sentinel-2-l1c")
        count = len(SLOTS)
        self._info = SceneInfo(
            sensor.name, SLOTS, (sensor.scale,) * count, (sensor.offset,) * count, sensor.nodata, sensor.saturated
        )

    def _read(self, entry: Entry) -> Sample:
        clear, cloudy = (to_image(read_bands(path), self._info) for path in (entry.clear, entry.cloudy))
        valid = clear.valid & cloudy.valid
        mask = self._masks.of(f"{entry.region}/{entry.name}", entry.cloudy, cloudy)
        return Sample(
            name=entry.name,
            slots=SLOTS,
            clear=blanked(clear.values, valid),
            cloudy=blanked(cloudy.values, valid),
            mask=None if mask is None else mask & valid,
            sar=None if entry.sar is None else read_decibels(entry.sar),
            region=entry.region,
        )


def open_sen12mscr(request: Request) -> Sen12MsCr:
    """Open a copy of SEN12MS-CR with the published split, by region.

    Three layouts are known: `SEASON_s2_cloudy/s2_cloudy_N/SEASON_s2_cloudy_N_pM.tif` with `SEASON_s2/` and `SEASON_s1/`
    beside it; the same in one folder `SEASON/`; and one folder of `ID_{s1,s2_cloudy,s2_clear}.tif`. Regions whose names
    are not the published ones are split as `splits.assign` does it.

    Raises:
        DataError: it is not laid out, paired or readable as it should be.
        UsageError: a region that is named is not there, or s2cloudless is asked for and not installed.
    """
    check_folder(request.root)
    files = _files(request.root)
    entries, alone = _entries(files)
    partnerless = [f"{path}: has no partner of that name" for path in alone]
    settle(partnerless, root=request.root, total=len(entries) + len(alone), unreadable=request.unreadable)
    if not entries:
        raise DataError(
            f"{request.root}: no SEN12MS-CR in it; expected folders such as ROIs1158_spring_s2_cloudy/s2_cloudy_106/, "
            "or files ID_s2_cloudy.tif and ID_s2_clear.tif"
        )
    regions = [entry.region for entry in entries]
    chosen = request.choose(entries, regions, [_published(region) for region in regions])
    _say_without_sar(request.root, chosen)
    return Sen12MsCr(request, checked(chosen, _size, root=request.root, unreadable=request.unreadable, one_size=True))


def is_sen12mscr(root: Path) -> bool:
    """Whether a folder is laid out as SEN12MS-CR."""
    folders = (path for path in root.iterdir() if path.is_dir() and _FOLDER.fullmatch(path.name))
    return any(_region_folders(folders)) or any(root.glob("*_s2_clear.tif"))


def _files(root: Path) -> dict[tuple[str, str], dict[str, Path]]:
    """Paths by region and name, then by role."""
    found: dict[tuple[str, str], dict[str, Path]] = {}
    seasons = [path for path in root.iterdir() if path.is_dir() and _FOLDER.fullmatch(path.name)]
    for folder in _region_folders(seasons):
        for path in folder.iterdir():
            if match := _PATCH.fullmatch(path.name):
                season, role, region, patch = match.groups()
                place = f"{season}_{region}"
                found.setdefault((place, f"{place}_p{patch}"), {})[_ROLES[role]] = path
    for path in [] if found else root.iterdir():
        if match := _FLAT.fullmatch(path.name):
            name, role = match.groups()
            found.setdefault((region_of(name), name), {})[_ROLES[role]] = path
    return found


def _region_folders(seasons: Iterator[Path] | Sequence[Path]) -> Iterator[Path]:
    for season in seasons:
        yield from (path for path in season.iterdir() if _REGION.fullmatch(path.name))


def _entries(files: dict[tuple[str, str], dict[str, Path]]) -> tuple[list[Entry], list[Path]]:
    """Complete pairs in natural order of their regions, and what has no partner."""
    entries: list[Entry] = []
    alone: list[Path] = []
    for (region, name), roles in sorted(files.items(), key=lambda item: (natural(item[0][0]), natural(item[0][1]))):
        if {"clear", "cloudy"} <= roles.keys():
            entries.append(Entry(name, region, **roles))
        else:
            alone += roles.values()
    return entries, alone


def _published(region: str) -> Split | None:
    if region in TEST:
        return "test"
    if region in VALIDATION:
        return "validation"
    return "train" if _OFFICIAL.fullmatch(region) else None


def _say_without_sar(root: Path, entries: Sequence[Entry]) -> None:
    without = sum(entry.sar is None for entry in entries)
    if without:
        note = f"{without} of {len(entries)} pairs of this split have no Sentinel-1 image"
        warnings.warn(f"{root}: {note}", CloudfixWarning, stacklevel=3)


def _size(entry: Entry) -> tuple[int, int]:
    size = check_bands(entry.clear, (len(SLOTS),), "the bands of Sentinel-2 L1C")
    others = [check_bands(entry.cloudy, (len(SLOTS),), "the bands of Sentinel-2 L1C")]
    if entry.sar is not None:
        others.append(check_bands(entry.sar, (len(SAR_SLOTS),), "VV and VH in dB"))
    if set(others) != {size}:
        raise DataError(f"{entry.cloudy}: another size than {entry.clear}; expected triplets of one size")
    return size
