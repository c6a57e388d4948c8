"""The training loop: one process, averaged weights, the best of them by validation kept with their card."""

from __future__ import annotations

import json
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel

from cloudfix.evaluation.metrics import psnr
from cloudfix.models import Card, SarInput, create, load, save
from cloudfix.sensors import SLOTS
from cloudfix.training.cases import Case, real_cases, restore, simulated_cases
from cloudfix.training.datasets import BAND_SETS, Batch, BatchSampler
from cloudfix.training.losses import carl

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from cloudfix.training.corpus import Sample
    from cloudfix.training.recipe import Recipe

log = logging.getLogger(__name__)

REFLECTANCE_SCALE = 5.0
"""Network units per unit of reflectance: DN / 2000, as SEN12MS-CR's networks have it."""

SAR_INPUTS = (
    SarInput("vv", clip=(-25.0, 0.0), scale=2 / 25, offset=2.0),
    SarInput("vh", clip=(-32.5, 0.0), scale=2 / 32.5, offset=2.0),
)

_VALIDATION_TILE = 128


class Training:
    """One run of a recipe.

    Every step's batch is cut into one part a worker, each a thread whose operations are single-threaded: on
    cores that others use too that is faster than threads that wait for each other in every operation. The
    gradients of the parts are added in order: their number changes the result, their timing does not.

    Args:
        recipe: all settings.
        samples: the corpus; the recipe's split decides what each is for.
        out: folder for the weights and `metrics.jsonl`; made if need be.
        start: weights to go on from, None to start anew.
        workers: threads.
    """

    def __init__(
        self,
        recipe: Recipe,
        samples: Sequence[Sample],
        out: Path,
        *,
        start: Path | None = None,
        workers: int = 2,
    ) -> None:
        torch.manual_seed(recipe.seed)
        held_back = {*recipe.validation, *recipe.test}
        self.recipe = recipe
        self.card = _card(recipe)
        self.weights = out / f"{recipe.name}.safetensors"
        self.network = create(recipe.architecture, **recipe.options)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if start is None:
            _start_as_identity(self.network)
        else:
            self.network.load_state_dict(load(start)[0].state_dict())
        self._averaged = AveragedModel(self.network, multi_avg_fn=_Average(recipe.ema))
        # not fused: that one takes gradients to lie in memory as their parameters do, which it does not check
        self._optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        trained = [sample for sample in samples if sample.region not in held_back]
        self._sampler = BatchSampler(trained, recipe.sampling, recipe.seed)
        self._cases = _validation_cases([sample for sample in samples if sample.region in recipe.validation])
        self._journal = out / "metrics.jsonl"
        self._best = -math.inf
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
        out.mkdir(parents=True, exist_ok=True)

    def run(self) -> Path:
        """Train to the end of the recipe; returns the file with the best weights."""
        start = time.monotonic()
        losses: list[float] = []
        for step in range(1, self.recipe.steps + 1):
            minutes = (time.monotonic() - start) / 60
            progress = max((step - 1) / self.recipe.steps, minutes / self.recipe.minutes)
            last = progress >= 1 or step == self.recipe.steps
            losses.append(self._step(step, min(progress, 1.0)))
            if last or step % self.recipe.validate_every == 0:
                self._validate(step, minutes, float(np.mean(losses)))
                losses.clear()
            if last:
                break
        return self.weights

    def _step(self, step: int, progress: float) -> float:
        recipe = self.recipe
        rate = recipe.learning_rate * min(1.0, step / recipe.warm_up) * (1 + math.cos(math.pi * progress)) / 2
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        phase = recipe.phase(progress)
        parts = self._sampler.batch(phase.crop, phase.batch).split(self._workers)
        results = list(self._pool.map(self._gradients, parts))
        for parameter, *gradients in zip(self.network.parameters(), *(g for _, g in results), strict=True):
            parameter.grad = torch.stack(gradients).sum(dim=0)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self._optimiser.step()
        self._averaged.update_parameters(self.network)
        return sum(loss for loss, _ in results)

    def _gradients(self, part: tuple[Batch, float]) -> tuple[float, Sequence[Tensor]]:
        batch, share = part
        loss = self._loss(batch) * share
        return loss.item(), torch.autograd.grad(loss, tuple(self.network.parameters()))

    def _loss(self, batch: Batch) -> Tensor:
        """CARL over the slots that were shown, in network units."""
        inputs = batch.network_input(self.card).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            prediction = self.network(inputs)
        shown = batch.present[:, :, None, None].float()
        cloudy = inputs[:, len(self.card.sar) :] * shown
        target = batch.clear.clamp(0, 1) * REFLECTANCE_SCALE * shown
        loss = carl(prediction.float() * shown, cloudy, target, batch.mask, self.recipe.carl)
        return loss / shown.mean()

    def _validate(self, step: int, minutes: float, loss: float) -> None:
        """Judge the averaged weights and keep them if they are the best so far."""
        network = self._averaged.module.eval()

        def judge(case: Case) -> float:
            restored = restore(network, self.card, case, tile=_VALIDATION_TILE)
            return psnr(case.judged(case.clear), case.judged(restored))

        names = [case.name for case in self._cases]
        scores = dict(zip(names, self._pool.map(judge, self._cases), strict=True))
        score = float(np.mean(list(scores.values()))) if scores else -loss
        record = {"step": step, "minutes": round(minutes, 2), "loss": loss, "psnr": score, "cases": scores}
        with self._journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(record) + "\n")
        log.info("step %d, %.1f min: loss %.4f, validation %.2f dB", step, minutes, loss, score)
        if score > self._best:
            self._best = score
            metrics = {"validation psnr": round(score, 2), "steps": float(step), "minutes": round(minutes, 1)}
            save(self.weights, network, replace(self.card, metrics=metrics))


class _Average:
    """Exponential moving average that follows quickly at first."""

    def __init__(self, decay: float) -> None:
        self._decay = decay

    @torch.no_grad()
    def __call__(self, averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        decay = min(self._decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)


def _card(recipe: Recipe) -> Card:
    settings = {key: value for key, value in asdict(recipe).items() if key != "card"}
    return Card(
        name=recipe.name,
        architecture=recipe.architecture,
        options=dict(recipe.options),
        slots=SLOTS,
        sar=SAR_INPUTS,
        scale=REFLECTANCE_SCALE,
        recipe=json.dumps(settings),
        licence=recipe.card["licence"],
        training_data=recipe.card["training_data"],
        source=recipe.card["source"],
    )


def _start_as_identity(network: nn.Module) -> None:
    """Zero the last convolution: with its long skip the network then starts by returning its input."""
    last = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    torch.nn.init.zeros_(last.weight)
    if last.bias is not None:
        torch.nn.init.zeros_(last.bias)


def _validation_cases(samples: Sequence[Sample]) -> list[Case]:
    """Real and simulated cloud, with SAR and without, and as Landsat-8 sees it."""
    real, simulated = real_cases(samples), simulated_cases(samples, seed=0)
    no_sar = [case.without_sar() for case in real if case.sar is not None]
    landsat = [replace(case.with_slots(BAND_SETS["landsat-8-l2"]), name=f"{case.name}, Landsat") for case in simulated]
    return [*real, *no_sar, *landsat]
