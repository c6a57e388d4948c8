"""The index of an archive's pages, made of what is known of its scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudfix.report.index import Row, write_index
from cloudfix.restoration.cover import Cover

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cloudfix.archive.records import Record, Records
    from cloudfix.archive.tasks import Task


def write_archive_index(path: Path, tasks: Sequence[Task], records: Records, failures: Mapping[Path, Record]) -> None:
    """Write the index, reading the record of one scene at a time.

    Args:
        path: of the index.
        tasks: the scenes of a run.
        records: of the folder of their outputs.
        failures: what is known of those that failed, by output: not all failures are kept.

    Raises:
        OutputError: it cannot be written there.
    """

    def rows() -> Iterator[Row]:
        for task in tasks:
            yield _row(task, failures.get(task.output) or records.read(task.output.name))

    failed = f", {len(failures)} failed" if failures else ""
    write_index(path, records.place or str(records.outputs), rows(), f"{len(tasks)} scenes{failed}")


def _row(task: Task, record: Record | None) -> Row:
    if record is None:
        return Row(task.title, "waiting")
    page = task.report.name if task.report is not None and record.status == "done" else None
    return Row(
        task.title,
        record.status,
        page=page,
        picture=record.picture,
        cover=Cover(**record.cover) if record.cover else None,
        seconds=record.seconds,
        notes=(record.reason,) if record.status == "failed" else tuple(record.warnings),
    )
