"""Whether there is room on the disk."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SPARE = 2**20


def require_space(folder: Path, size: int) -> None:
    """Notice a full disk before GDAL does, which also complains on stderr.

    Raises:
        OSError: less than `size` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE:
        text = f"{os.strerror(errno.ENOSPC)}: {(size + _SPARE) / 1e6:.1f} MB needed, {free / 1e6:.1f} MB free"
        raise OSError(errno.ENOSPC, text)
