"""Outputs and records in an object store, by way of scratch space on the machine that makes them."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudfix.archive.records import FOLDER, Records, make_folder
from cloudfix.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PROBE = "writable"
"""An empty object, written as a run begins."""


def records_at(place: str) -> Records:
    """The records of a folder, or of a bucket's prefix such as s3://bucket/clear.

    Raises:
        UsageError: nothing that is installed knows such a store.
    """
    return BucketRecords.of(place.rstrip("/")) if "://" in place else Records(Path(place))


@dataclass(frozen=True)
class BucketRecords(Records):
    """The records of the outputs under a URL; `outputs` is scratch space.

    Stores have no locks: two runs on different machines may do the same scene, with the same result.

    Attributes:
        url: where outputs and records stay.
    """

    url: str = ""

    @classmethod
    def of(cls, url: str) -> BucketRecords:
        """Those under `url`, with scratch space that the next run to the same place finds again.

        Raises:
            UsageError: nothing that is installed knows such a store.
        """
        scratch = Path(tempfile.gettempdir()) / f"cloudfix-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
        records = cls(scratch, url)
        try:
            records.system()
        except (ImportError, ValueError) as reason:
            raise UsageError(f"--out-dir {url}: {reason}; an s3:// address needs s3fs, a gs:// one gcsfs") from None
        return records

    @property
    def place(self) -> str:
        """The URL, for names that are shown."""
        return self.url

    def system(self) -> tuple[Any, str]:
        """The store as fsspec knows it, and the path in it."""
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        system, path = url_to_fs(self.url)
        return system, path

    def prepare(self) -> None:
        """Make scratch space, and see that the store can be written before any scene is restored.

        Raises:
            OutputError: one of them cannot be written.
        """
        super().prepare()
        self._store(f"{FOLDER}/{_PROBE}", b"")

    def size(self, path: Path) -> int | None:
        """Bytes of an output; None if it is not there."""
        if path.parent != self.outputs:
            return super().size(path)
        with self._reaching(path.name) as (system, place):
            try:
                size: int = system.size(place)
            except FileNotFoundError:
                return None
        return size

    def keep(self, paths: Iterable[Path]) -> None:
        """Upload finished outputs and remove them here. Pages lie in a folder of their own, and stay.

        Raises:
            OutputError: the store does not take them.
        """
        for file in (file for file in paths if file.parent == self.outputs):
            with self._reaching(file.name) as (system, place):
                system.put_file(str(file), place)
            file.unlink()

    @contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """As in `Records`, among the runs of this machine."""
        # A worker may be on a machine that has no scratch space for this place yet.
        make_folder(self.folder)
        with super().claim(name) as mine:
            yield mine

    def made(self) -> set[Path]:
        """Nothing: what is in a bucket is not named as a file."""
        return set()

    def _load(self, name: str) -> bytes | None:
        with self._reaching(name) as (system, place):
            try:
                content: bytes = system.cat_file(place)
            except FileNotFoundError:
                return None
        return content

    def _store(self, name: str, content: bytes) -> None:
        with self._reaching(name) as (system, place):
            system.pipe_file(place, content)

    @contextmanager
    def _reaching(self, name: str) -> Iterator[tuple[Any, str]]:
        """The store, and what is called `name` in it; each store has errors of its own, which become ours."""
        system, path = self.system()
        try:
            yield system, f"{path}/{name}"
        except Exception as reason:
            text = " ".join(str(reason).split()) or type(reason).__name__
            raise OutputError(f"{self.url}/{name}: cannot be reached ({text}); check address and rights") from reason
