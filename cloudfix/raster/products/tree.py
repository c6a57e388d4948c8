"""The files of a product, whether they lie in a folder, a `.zip` or a `.tar`: nothing is ever unpacked."""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, cast

from cloudfix.raster.location import in_archive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudfix.errors import CloudfixError

MAX_FILES = 20_000
"""More files than any one product has."""

MAX_METADATA = 16 * 2**20
"""Bytes of the largest metadata file that is read; real ones have less than one MiB."""

_DEEP = 6
_NO_FILE = -1
_LARGE, _RATIO = 2**31, 100
"""Imagery that inflates to more bytes at a higher ratio is no imagery."""

_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError,
    ValueError, OverflowError, LookupError,
)  # fmt: skip
"""What zipfile and tarfile raise on archives that are damaged, encrypted or made by an enemy."""

_MISSING = "download it again"


@dataclass(frozen=True)
class Tree:
    """Names and sizes of a product's files.

    Attributes:
        root: the folder or archive.
        sizes: bytes by name relative to the root, with "/" between folders.
        error: what is raised about it.
    """

    root: Path
    sizes: dict[str, int]
    error: type[CloudfixError]

    @property
    def packed(self) -> bool:
        """Whether it is an archive."""
        return self.root.is_file()

    def find(self, name: str) -> list[str]:
        """Files of that name, in whatever folder."""
        return [path for path in self.sizes if PurePosixPath(path).name.lower() == name.lower()]

    def gdal_name(self, name: str) -> str:
        """A file as GDAL opens it."""
        return in_archive(self.root, name) if self.packed else str(self.root / name)

    def read(self, name: str) -> bytes:
        """A metadata file's content.

        Raises:
            CloudfixError: as `error`: it cannot be read, or is larger than metadata are.
        """
        try:
            with self._opened(name) as file:
                content = file.read(MAX_METADATA + 1)
        except _DAMAGE as reason:
            raise self.error(f"{self.root}: {name} cannot be read ({_said(reason)}); {_MISSING}") from None
        if len(content) > MAX_METADATA:
            raise self.error(f"{self.root}: {name} has more than {MAX_METADATA >> 20} MiB, no metadata have")
        return content

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        if not self.packed:
            with (self.root / name).open("rb") as file:
                yield file
        elif _is_zip(self.root):
            with (
                self.root.open("rb") as archive,
                zipfile.ZipFile(_bounded(archive)) as packed,
                packed.open(name) as file,
            ):
                yield file
        else:
            with self.root.open("rb") as archive, tarfile.open(fileobj=_bounded(archive), mode="r:") as members:
                yield cast("IO[bytes]", members.extractfile(name))


def open_tree(root: Path, error: type[CloudfixError]) -> Tree:
    """List a folder, `.zip` or `.tar`.

    Raises:
        CloudfixError: as `error`: damaged, encrypted, or with names or sizes that no product has.
    """
    if root.name.lower().endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")):
        raise error(f"{root}: a compressed tar cannot be read in pieces; unpack it, and name the folder")
    try:
        listed = _in_folder(root) if root.is_dir() else _in_zip(root) if _is_zip(root) else _in_tar(root)
        sizes = dict(_limited(listed))
    except _DAMAGE as reason:
        raise error(f"{root}: cannot be listed ({_said(reason)}); {_MISSING}") from None
    return Tree(root, sizes, error)


def _limited(listed: Iterator[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    for count, (name, size) in enumerate(listed):
        if count == MAX_FILES:
            raise ValueError(f"more than {MAX_FILES} files, no product has")
        if size != _NO_FILE:
            yield name, size


def _in_folder(root: Path) -> Iterator[tuple[str, int]]:
    for folder, inner, files in os.walk(root):
        here = Path(folder).relative_to(root)
        inner[:] = [] if len(here.parts) >= _DEEP else sorted(inner)
        for name in sorted(files):
            path = Path(folder, name)
            if path.is_file():
                yield (here / name).as_posix(), path.stat().st_size


def _in_zip(root: Path) -> Iterator[tuple[str, int]]:
    with root.open("rb") as archive, zipfile.ZipFile(_bounded(archive)) as members:
        for member in members.infolist():
            _check_name(member.filename)
            if member.flag_bits & 1:
                raise ValueError("encrypted")
            if member.file_size > _LARGE and member.file_size > _RATIO * member.compress_size:
                raise ValueError(f"{member.filename} claims {member.file_size} bytes of {member.compress_size}")
            yield member.filename, _NO_FILE if member.is_dir() else member.file_size


def _in_tar(root: Path) -> Iterator[tuple[str, int]]:
    end = root.stat().st_size
    with root.open("rb") as archive, tarfile.open(fileobj=_bounded(archive), mode="r:") as members:
        for member in members:
            _check_name(member.name)
            if member.isreg() and member.offset_data + member.size > end:
                raise ValueError(f"{member.name} reaches beyond its end")
            yield member.name, member.size if member.isreg() else _NO_FILE


def _check_name(name: str) -> None:
    if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts:
        raise ValueError(f"{name!r} points out of it")


def _is_zip(root: Path) -> bool:
    return root.suffix.lower() == ".zip"


class _Bounded:
    """A file of which nobody reads more at once than metadata have, whatever an archive claims."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, size: int = -1) -> bytes:
        """As a file's."""
        content = self._file.read(MAX_METADATA + 1 if size < 0 else min(size, MAX_METADATA + 1))
        if len(content) > MAX_METADATA:
            raise ValueError(f"a directory of more than {MAX_METADATA >> 20} MiB")
        return content


def _bounded(file: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", _Bounded(file))


def _said(reason: Exception) -> str:
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return " ".join((text or type(reason).__name__).split())
