"""What tells one input from another, cheaply enough for files of gigabytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

_SAMPLE = 1 << 20


def fingerprint(scene: xr.DataArray) -> str:
    """SHA-256 over names, sizes, first and last MiB of the scene's files; "array" where it came from none."""
    sources = [Path(source) for source in scene.attrs.get("source", ())]
    if not sources:
        return "array"
    digest = hashlib.sha256()
    for path in sources:
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE))
            file.seek(max(size - _SAMPLE, 0))
            digest.update(file.read())
    return f"sha256:{digest.hexdigest()}"
