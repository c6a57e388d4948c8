"""Where a run stands: sets the learning rate, and ends the run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback

from cloudfix.errors import UsageError
from cloudfix.training.schedule import learning_rate

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from torch.optim import Optimizer

    from cloudfix.training.recipe import Stage
    from cloudfix.training.schedule import Plan


class Course(Callback):
    """Follows the steps and the time that a run has taken, that before a resume included.

    Attributes:
        progress: share of the run that is over.

    Args:
        stage: the learning rate.
        plan: when the run ends.
    """

    def __init__(self, stage: Stage, plan: Plan) -> None:
        self.progress = 0.0
        self._stage, self._plan = stage, plan
        self._before, self._began = 0.0, time.monotonic()
        self._steps, self._over = 0, False

    @property
    def seconds(self) -> float:
        """How long the run has taken up to now."""
        return self._before + time.monotonic() - self._began

    def figures(self) -> dict[str, float]:
        """What the card says of the run."""
        images = self._steps * self._plan.images
        return {"steps": float(self._steps), "images": float(images), "minutes": round(self.seconds / 60, 1)}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's hook
        """A run that was over when it was interrupted trains no further."""
        self._began = time.monotonic()
        trainer.should_stop = trainer.should_stop or self._over

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Set the learning rate of this step."""
        rate = learning_rate(self._stage, trainer.global_step, self.progress)
        for group in optimizer.param_groups:
            group["lr"] = rate
        pl_module.log("train/lr", rate)

    def on_train_batch_end(self, trainer: Trainer, *_args: Any) -> None:
        """Look whether the run is over."""
        # each process has a clock of its own, but all have to stop at the same step
        self._steps = trainer.global_step
        seconds = trainer.strategy.broadcast(self.seconds) if self._plan.minutes else 0.0
        self.progress = self._plan.progress(trainer.global_step, seconds)
        trainer.should_stop = trainer.should_stop or self.progress >= 1

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002 - Lightning's hook
        """Keep what a resumed run has to know."""
        checkpoint["course"] = {
            "seconds": self.seconds,
            "progress": self.progress,
            "over": trainer.should_stop,
            "images": self._plan.images,
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002 - Lightning's hook
        """Called on resume.

        Raises:
            UsageError: the run would not go on with the data that it stopped at.
        """
        kept = checkpoint["course"]
        if kept["images"] != self._plan.images:
            raise UsageError(
                f"--resume: the run had {kept['images']} images a step, now there are {self._plan.images}; "
                "go on with as many processes × batch × accumulate as it began with"
            )
        self._before, self.progress, self._over = kept["seconds"], kept["progress"], kept["over"]
        self._steps = checkpoint["global_step"]
