"""Whether an input is the one it was: cheap to ask of thousands of scenes, also after they were copied elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cloudfix.raster.fingerprint import fingerprint
from cloudfix.raster.location import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

Stamps = dict[str, list[int]]


def stamps(sources: Sequence[str]) -> Stamps:
    """Size in bytes and time of modification (ns) of every file of `sources`, folders searched through.

    What is not a file here, such as a URL, has no stamp; nor has what is missing.
    """
    found: Stamps = {shown(source): [] for source in sources}
    for source in sources:
        for file in _files(source):
            stat = file.stat()
            found[str(file)] = [stat.st_size, stat.st_mtime_ns]
    return found


def content(sources: Sequence[str]) -> str:
    """SHA-256 that a copy of the same inputs has, too; a text of its own for what cannot be read."""
    try:
        return fingerprint(sources)
    except OSError as reason:
        return f"unreadable: {reason.strerror}"


def _files(source: str) -> list[Path]:
    path = Path(source)
    try:
        if path.is_dir():
            return sorted(file for file in path.rglob("*") if file.is_file())
        return [path] if path.is_file() else []
    except OSError:
        # No permission, or a name that cannot be: opening the scene will say so.
        return []
