"""Where a run's crops and validation images come from, as Lightning asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from cloudfix.training.stream import Share, loader

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from cloudfix.training.draws import Crop, Draws
    from cloudfix.training.recipe import Stage
    from cloudfix.training.schedule import Plan
    from cloudfix.training.validation import Judge


class Feed(LightningDataModule):
    """The stream of crops from where the run stands, and the numbers of the images that judge.

    An epoch of Lightning's is the interval between two validations.

    Args:
        draws: the crops.
        judge: the validation split.
        stage: batch sizes and workers.
        plan: of the run.
    """

    def __init__(self, draws: Draws, judge: Judge, stage: Stage, plan: Plan) -> None:
        super().__init__()
        self.judge = judge
        self._draws, self._stage, self._plan = draws, stage, plan

    def train_dataloader(self) -> DataLoader[Crop]:
        """Batches of crops, this process's share."""
        trainer = self._running()
        share = Share(
            batch=self._stage.batch,
            accumulate=self._stage.accumulate,
            steps=self._plan.interval,
            rank=trainer.global_rank,
            world=trainer.world_size,
            position=lambda: trainer.global_step,
        )
        pin = trainer.strategy.root_device.type == "cuda"
        return loader(self._draws, share, workers=self._stage.data.workers, pin=pin)

    def val_dataloader(self) -> DataLoader[int]:
        """Numbers of validation images, this process's share; some get one too many, so that all have as many."""
        rank, world = self._running().global_rank, self._running().world_size
        rounds = -(-len(self.judge) // world)
        numbers = [count * world + rank for count in range(rounds)]
        return DataLoader(numbers, batch_size=None)  # type: ignore[arg-type] # a list is data set enough

    def _running(self) -> Trainer:
        if self.trainer is None:
            raise RuntimeError("there is no data before the run has begun")
        return self.trainer
