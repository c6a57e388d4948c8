"""Which data set a folder holds, by its layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudfix.errors import DataError
from cloudfix.training.datasets.layout import check_folder, folders_with_pairs, has_pairs, role_folders
from cloudfix.training.datasets.pairs import LEVELS
from cloudfix.training.datasets.scene_files import has_scenes
from cloudfix.training.datasets.sen12mscr import is_sen12mscr

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def recognise(root: Path, names: Sequence[str]) -> str:
    """The name of the data set in `root`.

    What is laid out in a way of its own goes before any folder of pairs, and that before a folder of scenes.

    Args:
        root: a folder, or a file that is or lists scenes.
        names: of all data sets, for messages.

    Raises:
        DataError: nothing fits, or several do.
    """
    if root.is_file():
        return "scenes"
    check_folder(root)
    found = _special(root) or _usual(root)
    if len(found) == 1:
        return found[0]
    what = f"looks like {' and '.join(found)}" if found else "is laid out as no known data set"
    raise DataError(f"{root}: {what}; name its data set, one of {', '.join(names)}")


def _special(root: Path) -> list[str]:
    name = root.name.lower()
    roles = role_folders(root).keys()
    found = [rice for rice in ("rice1", "rice2") if name == rice or (root / rice.upper()).is_dir()]
    found = ["rice"] if len(found) == 2 else found
    levels = [level for level in LEVELS if (root / f"Haze1k_{level}").is_dir()]
    found += ["satehaze1k"] if levels == list(LEVELS) else [f"satehaze1k-{level}" for level in levels]
    found += [f"satehaze1k-{level}" for level in LEVELS if name == f"haze1k_{level}"]
    if name.replace("-", "").replace("_", "") == "tcloud":
        found.append("t-cloud")
    if {"cloudy", "clear", "thickness"} <= roles:
        found.append("simulated")
    if (root / "sen12mscr").is_dir() and (root / "series").is_dir():
        found.append("corpus")
    elif is_sen12mscr(root):
        found.append("sen12mscr")
    return found


def _usual(root: Path) -> list[str]:
    if has_pairs(root):
        return ["pairs"]
    if below := folders_with_pairs(root):
        # As scenes, their cloudy images would be taken for clear ones.
        raise DataError(
            f"{root}: is no data set itself, but has pairs in {', '.join(folder.name for folder in below)}; name such "
            "a folder as the data, or the data set that all of it is"
        )
    return ["scenes"] if has_scenes(root) else []
