"""One run: a network, a stage's settings and a data set in, weights with their card out."""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
import warnings
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy

from cloudfix.errors import CloudfixWarning, InterruptionError, OutputError, UsageError
from cloudfix.models import load, save
from cloudfix.models.density import VeilDensity
from cloudfix.models.radar_colours import RadarColours
from cloudfix.models.transmission_map import TransmissionMap
from cloudfix.training.averaging import Averaging
from cloudfix.training.checkpoints import BEST, LAST, Keeper, WholeFiles
from cloudfix.training.confidence import fit_confidence
from cloudfix.training.course import Course
from cloudfix.training.datasets import open_dataset
from cloudfix.training.display import Display
from cloudfix.training.draws import Draws
from cloudfix.training.feed import Feed
from cloudfix.training.module import SCORE, Learner
from cloudfix.training.radar_colours import fit_colours
from cloudfix.training.schedule import Plan
from cloudfix.training.stream import CACHE_BYTES, Cached
from cloudfix.training.transmission_map import STEPS, fit_transmission_map
from cloudfix.training.validation import Judge
from cloudfix.training.veil import fit_density

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lightning.pytorch.strategies import Strategy
    from torch import nn

    from cloudfix.models.cards import Card
    from cloudfix.training.datasets.sample import Dataset, Split
    from cloudfix.training.recipe import Data, Stage

_LOG_EVERY = 10
_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


def fit(
    stage: Stage,
    *,
    name: str,
    card: Card,
    network: nn.Module,
    data: Path,
    out: Path,
    resume: bool,
    accelerator: str = "auto",
    devices: str | int = "auto",
    nodes: int = 1,
) -> Path:
    """Train a network, and write its best weights with their card to `out`/`name`.safetensors.

    With several devices there is one process for each, and every one of them comes out of here.

    Args:
        stage: all settings.
        name: of the weights.
        card: of the weights, but for what the run measures.
        network: what is trained, in place.
        data: folder of the data set.
        out: folder for weights, checkpoint, journal and TensorBoard's files; made if need be.
        resume: go on where a run in `out` stopped, with the same data in the same order; a finished run is left as is.
        accelerator: "auto", "cpu", "gpu" and so on, as Lightning has it.
        devices: how many of them a machine, or "auto".
        nodes: how many machines.

    Raises:
        UsageError: settings that cannot be.
        DataError: the data set is not as it should be.
        ModelError: the network no longer gives numbers.
        OutputError: `out` cannot be written.
        InterruptionError: Ctrl-C; the run can be resumed.
    """
    final = out / f"{name}.safetensors"
    if resume and final.exists():
        return final
    with _quiet():
        trainer = _trainer(stage, out, accelerator, devices, nodes)
        # the first process alone: another may have got here while it still has to see that the folder is free
        if trainer.is_global_zero:
            _make(out)
        with _interruptible(trainer):
            _run(trainer, stage, name, card, network, data, out, resume=resume)
    return final


def _run(
    trainer: Trainer, stage: Stage, name: str, card: Card, network: nn.Module, data: Path, out: Path, *, resume: bool
) -> None:
    train, validation = (_open(stage.data, data, split) for split in ("train", "validation"))
    plan = Plan.of(stage, len(train), trainer.world_size)
    kept = Cached(train, CACHE_BYTES // max(stage.data.workers, 1))
    _fit_before(network, kept, card, _open_grounds(stage.data, data), stage)
    draws = Draws(kept, stage.data, card, stage.seed, thickness=card.role == "thickness")
    judge = Judge(Cached(validation, CACHE_BYTES), card, stage.data.cloud_recipe(), stage.seed, stage.precision)
    course = Course(stage, plan)
    averaging = Averaging(stage.ema) if stage.ema else None
    stopping = EarlyStopping(SCORE, patience=stage.patience, mode="max") if stage.patience else None
    learner = Learner(stage, card, network)
    keeper = Keeper(out, card, learner, course, averaging)
    # in this order: what is kept has to know whether the run stops
    callbacks = (course, averaging, Display(name, course, plan), stopping, keeper)
    trainer.callbacks += [callback for callback in callbacks if callback]  # type: ignore[attr-defined] # set elsewhere
    checkpoint = out / LAST if resume and (out / LAST).exists() else None
    trainer.fit(learner, datamodule=Feed(draws, judge, stage, plan), ckpt_path=checkpoint)
    if trainer.is_global_zero:
        measured: dict[str, float | str] = {
            **keeper.figures(),
            **course.figures(),
            "hardware": _hardware(trainer),
            "seed": float(stage.seed),
        }
        best = load(out / BEST)[0]
        fit_confidence(best, kept, card)
        save(out / f"{name}.safetensors", best, replace(card, metrics={**card.metrics, **measured}))
    trainer.strategy.barrier()


def _open_grounds(settings: Data, root: Path) -> Dataset | None:
    if settings.grounds is None:
        return None
    return _open(replace(settings, dataset=settings.grounds, validation=(), test=()), root, "train")


def _fit_before(network: nn.Module, images: Dataset, card: Card, grounds: Dataset | None, stage: Stage) -> None:
    """Fit those parts of a network that learn by themselves: regressions, and a map unless it is known already."""
    for part in network.modules():
        if isinstance(part, VeilDensity):
            fit_density(part, images, card, grounds)
        elif isinstance(part, TransmissionMap) and not part.fitted:
            steps = min(STEPS, stage.steps or STEPS)
            fit_transmission_map(part, filter(None, (images, grounds)), card, steps=steps, seed=stage.seed)
        elif isinstance(part, RadarColours):
            fit_colours(part, images, card)


def _trainer(stage: Stage, out: Path, accelerator: str, devices: str | int, nodes: int) -> Trainer:
    if stage.precision == "fp16" and (accelerator == "cpu" or not torch.cuda.is_available()):
        raise UsageError("precision=fp16: needs a GPU; on a CPU take bf16 or fp32")
    if torch.distributed.is_torchelastic_launched():
        # torchrun has settled it
        devices, nodes = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["GROUP_WORLD_SIZE"])
    try:
        return Trainer(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy=_strategy(stage, accelerator, devices, nodes),
            precision=_PRECISIONS[stage.precision],
            max_epochs=-1,
            accumulate_grad_batches=stage.accumulate,
            gradient_clip_val=stage.clip or None,
            logger=TensorBoardLogger(out, name="tensorboard", version="", default_hp_metric=False),
            log_every_n_steps=_LOG_EVERY,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            use_distributed_sampler=False,
            plugins=[WholeFiles()],
        )
    except (MisconfigurationException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"--accelerator {accelerator} --devices {devices}: not on this machine ({reason}); use auto for both"
        ) from error


def _strategy(stage: Stage, accelerator: str, devices: str | int, nodes: int) -> Strategy | str:
    found = torch.cuda.device_count() if accelerator != "cpu" else 1
    if nodes == 1 and (str(devices) == "1" or (devices == "auto" and found < 2)):
        return "auto"
    # the thickness that ThiefCloud's prior would give takes part in no loss
    unused = stage.architecture == "thiefcloud" and "prior" not in stage.freeze
    return DDPStrategy(find_unused_parameters=unused)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error


def _open(data: Data, root: Path, split: Split) -> Dataset:
    return open_dataset(
        data.dataset,
        root,
        split,
        resize=data.resize,
        validation=data.validation,
        test=data.test,
        unreadable=data.unreadable,
    )


def _hardware(trainer: Trainer) -> str:
    """What it was trained on: "2 × NVIDIA H100", "2 × x86_64 CPU"."""
    if trainer.strategy.root_device.type == "cuda":
        kind = torch.cuda.get_device_name(trainer.strategy.root_device)
    else:
        kind = f"{platform.machine()} {trainer.strategy.root_device.type.upper()}"
    return f"{trainer.world_size} × {kind}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice is for those who write loops, not for those who run them."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        # last in the list: what the caller wants to see, or not to see, comes first
        warnings.filterwarnings("default", category=CloudfixWarning, append=True)
        warnings.filterwarnings("ignore", append=True)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _interruptible(trainer: Trainer) -> Iterator[None]:
    """Ctrl-C, which Lightning turns into the end of the process, ends in one line that says how to go on.

    Raises:
        InterruptionError: instead.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as error:
        if not (trainer.interrupted or isinstance(error, KeyboardInterrupt)):
            raise
        if not trainer.is_global_zero:
            raise SystemExit(InterruptionError.exit_code) from None
        raise InterruptionError(
            "interrupted; the same command with --resume goes on from the last validation"
        ) from None
    finally:
        # Lightning ignores further ones, and would do so for good
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
