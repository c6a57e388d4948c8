"""`cloudfix run --out-dir`: how a run over many scenes is told, as it goes and in the end."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cloudfix.cli import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudfix.archive.outcome import Outcome
    from cloudfix.archive.run import Archive
    from cloudfix.archive.tasks import Names, Task
    from cloudfix.archive.workers import Workers


@dataclass(frozen=True)
class Telling:
    """What a run says, and when it ends.

    Attributes:
        as_json: whether a line of output is a JSON record.
        null: whether NUL ends a path, not a newline.
        stop: whether the first scene that fails ends the run.
        index: where the index of the pages goes, if anywhere.
    """

    as_json: bool = False
    null: bool = False
    stop: bool = False
    index: Path | None = None


@dataclass
class Ledger:
    """Prints outcomes as they come, and counts them.

    Attributes:
        total: scenes of the run.
        telling: how.
        counts: outcomes so far by status.
        failures: those that failed.
        said: notes so far; what holds for every scene is said once.
        began: when, by `time.perf_counter`.
    """

    total: int
    telling: Telling
    counts: dict[str, int] = field(default_factory=lambda: {"done": 0, "skipped": 0, "failed": 0})
    failures: list[Outcome] = field(default_factory=list)
    said: set[str] = field(default_factory=set)
    began: float = field(default_factory=time.perf_counter)

    def state(self) -> str:
        """How to go on after an interruption."""
        return f"{sum(self.counts.values())} of {self.total} scenes are settled; the same command goes on with the rest"

    def add(self, outcome: Outcome) -> None:
        """Print what became of a scene: its path or record on stdout, notes and errors on stderr."""
        self.counts[outcome.status] += 1
        if self.telling.as_json:
            typer.echo(json.dumps(outcome.to_json()))
        elif outcome.status == "done":
            typer.echo(os.fsencode(outcome.task.address) + (b"\0" if self.telling.null else b"\n"), nl=False)
        if outcome.record is not None and outcome.status == "done":
            for note in outcome.record.warnings:
                if note not in self.said:
                    self.said.add(note)
                    console.note(note)
        if outcome.status == "failed":
            self.failures.append(outcome)
            if outcome.record is not None and not outcome.earlier:
                console.error(outcome.record.reason)

    def summary(self) -> None:
        """The table in the end, on stderr, and what failed."""
        from rich import box
        from rich.table import Table

        stderr = console.stderr()
        seconds = time.perf_counter() - self.began
        pace = f"{60 * self.counts['done'] / seconds:.1f}" if self.counts["done"] else "-"
        table = Table("scenes", *self.counts, "seconds", "scenes/min", box=box.SIMPLE if stderr.is_terminal else None)
        table.add_row(str(self.total), *map(str, self.counts.values()), f"{seconds:.1f}", pace)
        stderr.print(table)
        for failure in self.failures:
            again = " (earlier; --retry-failed tries again)" if failure.earlier else ""
            reason = failure.record.reason if failure.record else ""
            stderr.print(f"[red]failed:[/] {console.plain(reason)}{again}")


def run_many(tasks: list[Task], archive: Archive, workers: Workers | None, telling: Telling) -> None:
    """Settle every scene.

    Args:
        tasks: the scenes.
        archive: what to do with each.
        workers: who does it, if not this process.
        telling: what is said of it.

    Raises:
        CloudfixError: no scene could be tried at all.
        typer.Exit: some failed.
    """
    from cloudfix.archive.run import one_by_one, run_archive

    ledger = Ledger(len(tasks), telling)
    try:
        with console.interruptible(ledger.state), console.scenes(len(tasks)) as bars:
            attempts = workers.attempts if workers else partial(one_by_one, progress=bars.step)
            with closing(run_archive(archive, tasks, attempts)) as outcomes:
                for outcome in outcomes:
                    with bars.settled():
                        ledger.add(outcome)
                    if telling.stop and outcome.status == "failed" and not outcome.earlier:
                        console.note(f"--on-error stop: {ledger.state()}")
                        break
        if telling.index is not None:
            _write_index(telling.index, tasks, archive, ledger)
    finally:
        ledger.summary()
    if ledger.failures:
        raise typer.Exit(1)


def _write_index(path: Path, tasks: list[Task], archive: Archive, ledger: Ledger) -> None:
    from cloudfix.archive.index import write_archive_index

    failed = {failure.task.output: failure.record for failure in ledger.failures if failure.record is not None}
    write_archive_index(path, tasks, archive.records, failed)


def tasks_of(files: Sequence[str], lists: Sequence[Path], names: Names, archive: Archive, *, null: bool) -> list[Task]:
    """A task for every scene that is named, but for files that an earlier run has written.

    Args:
        files: paths; "-" for those that standard input lists.
        lists: files that list paths.
        names: how outputs are called.
        archive: knows what was written.
        null: whether NUL ends a listed name, not a newline.

    Raises:
        UsageError: a list that cannot be read, or two scenes of one name.
    """
    from cloudfix.archive.listing import expand, group
    from cloudfix.archive.tasks import plan

    named = expand(files, lists, null=null)
    made = archive.records.made()
    fresh = [file for file in named if Path(file).absolute() not in made]
    if len(fresh) < len(named):
        console.note(f"{len(named) - len(fresh)} of the files named are outputs of an earlier run: left out")
    return plan(group(fresh, allow_remote=archive.options.allow_remote), names)
