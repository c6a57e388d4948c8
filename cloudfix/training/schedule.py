"""How long a run is, and how the learning rate goes along it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudfix.training.recipe import Stage

_POWER = 0.9


@dataclass(frozen=True)
class Plan:
    """The size of a run.

    Attributes:
        images: crops a step, over all processes.
        interval: steps from one validation to the next.
        steps: optimiser steps after which it ends, None where only the clock ends it.
        minutes: after which it ends, None where only the steps do.
    """

    images: int
    interval: int
    steps: int | None
    minutes: float | None

    @classmethod
    def of(cls, stage: Stage, samples: int, world: int) -> Plan:
        """The plan of a stage on a data set of so many `samples`, by `world` processes."""
        images = stage.batch * stage.accumulate * world
        ends = [] if stage.epochs is None else [math.ceil(stage.epochs * samples / images)]
        ends += [] if stage.steps is None else [stage.steps]
        interval = stage.validate_every or math.ceil(samples / images)
        return cls(images, min([interval, *ends]), min(ends, default=None), stage.minutes)

    def progress(self, steps: int, seconds: float) -> float:
        """The share of the run that is over after so many steps and seconds: 1 when it has to end."""
        counted = 0.0 if self.steps is None else steps / self.steps
        timed = 0.0 if self.minutes is None else seconds / 60 / self.minutes
        return min(max(counted, timed), 1.0)


def learning_rate(stage: Stage, step: int, progress: float) -> float:
    """The learning rate of step number `step`, from 0, when `progress` of the run is over."""
    rates: dict[str, float] = {
        "constant": stage.lr,
        "cosine": stage.final_lr + (stage.lr - stage.final_lr) * (1 + math.cos(math.pi * progress)) / 2,
        "poly": stage.lr * (1 - progress) ** _POWER,
    }
    return rates[stage.schedule] * (min(1.0, (step + 1) / stage.warm_up) if stage.warm_up else 1.0)
