"""How paired files lie on disk: folders by role, or names that end in the role."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from cloudfix.errors import CloudfixWarning, DataError
from cloudfix.training.datasets.places import BESIDE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cloudfix.training.datasets.sample import Split

IMAGES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
"""Suffixes of files that are images."""

ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cloudy": ("cloud", "cloudy", "haze", "hazy", "input", "inputs"),
        "clear": ("label", "labels", "reference", "gt", "target", "targets", "clear"),
        "mask": ("mask", "masks"),
        "sar": ("s1", "sar"),
        "thickness": ("thickness",),
    }
)
"""What folders and endings of names are called, the likeliest first; capitals do not matter."""

_SPLITS: Mapping[str, Split] = MappingProxyType(
    {"train": "train", "valid": "validation", "val": "validation", "validation": "validation", "test": "test"}
)
_ROLE_OF = {word: role for role, words in ROLES.items() for word in words}
_ENDING = re.compile(rf"(.+?)[-_. ](?:s2[-_])?({'|'.join(_ROLE_OF)})", re.IGNORECASE)
_PATCH = re.compile(r"_p\d+$")


@dataclass(frozen=True)
class Entry:
    """The files that one sample is read from.

    Attributes:
        name: unique in its data set, fit for a file name.
        region: what splits are made by.
        clear: the clear image.
        cloudy: the same place under cloud.
        mask: classes of its pixels, or None.
        sar: radar backscatter of the place, or None.
        thickness: of the cloud, or None.
    """

    name: str
    region: str
    clear: Path
    cloudy: Path
    mask: Path | None = None
    sar: Path | None = None
    thickness: Path | None = None


@dataclass(frozen=True)
class Found:
    """What lies in a folder.

    Attributes:
        entries: complete pairs, in natural order.
        own: the split whose folder each entry lies in, None where folders make none.
        alone: files without partner.
        taken: the folders of cloudy and clear images.
    """

    entries: tuple[Entry, ...] = ()
    own: tuple[Split | None, ...] = ()
    alone: tuple[Path, ...] = ()
    taken: tuple[Path, ...] = ()

    def __add__(self, other: Found) -> Found:
        return Found(
            self.entries + other.entries, self.own + other.own, self.alone + other.alone, self.taken + other.taken
        )


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """A sorting key that puts 9 before 10."""
    parts = re.split(r"(\d+)", text)
    return tuple((int(part), "") if index % 2 else (0, part.lower()) for index, part in enumerate(parts))


def region_of(name: str) -> str:
    """The region that an image's name tells: patches of one place, `NAME_p7`, are one."""
    return _PATCH.sub("", name)


def check_folder(root: Path) -> None:
    """Refuse what is no folder, or holds nothing.

    Raises:
        DataError: it is one of these.
    """
    if not root.is_dir():
        raise DataError(f"{root}: {'is a file' if root.exists() else 'no such folder'}; name the data set's folder")
    if next(root.iterdir(), None) is None:
        raise DataError(f"{root}: is empty; download or unpack the data set into it")


def find_pairs(root: Path, prefix: str = "") -> Found:
    """The pairs in a folder that may have a folder for each split.

    Which folders are taken is said in a `CloudfixWarning`.

    Args:
        root: holds `cloud/` and `label/` or other names of these roles, or files named `X_cloudy` and `X_clear`; or
            `train/`, `valid/` and `test/` that do.
        prefix: put before the samples' names, to keep them unique.

    Raises:
        DataError: there are no pairs, or two files of one name and role.
    """
    check_folder(root)
    root = _unwrapped(root)
    parts = {folder: _SPLITS[folder.name.lower()] for folder in _folders(root) if folder.name.lower() in _SPLITS}
    found = Found() if parts else _pairs(root, None, prefix)
    for folder, split in parts.items():
        found += _pairs(folder, split, f"{prefix}{folder.name}_")
    if found.taken:
        names = " and ".join(f"{name}/" for name in dict.fromkeys(folder.name for folder in found.taken))
        warnings.warn(f"{root}: the pairs in {names} are taken", CloudfixWarning, stacklevel=2)
    return found


def role_folders(root: Path) -> dict[str, Path]:
    """The folder of each role in `root`; of several that could be it, the first of `ROLES`."""
    by_name = {folder.name.lower(): folder for folder in _folders(root)}
    found = {role: [by_name[word] for word in words if word in by_name] for role, words in ROLES.items()}
    return {role: folders[0] for role, folders in found.items() if folders}


def has_pairs(root: Path) -> bool:
    """Whether `find_pairs` would look for pairs here with success, by the layout alone."""
    root = _unwrapped(root)
    splits = [folder for folder in _folders(root) if folder.name.lower() in _SPLITS]
    return any(map(_has_roles, splits or [root]))


def folders_with_pairs(root: Path) -> list[Path]:
    """The folders in a folder that hold pairs themselves."""
    return [folder for folder in _folders(root) if has_pairs(folder)]


def _has_roles(folder: Path) -> bool:
    roles = {"cloudy", "clear"}
    return roles <= role_folders(folder).keys() or roles <= {_key_and_role(path)[1] for path in images_in(folder)}


def images_in(folder: Path) -> list[Path]:
    """The images of a folder, in natural order."""
    files = (path for path in folder.iterdir() if path.suffix.lower() in IMAGES and not path.name.startswith("."))
    return sorted(files, key=lambda path: natural(path.name))


def _unwrapped(root: Path) -> Path:
    """The folder itself, or the only one in it, as archives are often packed."""
    folders = _folders(root)
    known = {*_SPLITS, *_ROLE_OF}
    if len(folders) == 1 and folders[0].name.lower() not in known and not images_in(root):
        return _unwrapped(folders[0])
    return root


def _folders(root: Path) -> list[Path]:
    folders = (path for path in root.iterdir() if path.is_dir() and path.name != BESIDE)
    return sorted(folders, key=lambda path: natural(path.name))


def _pairs(root: Path, split: Split | None, prefix: str) -> Found:
    folders = role_folders(root)
    taken = tuple(folders[role] for role in ("cloudy", "clear") if role in folders)
    if len(taken) == 2:
        by_role = {role: _by_key(images_in(folder)) for role, folder in folders.items()}
        for role, folder in zip(("cloudy", "clear"), taken, strict=True):
            if not by_role[role]:
                raise DataError(f"{folder}: no PNG or GeoTIFF in it; expected the {role} images, unpack them there")
    else:
        taken = ()
        images = images_in(root)
        by_role = {role: _by_key(path for path in images if _key_and_role(path)[1] == role) for role in ROLES}
    found = replace(_join(by_role, split, prefix), taken=taken)
    if not found.entries:
        roles = " against ".join("/".join(ROLES[role]) for role in ("cloudy", "clear"))
        raise DataError(
            f"{root}: no pairs in it; expected folders {roles} with files of the same names, or files "
            "named X_cloudy and X_clear, PNG or GeoTIFF"
        )
    return found


def _join(by_role: Mapping[str, Mapping[str, Path]], split: Split | None, prefix: str) -> Found:
    """Put files of one key together. SAR may be missing; of a mask or a thickness, all or none has to be there."""
    roles = {role: files for role, files in by_role.items() if files}
    needed = [role for role in ("cloudy", "clear", "mask", "thickness") if role in roles]
    if not {"cloudy", "clear"} <= roles.keys():
        return Found()
    keys = sorted({key for role in needed for key in roles[role]}, key=natural)
    whole = [key for key in keys if all(key in roles[role] for role in needed)]
    entries = tuple(
        Entry(prefix + key, prefix + region_of(key), **{role: files.get(key) for role, files in roles.items()})  # type: ignore[arg-type]
        for key in whole
    )
    alone = tuple(roles[role][key] for key in keys if key not in whole for role in needed if key in roles[role])
    return Found(entries, (split,) * len(entries), alone)


def _key_and_role(path: Path) -> tuple[str, str | None]:
    """What a file's name shares with its partners', and the role that it ends in, if it does."""
    match = _ENDING.fullmatch(path.stem)
    return (match[1], _ROLE_OF[match[2].lower()]) if match else (path.stem, None)


def _by_key(paths: Iterable[Path]) -> dict[str, Path]:
    """Files by what they share with their partners: the stem without an ending such as `_input`."""
    found: dict[str, Path] = {}
    for path in paths:
        key, _ = _key_and_role(path)
        if key in found:
            raise DataError(f"{path}: {found[key].name} beside it is named for the same pair; keep one of the two")
        found[key] = path
    return found
