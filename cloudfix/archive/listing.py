"""Which scenes are named: lists of paths, and the band files among them that belong together."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cloudfix.errors import UsageError
from cloudfix.raster.location import is_remote
from cloudfix.raster.names import band_name
from cloudfix.raster.scene import scenes_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STDIN = "-"
_PACKED = re.compile(r"(\.(zip|tar|tgz|gz))+$", re.IGNORECASE)
_REFLECTANCE = re.compile(r"_S[RT]$", re.IGNORECASE)
"""Landsat says it of some band files of a product and not of others."""


def expand(names: Sequence[str], lists: Sequence[Path] = (), *, null: bool = False) -> list[str]:
    """All that is named, once each, in order.

    Args:
        names: paths; "-" stands for those that standard input lists.
        lists: files that list paths.
        null: whether lists separate names by NUL, as `find -print0` does, or by newlines.

    Raises:
        UsageError: a list that cannot be read, or is of the other kind.
    """
    found: list[str] = []
    for name in names:
        found += _split(sys.stdin.buffer.read(), "standard input", null=null) if name == STDIN else [name]
    for path in lists:
        try:
            found += _split(path.read_bytes(), f"--from-file {path}", null=null)
        except OSError as reason:
            raise UsageError(f"--from-file {path}: {reason.strerror}; expected a file that lists scenes") from None
    once: dict[PurePath | str, str] = {}
    for name in found:
        once.setdefault(name if is_remote(name) else PurePath(name), name)
    return list(once.values())


def _split(listed: bytes, title: str, *, null: bool) -> list[str]:
    if not null and b"\0" in listed:
        raise UsageError(f"{title}: names separated by NUL, expected a name a line; give --null, too")
    names = listed.split(b"\0") if null else listed.splitlines()
    return [os.fsdecode(name) for name in names if name]


def group(files: Sequence[str], *, allow_remote: bool = False) -> Iterator[tuple[str, ...]]:
    """Sort files into scenes: band files of one product together, any other by itself.

    Only files that lie in one folder and differ by a band's name are opened to see whether they are band files.

    Args:
        files: paths or URLs.
        allow_remote: as for `open_scene`.
    """
    products: dict[tuple[PurePath, str], list[str]] = {}
    for file in files:
        products.setdefault((PurePath(file).parent, product_name(file)), []).append(file)
    for members in products.values():
        for scene in scenes_of(members, allow_remote=allow_remote) if len(members) > 1 else [members]:
            yield tuple(map(str, scene))


def product_name(file: str) -> str:
    """The name of a file up to that of its band, such as T33UUB_20200101 of T33UUB_20200101_B02_10m.jp2.

    All of the name where it names no band.
    """
    name = _path(file).name
    words = re.split(r"([_\-. ]+)", PurePath(name).stem)
    for last in range(len(words) - 1, -1, -2):
        if band_name("".join(words[last:])):
            return _REFLECTANCE.sub("", "".join(words[: max(last - 1, 0)]))
    return name


def stem(scene: Sequence[str]) -> str:
    """What a scene is called: its file's or folder's name without endings, or what its band files have in common."""
    first = scene[0]
    path = _path(first)
    if len(scene) > 1:
        return product_name(first) or path.parent.name or "scene"
    name = _PACKED.sub("", path.name)
    if Path(first).is_dir() and PurePath(name).suffix.upper() != ".SAFE":
        return name
    return PurePath(name).stem if name == path.name or name.upper().endswith(".SAFE") else name


def _path(file: str) -> PurePath:
    return PurePath(urlsplit(file).path if is_remote(file) else file)
