"""When an image was taken, by what its tags and names say."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TAGS = (
    "datetime", "DATATAKE_1_DATATAKE_SENSING_START", "PRODUCT_START_TIME", "SENSING_TIME", "ACQUISITION_START_TIME",
    "START_TIME", "DATE_ACQUIRED", "ACQUISITION_DATE",
)  # fmt: skip
"""Tags of the time of acquisition, of products and of tools; the first that holds one counts.

TIFFTAG_DATETIME is not among them: it is when a file was written.
"""

_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])"
    r"(?:[Tt_ -]?([01]\d|2[0-3]):?([0-5]\d):?([0-5]\d))?(?!\d)"
)
_FOLDERS = 3
"""Folders above a file whose names may tell. Further up they are those of an archive, not of a product."""


def acquired(tags: Mapping[str, str], path: str) -> datetime | None:
    """The time of acquisition, UTC; midnight where only the day is known; None where nothing tells.

    Args:
        tags: the file's own.
        path: the file; the first date in its name counts, as in Sentinel's and Landsat's product names, else that in
            the names of the folders it lies in.
    """
    upper = {key.upper(): value for key, value in tags.items()}
    said = [upper[name.upper()] for name in _TAGS if name.upper() in upper]
    names = PurePath(path).parts[: -_FOLDERS - 2 : -1]
    return next((when for text in (*said, *names) if (when := _read(text))), None)


def _read(text: str) -> datetime | None:
    for year, _, month, day, *time in _DATE.findall(text):
        try:
            hour, minute, second = (int(part or 0) for part in time)
            return datetime(int(year), int(month), int(day), hour, minute, second, tzinfo=UTC)
        except ValueError:
            continue
    return None
