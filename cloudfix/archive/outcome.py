"""What became of a scene, for whoever prints it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from cloudfix.archive.records import Record
    from cloudfix.archive.tasks import Task


@dataclass(frozen=True)
class Outcome:
    """What became of a scene.

    Attributes:
        task: the scene, as it was asked for.
        status: done now; skipped, since it was done before; failed; or busy, since another run is at it.
        record: what is known of it, but for one that is busy.
        earlier: whether it failed in an earlier run and was not tried again.
    """

    task: Task
    status: Literal["done", "skipped", "failed", "busy"]
    record: Record | None = None
    earlier: bool = False

    def to_json(self) -> dict[str, Any]:
        """A flat record for programs."""
        found: dict[str, Any] = {
            "output": self.task.address,
            "source": list(self.task.sources),
            "status": self.status,
        }
        if self.record is None:
            return found
        found |= {"seconds": round(self.record.seconds, 2), "cover": self.record.cover}
        found |= {"warnings": list(self.record.warnings)}
        if self.status == "failed":
            found |= {"reason": self.record.reason, "earlier": self.earlier}
        return found | self.record.provenance
