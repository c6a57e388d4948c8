"""What tells one input from another, cheaply enough for files of gigabytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SAMPLE = 1 << 20


def fingerprint(files: Sequence[str]) -> str:
    """SHA-256 over names, sizes, first and last MiB of `files`; "array" where there are none."""
    if not files:
        return "array"
    digest = hashlib.sha256()
    for path in map(Path, files):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE))
            file.seek(max(size - _SAMPLE, 0))
            digest.update(file.read())
    return f"sha256:{digest.hexdigest()}"
