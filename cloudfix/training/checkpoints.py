"""What a run keeps on disk: how to go on, the best weights so far, and a line per validation."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from cloudfix.errors import OutputError
from cloudfix.models import save
from cloudfix.training.module import JUDGED, MEAN_LOSS, SCORE

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from cloudfix.models.cards import Card
    from cloudfix.training.averaging import Averaging
    from cloudfix.training.course import Course
    from cloudfix.training.module import Learner

LAST = "last.ckpt"
BEST = "best.safetensors"
JOURNAL = "journal.jsonl"


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all, and that unpickle nothing but tensors and plain values."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ARG002 - Lightning's hook
        """Write beside the final name, then rename: a kill in between leaves the previous one.

        Raises:
            OutputError: there is no room.
        """
        partial = Path(f"{path}.partial")
        try:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise OutputError(
                f"{path}: cannot be written ({reason}); free some space, then go on with --resume"
            ) from error

    def load_checkpoint(self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None) -> Any:  # noqa: ARG002 - Lightning's hook
        """What `save_checkpoint` wrote."""
        return torch.load(path, map_location=map_location, weights_only=True)


class Keeper(Checkpoint):
    """After each validation: keeps the weights if they are the best so far, then the state of the run.

    In this order, so that the best weights on disk are never older than the checkpoint says.

    Attributes:
        best: the best score.
        best_step: and when it was reached.

    Args:
        out: folder of the run.
        card: of the network.
        learner: holds the network.
        course: of the run.
        averaging: holds the averaged weights, None where there are none.
    """

    def __init__(self, out: Path, card: Card, learner: Learner, course: Course, averaging: Averaging | None) -> None:
        self.best, self.best_step = -math.inf, 0
        self._out, self._card, self._learner = out, card, learner
        self._course, self._averaging = course, averaging

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's hook
        """Called when the weights have been judged."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if metrics[SCORE] > self.best:
            self.best, self.best_step = metrics[SCORE], trainer.global_step
            if trainer.is_global_zero:
                network = self._averaging.network if self._averaging else self._learner.network
                save(self._out / BEST, network, self._card)
        if trainer.is_global_zero:
            self._note(trainer.global_step, metrics)
        trainer.save_checkpoint(self._out / LAST)

    def figures(self) -> dict[str, float]:
        """What the card says of the validation."""
        title, score = ("mae", -self.best) if self._card.role == "thickness" else ("psnr", self.best)
        return {f"validation {title}": round(score, 4), "step of the best": float(self.best_step)}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know."""
        return {"best": self.best, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called on resume."""
        self.best, self.best_step = state_dict["best"], state_dict["best_step"]

    def _note(self, step: int, metrics: dict[str, float]) -> None:
        judged = {name.removeprefix(JUDGED): value for name, value in metrics.items() if name.startswith(JUDGED)}
        minutes = round(self._course.seconds / 60, 2)
        record = {"step": step, "minutes": minutes, "loss": metrics[MEAN_LOSS], **judged}
        with (self._out / JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(record) + "\n")
