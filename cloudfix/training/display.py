"""What people see of a run: a progress bar on a terminal, elsewhere a line per validation; all on stderr."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from cloudfix.training.module import JUDGED, MEAN_LOSS

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from cloudfix.training.course import Course
    from cloudfix.training.schedule import Plan

_SELDOM = 0.5


class Display(Callback):
    """Shows how far the run is, its loss, how many images a second it takes in, and what each validation gave.

    Args:
        title: of the run.
        course: how far it is.
        plan: images a step.
    """

    def __init__(self, title: str, course: Course, plan: Plan) -> None:
        self._course, self._plan = course, plan
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(title, total=1.0, figures="")
        self._title = title
        self._first, self._moved = (0, 0.0), 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's hook
        """Show the bar."""
        self._first = trainer.global_step, self._course.seconds
        if trainer.is_global_zero:
            self._bar.start()

    def on_train_batch_end(self, trainer: Trainer, _module: LightningModule, outputs: Any, *_args: Any) -> None:
        """Move it, but not so often that a GPU would have to wait for it."""
        now = time.monotonic()
        if trainer.is_global_zero and self._console.is_terminal and now - self._moved > _SELDOM:
            self._moved = now
            figures = f"loss {float(outputs['loss']):.4f}  {self._rate(trainer):.1f} images/s"
            self._bar.update(self._task, completed=self._course.progress, figures=figures)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's hook
        """Say what the validation gave."""
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        judged = [
            f"{name.removeprefix(JUDGED)} {value:.4g}" for name, value in metrics.items() if name.startswith(JUDGED)
        ]
        of = f" of {self._plan.steps}" if self._plan.steps else ""
        self._console.print(
            f"{self._title}: step {trainer.global_step}{of}, {self._course.seconds / 60:.1f} min, "
            f"{self._rate(trainer):.1f} images/s: loss {metrics[MEAN_LOSS]:.4f}, {', '.join(judged)}"
        )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002 - Lightning's hook
        """Take the bar away, however the run ended."""
        self._bar.stop()

    def _rate(self, trainer: Trainer) -> float:
        steps, seconds = self._first
        return (trainer.global_step - steps) * self._plan.images / max(self._course.seconds - seconds, 1e-3)
