"""Pixels out of one file, or one line that says why not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rasterio.errors import RasterioError
from rasterio.windows import Window

from cloudfix.errors import DataError
from cloudfix.raster.header import opened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_ENDS = {".png": b"IEND", ".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9"}
_TAIL = 512
"""Bytes in which the end has to be: some programs leave more behind it."""


def read_bands(
    path: Path, indexes: Sequence[int] | None = None, window: tuple[slice, slice] | None = None
) -> NDArray[Any]:
    """Bands of a file, (bands, H, W).

    Args:
        path: the file.
        indexes: bands from 1, None for all.
        window: rows and columns, None for all.

    Raises:
        DataError: it cannot be read.
    """
    check_ended(path)
    try:
        with opened(path) as file:
            part = None if window is None else Window.from_slices(*window)
            values: NDArray[Any] = file.read(None if indexes is None else list(indexes), window=part)
    except (RasterioError, OSError) as reason:
        text = " ".join(str(reason.__cause__ or reason).split())
        raise DataError(
            f"{path}: cannot be read: damaged, truncated or gone ({text}); copy it again, or leave it out: "
            "evaluate --skip-unreadable, train data.unreadable=skip"
        ) from None
    except IndexError:
        raise DataError(f"{path}: lacks band {max(indexes or (1,))}; check what kind of file it is") from None
    return values


def check_ended(path: Path) -> None:
    """Refuse a picture whose end is missing: GDAL may read it as if the rest were black, without a word.

    Raises:
        DataError: it is truncated, or gone.
    """
    end = _ENDS.get(path.suffix.lower())
    try:
        with path.open("rb") as file:
            if end is None or not file.seek(0, os.SEEK_END):
                return
            file.seek(max(file.tell() - _TAIL, 0))
            if end not in file.read():
                raise DataError(f"{path}: truncated, its end is missing; download or copy the file again")
    except OSError as reason:
        raise DataError(f"{path}: cannot be read ({reason.strerror}); check the name") from None
