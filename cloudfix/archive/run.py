"""Many scenes, each once: what is done is left alone, what fails does not stop the others."""

from __future__ import annotations

import os
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from cloudfix.archive.inputs import content, stamps
from cloudfix.archive.notes import collected_notes
from cloudfix.archive.outcome import Outcome
from cloudfix.archive.radar import Catalogue, Place
from cloudfix.archive.records import Record, Records
from cloudfix.errors import CloudfixError, ClusterError, ModelError, OutputError
from cloudfix.models.weights import read_card

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from cloudfix.archive.options import Options
    from cloudfix.archive.tasks import Task

    Attempts = Callable[["Archive", list[Task]], Iterable[Outcome]]

_PATIENCE = 2.0
"""Seconds until scenes that another run has in hand are asked for again."""


@dataclass(frozen=True)
class Archive:
    """What a run does with each scene; small enough to travel to any worker.

    Attributes:
        records: of the folder of the outputs.
        options: of every scene.
        settings: their digest.
        catalogue: radar images to pair with the scenes.
        overwrite: whether scenes that are done are made again.
        retry_failed: whether scenes that failed are tried again.
        run: a name for this run, so that what it settled itself is not taken for another's.
    """

    records: Records
    options: Options
    settings: str
    catalogue: Catalogue | None = None
    overwrite: bool = False
    retry_failed: bool = False
    run: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def open(
        cls, records: Records, options: Options, *, overwrite: bool = False, retry_failed: bool = False
    ) -> Archive:
        """Make the folder of the outputs, and look through that of the radar images.

        Raises:
            CloudfixError: the folder cannot be made, or there are no such weights or radar images.
        """
        settings = options.digest()
        catalogue = Catalogue.read(options.sar_dir, options.sar_max_days) if options.sar_dir else None
        records.prepare()
        return cls(records, options, settings, catalogue, overwrite, retry_failed)

    def absolute(self) -> Archive:
        """The same for a process in another folder."""
        return replace(self, records=self.records.absolute(), options=self.options.absolute())

    def settled(self, task: Task) -> Outcome | None:
        """How a scene ended with the same input, weights and options; None if it is to be tried.

        In an earlier run, or in this one, on a worker that died before it could tell.
        """
        record = self.records.read(task.output.name)
        if record is None or record.settings != self.settings or not _same_input(task, record):
            return None
        earlier = record.run != self.run
        if earlier and (self.overwrite or (self.retry_failed and record.status == "failed")):
            return None
        if record.status == "failed":
            return Outcome(task, "failed", record, earlier=earlier)
        if self._complete(task, record) and self._same_weights(record) and self._same_radar(record):
            return Outcome(task, "skipped" if earlier else "done", record)
        return None

    def attempt(self, task: Task, progress: Callable[[int, int], None] | None = None) -> Outcome:
        """Restore a scene, unless it is settled or another run is at it, and keep a record of how that ended.

        Nothing that goes wrong with it is raised, unless the user interrupts.

        Raises:
            ClusterError: its chunks were on a cluster that is gone.
            distributed.KilledWorker: several workers died of one of its chunks.
        """
        began = time.perf_counter()
        record = self._record(task)
        with collected_notes() as notes:
            try:
                with self.records.claim(task.output.name) as mine:
                    if not mine:
                        return Outcome(task, "busy")
                    if known := self.settled(task):
                        return known
                    record = self._tried(task, record, notes, progress)
                    record = replace(record, seconds=time.perf_counter() - began, warnings=tuple(notes))
                    self.records.write(task.output.name, record)
            except OutputError as error:
                # The scene is not to blame: it is tried again in the next run.
                seconds = time.perf_counter() - began
                record = replace(record, status="failed", reason=str(error), seconds=seconds, warnings=tuple(notes))
        return Outcome(task, record.status, record)

    def fail(self, task: Task, reason: str) -> Outcome:
        """Record that a scene failed in a way that nothing in its process could tell."""
        record = replace(self._record(task), reason=reason)
        # What cannot be kept is found out again.
        with suppress(OutputError), self.records.claim(task.output.name) as mine:
            if mine:
                self.records.write(task.output.name, record)
        return Outcome(task, "failed", record)

    def _record(self, task: Task) -> Record:
        return Record("failed", self.run, self.settings, stamps(task.sources), content(task.sources), 0.0)

    def _tried(
        self, task: Task, record: Record, notes: list[str], progress: Callable[[int, int], None] | None
    ) -> Record:
        # Takes seconds to import: a run that finds all done does without.
        from cloudfix.archive.scene import restore_scene

        try:
            made = restore_scene(
                task, self.options, catalogue=self.catalogue, count=True, notes=notes, progress=progress
            )
        except OutputError:
            raise
        except Exception as error:
            text = " ".join(str(error).split())
            if type(error).__name__ == "KilledWorker":
                # Of a chunk: whoever handed the scene over tells of it as of the scene.
                raise
            if type(error).__module__.startswith("distributed") or _in_a_closing_worker():
                # The scene is not to blame, and is no failure to be kept in mind.
                raise ClusterError(
                    f"{task.title}: the scheduler was lost ({text}); the same command goes on"
                ) from error
            if isinstance(error, CloudfixError):
                return replace(record, reason=str(error))
            return replace(record, reason=f"{task.title}: unexpected {type(error).__name__}: {text}; please report it")
        files = {self._relative(path): path.stat().st_size for path in task.outputs}
        self.records.keep(task.outputs)
        return replace(
            record,
            status="done",
            files=files,
            cover=None if made.cover is None else asdict(made.cover),
            provenance=made.provenance,
            radar=made.radar,
            picture=made.picture,
        )

    def _complete(self, task: Task, record: Record) -> bool:
        """Whether all that is wanted was made, and is there as it was made."""
        wanted = {self._relative(path): path for path in task.outputs}
        return all(name in record.files and record.files[name] == self.records.size(wanted[name]) for name in wanted)

    def _same_weights(self, record: Record) -> bool:
        """Whether the weights that were chosen for the scene are still those; named ones are in the settings."""
        if self.options.model is not None:
            return True
        try:
            return read_card(record.provenance["CLOUDFIX_MODEL"]).checksum == record.provenance["CLOUDFIX_MODEL_SHA256"]
        except ModelError:
            return False

    def _same_radar(self, record: Record) -> bool:
        if self.catalogue is None or record.radar is None:
            return self.catalogue is None
        return self.catalogue.choice(Place.from_json(record.radar["place"])) == record.radar

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.records.outputs)


def _in_a_closing_worker() -> bool:
    """Whether this is in a worker of a cluster that goes down: threads, files and connections may fail in any way."""
    if "distributed" not in sys.modules:
        return False
    from distributed import Status, get_worker

    try:
        return get_worker().status in (Status.closing, Status.closed, Status.failed)
    except ValueError:
        return False


def run_archive(archive: Archive, tasks: Iterable[Task], attempts: Attempts | None = None) -> Generator[Outcome]:
    """Settle every scene; yields an outcome as each is settled.

    Scenes that another run has in hand are left to it, and asked for again in the end.

    Args:
        archive: what to do with each.
        tasks: the scenes.
        attempts: tries scenes and yields their outcomes, in any order; by default one after the other, here.
    """
    waiting = []
    for task in tasks:
        if known := archive.settled(task):
            yield known
        else:
            waiting.append(task)
    while waiting:
        busy = []
        for outcome in (attempts or one_by_one)(archive, waiting):
            if outcome.status == "busy":
                busy.append(outcome.task)
            else:
                yield outcome
        waiting = busy
        if waiting:
            time.sleep(_PATIENCE)


def one_by_one(
    archive: Archive, tasks: Iterable[Task], progress: Callable[[int, int], None] | None = None
) -> Iterator[Outcome]:
    """Try scenes in this process, one after the other: the network is loaded once.

    Args:
        archive: what to do with each.
        tasks: the scenes.
        progress: called with the numbers of done and of all steps of the scene in hand.
    """
    for task in tasks:
        yield archive.attempt(task, progress)


def _same_input(task: Task, record: Record) -> bool:
    return stamps(task.sources) == record.inputs or content(task.sources) == record.content
