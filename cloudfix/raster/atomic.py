"""Outputs that appear whole or not at all: made in a hidden folder beside their final name, then renamed."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from cloudfix.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOCK = "lock"


@dataclass(frozen=True)
class Stage:
    """A place to make one output.

    Attributes:
        final: the name it is to appear under.
        folder: scratch space on the same file system; goes away in the end.
        token: part of a name that no other attempt at this output has.
    """

    final: Path
    folder: Path
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def file(self) -> Path:
        """Where the output is made."""
        return _folder(self.folder / "output") / self.final.name

    @property
    def scratch(self) -> Path:
        """A folder for files that the output is made of."""
        # Workers that are left of a killed run must not write into the files of the next.
        return _folder(self.folder / f"scratch-{self.token}")

    def publish(self) -> None:
        """Let the finished file appear under its final name, replacing one that is there."""
        # Network file systems may tell of a full disk no sooner than here.
        with self.file.open("rb+") as made:
            os.fsync(made.fileno())
        self.file.replace(self.final)


@contextmanager
def staging(final: Path) -> Iterator[Stage]:
    """Scratch space for one output, of which nothing is left afterwards, whatever happens.

    What a killed run left there is removed. The folder is `.NAME.partial` beside NAME.

    Raises:
        OutputError: the folder is missing or not to be written, or another run is at this output.
    """
    _check(final)
    folder = final.absolute().parent / f".{final.name}.partial"
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise OutputError(
            f"{final}: another run is writing this file; wait for it, or give another output name"
        ) from None
    except OSError as reason:
        raise output_error(final, reason) from None
    try:
        _clear(folder)
        yield Stage(final, folder)
    finally:
        # While the lock is held, so that no other run's files are swept away.
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Failures in here are of writing this output.

    Raises:
        OutputError: instead of what GDAL or the system raises.
    """
    try:
        yield
    except (RasterioError, CPLE_BaseError, OSError) as reason:
        raise output_error(path, reason) from None


def output_error(path: Path, reason: Exception) -> OutputError:
    """One line for the ways in which writing fails."""
    if isinstance(reason, OSError) and reason.strerror:
        text = reason.strerror
    else:
        text = " ".join(str(reason.__cause__ or reason).split())
    return OutputError(
        f"{path}: cannot be written ({text[:1].lower()}{text[1:]}); free some space or choose another folder"
    )


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def _check(final: Path) -> None:
    if not final.parent.is_dir():
        raise OutputError(f"{final}: there is no folder {final.parent}; create it first")
    if final.is_dir():
        raise OutputError(f"{final}: is a folder; give a file name in it")
    if not os.access(final.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{final}: no permission to write in {final.parent}; choose another folder")


def _clear(folder: Path) -> None:
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        elif left.name != _LOCK:
            left.unlink()
