"""What tells one input from another, cheaply enough for files of gigabytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cloudfix.raster.location import is_remote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SAMPLE = 1 << 20
_SMALLER_SAMPLE = 1 << 14
"""Of each file of a product, which has a hundred."""

_SIDECARS = (".aux.xml", ".ovr", ".msk")
"""What GDAL and those who look at a product leave beside its files."""


def fingerprint(files: Sequence[str]) -> str:
    """SHA-256 over names, sizes, first and last MiB of `files`; "array" where there are none.

    Of a folder its files count, of what is remote its name alone.
    """
    if not files:
        return "array"
    digest = hashlib.sha256()
    for name in files:
        path = Path(name)
        if is_remote(name):
            digest.update(f"{name.partition('?')[0]}\n".encode(errors="surrogatepass"))
        elif path.is_dir():
            for member in _members(path):
                _add(digest, member, member.relative_to(path).as_posix(), _SMALLER_SAMPLE)
        else:
            _add(digest, path, path.name, _SAMPLE)
    return f"sha256:{digest.hexdigest()}"


def _members(folder: Path) -> Iterator[Path]:
    for parent, inner, names in os.walk(folder):
        inner.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and not name.endswith(_SIDECARS) and path.is_file():
                yield path


def _add(digest: hashlib._Hash, path: Path, name: str, sample: int) -> None:
    size = path.stat().st_size
    digest.update(f"{name} {size}\n".encode(errors="surrogateescape"))
    with path.open("rb") as file:
        digest.update(file.read(sample))
        file.seek(max(size - sample, 0))
        digest.update(file.read(sample))
