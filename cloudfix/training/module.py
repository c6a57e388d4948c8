"""What is trained, as Lightning wants it: the network, its loss and its optimiser."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torchmetrics import MeanMetric

from cloudfix.errors import CloudfixWarning, DataError, UsageError
from cloudfix.training.batches import dimmed, grained, network_input, overcast
from cloudfix.training.losses import Truth, build
from cloudfix.training.panels import panel
from cloudfix.training.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

    from cloudfix.models.cards import Card
    from cloudfix.training.draws import Crop
    from cloudfix.training.losses import Outputs
    from cloudfix.training.recipe import Stage
    from cloudfix.training.validation import Judge

JUDGED = "validation/"
"""What the names of a validation's metrics begin with."""

SCORE = "score"
"""What weights are chosen by, the higher the better: PSNR, or minus the mean error of the thickness."""

MEAN_LOSS = "train/mean loss"
"""The loss since the last validation, over all processes."""

_SHOWN = 4


class Learner(LightningModule):
    """A network that learns as a stage says.

    Attributes:
        network: in channels-last memory.
        mean_loss: since the last validation.
        metrics: means over the images of a validation.

    Args:
        stage: all settings.
        card: of the network.
        network: is trained in place.

    Raises:
        UsageError: a part that is to be frozen is not there.
    """

    def __init__(self, stage: Stage, card: Card, network: nn.Module) -> None:
        super().__init__()
        self._stage, self._card = stage, card
        # torch declares this overload for tensors only
        self.network: nn.Module = network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._clouds = stage.data.cloud_recipe()
        self._loss = build(stage.loss)
        self._noted: set[str] = set()
        # without a look for NaN, which would make a GPU wait in every step
        self.mean_loss = MeanMetric(nan_strategy="disable")
        names = ("psnr", "mae", "sam") if card.role == "restore" else ("mae",)
        self.metrics = nn.ModuleDict({name: MeanMetric(nan_strategy="disable") for name in names})
        for part in stage.freeze:
            _freeze(network, part)

    def on_train_epoch_start(self) -> None:
        """Whatever draws from torch's own random numbers draws the same after a resume."""
        torch.manual_seed(derive(self._stage.seed, self.global_step, self.global_rank))
        self.mean_loss.reset()

    def on_after_batch_transfer(self, batch: Crop, dataloader_idx: int) -> Crop:  # noqa: ARG002 - Lightning's hook
        """The batch with its simulated cloud, made on the device."""
        if not self.trainer.training:
            return batch
        data, seed = self._stage.data, self._stage.seed
        clouded = grained(overcast(batch, self._card, self._clouds, seed, data.coarsen), data.grain, seed)
        return dimmed(clouded, self._card, data.uncorrected, seed)

    def training_step(self, crops: Crop, index: int) -> Tensor:  # noqa: ARG002 - Lightning's hook
        """The loss of one batch.

        Raises:
            DataError: a file could not be read, and the stage says to refuse that.
        """
        for message in filter(None, crops.unreadable):
            self._unreadable(message)
        inputs = network_input(crops, self._card)
        loss = self._judge(self.network(inputs), inputs, crops)
        self.mean_loss.update(loss.detach())
        self.log("train/loss", loss)
        return loss

    def validation_step(self, index: int) -> None:
        """Judge one image of the validation split.

        Raises:
            DataError: it cannot be read, and the stage says to refuse that.
        """
        judge: Judge = self.trainer.datamodule.judge  # type: ignore[attr-defined] # Lightning sets it elsewhere
        if index >= len(judge):
            return
        try:
            judged = judge(self.network, index)
        except DataError as error:
            self._unreadable(str(error))
            return
        for name, value in judged.metrics.items():
            self._metric(name).update(value)
        if isinstance(self.logger, TensorBoardLogger) and index < _SHOWN * self.trainer.world_size:
            self.logger.experiment.add_image(f"{JUDGED}{judged.name}", panel(judged), self.global_step)

    def on_validation_epoch_end(self) -> None:
        """The metrics over the images that all processes have judged, and the loss since the last validation."""
        self.log(MEAN_LOSS, self.mean_loss.compute())
        means = {name: self._metric(name).compute() for name in self.metrics}
        for name, mean in means.items():
            self.log(f"{JUDGED}{name}", mean)
            self._metric(name).reset()
        self.log(SCORE, means["psnr"] if "psnr" in means else -means["mae"], logger=False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The stage's optimiser over what is not frozen."""
        stage = self._stage
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if stage.optimiser == "sgd":
            return torch.optim.SGD(learning, stage.lr, momentum=0.9, weight_decay=stage.weight_decay)
        given: dict[str, Any] = {"lr": stage.lr, "betas": stage.betas, "weight_decay": stage.weight_decay}
        # none of them fused: on a CPU that takes gradients to lie in memory as their parameters do, unchecked
        if stage.optimiser == "nadam":
            return torch.optim.NAdam(learning, **given)
        kind = torch.optim.AdamW if stage.optimiser == "adamw" else torch.optim.Adam
        return kind(learning, **given)

    def _metric(self, name: str) -> MeanMetric:
        return cast("MeanMetric", self.metrics[name])

    def _unreadable(self, message: str) -> None:
        if self._stage.data.unreadable == "refuse":
            raise DataError(f"{message}; or train without such files, data.unreadable=skip")
        if message not in self._noted:
            self._noted.add(message)
            warnings.warn(f"{message}; left out", CloudfixWarning, stacklevel=2)

    def _judge(self, outputs: Outputs, inputs: Tensor, crops: Crop) -> Tensor:
        """The loss of the network's outputs, in network units."""
        card = self._card
        if card.role == "thickness":
            known = torch.ones_like(crops.mask)
            truth = Truth(crops.thickness, crops.thickness, known, known[:, :, 0, 0])
        else:
            clear = crops.clear.clamp(0, 1) * card.scale + card.offset
            truth = Truth(clear, inputs[:, len(card.sar) :], crops.mask, crops.present.float())
        return self._loss(_activated(outputs, card), truth)


def _activated(outputs: Outputs, card: Card) -> Outputs:
    """The outputs in float32, after the card's activation."""

    def activate(output: Tensor) -> Tensor:
        return output.float().tanh() if card.activation == "tanh" else output.float()

    return tuple(map(activate, outputs)) if isinstance(outputs, tuple) else activate(outputs)


def _freeze(network: nn.Module, part: str) -> None:
    frozen = [p for name, p in network.named_parameters() if name == part or name.startswith(f"{part}.")]
    if not frozen:
        parts = ", ".join(dict.fromkeys(name.partition(".")[0] for name, _ in network.named_parameters()))
        raise UsageError(f"freeze={part}: the network has no such part; it has {parts}")
    for parameter in frozen:
        parameter.requires_grad_(False)
