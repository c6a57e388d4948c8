"""What is known of each scene of an archive: a small JSON file and a lock each, in a hidden folder of the outputs'.

The record of a scene is written when its outputs are complete. A run that is killed in between has made outputs that
nothing vouches for: the next one makes them again, the same to the bit.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout

from cloudfix.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cloudfix.archive.inputs import Stamps

FOLDER = ".cloudfix"


@dataclass(frozen=True)
class Record:
    """How a scene ended.

    Attributes:
        status: done, or failed for a reason that lies in the scene.
        run: which run settled it, `Archive.run`.
        settings: `Options.digest` of the run.
        inputs: `inputs.stamps` of its sources.
        content: `inputs.content` of its sources.
        files: name and size in bytes of each output; relative to the folder of the outputs.
        seconds: that it took.
        cover: shares of cloud and shadow, and what told them.
        warnings: notes of the run.
        provenance: the tags of the output.
        reason: why it failed.
        radar: how a radar image was paired with it, if one was looked for.
        picture: of the output, small, as a data URI, if a page was written.
    """

    status: Literal["done", "failed"]
    run: str
    settings: str
    inputs: Stamps
    content: str
    seconds: float
    files: dict[str, int] = field(default_factory=dict)
    cover: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    provenance: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    radar: dict[str, Any] | None = None
    picture: str | None = None


def make_folder(path: Path) -> None:
    """Make a folder and those it lies in, as far as they are not there.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise OutputError(f"{path}: cannot be made ({reason.strerror}); choose another folder") from None


@dataclass(frozen=True)
class Records:
    """The records of the outputs in one folder."""

    outputs: Path

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.outputs / FOLDER

    @property
    def place(self) -> str:
        """What the outputs' names are shown with in front, where it is not their folder."""
        return ""

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            OutputError: they cannot be made.
        """
        make_folder(self.folder)

    def absolute(self) -> Records:
        """The same for a process in another folder."""
        return replace(self, outputs=self.outputs.absolute())

    def read(self, name: str) -> Record | None:
        """The record of the output called `name`; None where there is none that can be read."""
        content = self._load(f"{FOLDER}/{name}.json")
        try:
            values = json.loads(content or b"")
            return Record(**values)
        except (ValueError, TypeError):
            return None

    def write(self, name: str, record: Record) -> None:
        """Keep a record, whole or not at all; only who has claimed the output may.

        Raises:
            OutputError: the disk is full, or the folder cannot be written.
        """
        self._store(f"{FOLDER}/{name}.json", json.dumps(asdict(record), indent=1).encode())

    def size(self, path: Path) -> int | None:
        """Bytes of an output; None if it is not there."""
        try:
            return path.stat().st_size
        except OSError:
            return None

    def keep(self, paths: Iterable[Path]) -> None:
        """Bring finished outputs to where they are to stay: here they are there already.

        Raises:
            OutputError: they cannot be brought there.
        """

    @contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Keep other runs from this output while inside; yields whether no other run has it.

        Args:
            name: of the output.

        Raises:
            OutputError: the folder cannot be written.
        """
        lock = FileLock(self.folder / f"{name}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        except OSError as reason:
            raise OutputError(f"{self.folder}: cannot be written ({reason.strerror}); choose another folder") from None
        try:
            yield True
        finally:
            lock.release()

    def made(self) -> set[Path]:
        """All files that runs into this folder have made, so that they are not taken for scenes."""
        names = [path.name.removesuffix(".json") for path in self.folder.glob("*.json")]
        records = (self.read(name) for name in names)
        made = {file for record in records if record is not None for file in record.files}
        return {(self.outputs / file).absolute() for file in made}

    def _load(self, name: str) -> bytes | None:
        """What a file beside the outputs holds; None if it cannot be read."""
        try:
            return (self.outputs / name).read_bytes()
        except OSError:
            return None

    def _store(self, name: str, content: bytes) -> None:
        """Write a file beside the outputs, whole or not at all."""
        path = self.outputs / name
        partial = path.with_name(f".{path.name}.partial")
        try:
            partial.write_bytes(content)
            partial.replace(path)
        except OSError as reason:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise OutputError(f"{path.parent}: cannot be written ({reason.strerror}); free some space") from None
