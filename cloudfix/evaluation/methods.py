"""What each method makes of a case: the baselines and every model, side by side on the same bands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from cloudfix.evaluation.baselines import copy, nearest_clear
from cloudfix.evaluation.inference import cloudy_of, restore_image, thickness_image
from cloudfix.evaluation.report import CLEAR_KEPT, CONSTANT, COPY, NEAREST_CLEAR, NO_SAR
from cloudfix.models import load

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from cloudfix.evaluation.cases import Case
    from cloudfix.models.cards import Card

    Models = Mapping[str, tuple[nn.Module, Card]]


@dataclass(frozen=True)
class Running:
    """How models are run.

    Attributes:
        tile: side of the tiles, pixels; None as each card says.
        overlap: pixels that tiles share; None as each card says.
        precision: "fp32", "bf16" or "fp16".
        sar: show SAR where there is some (True), withhold it (False), or one after the other (None).
        keep_clear: also judge the network's output pasted under the mask alone, as `cloudfix run` does.
    """

    tile: int | None = None
    overlap: int | None = None
    precision: str = "fp32"
    sar: bool | None = None
    keep_clear: bool = False


@dataclass(frozen=True)
class Answers:
    """A case and what every method made of it, on the bands that all of them know.

    Attributes:
        truth: (C, H, W), 0…1.
        images: likewise, by method.
        cloudy: likewise, the input; None where what is judged is no restoration.
        slots: of the C bands; none where what is judged is no image.
    """

    truth: NDArray[np.float32]
    images: dict[str, NDArray[np.float32]]
    cloudy: NDArray[np.float32] | None = None
    slots: tuple[str, ...] = field(default=())


def load_models(names: Sequence[str], device: str) -> dict[str, tuple[nn.Module, Card]]:
    """Networks and cards by the name on the card, or by what they were asked for as where two have one name.

    Args:
        names: registered names or weights files.
        device: where the networks are put.

    Raises:
        ModelError: there are no such weights, or they are damaged.
    """
    loaded = [(name, *load(name, device=device)) for name in dict.fromkeys(names)]
    titles = Counter(card.name for _, _, card in loaded)
    return {
        # torch declares this overload for tensors only
        card.name if titles[card.name] == 1 else name: (network.to(memory_format=torch.channels_last), card)  # type: ignore[call-overload]
        for name, network, card in loaded
    }


def restorations(case: Case, models: Models, running: Running, shown: Collection[str] | None = None) -> Answers:
    """The case restored by the baselines and the models.

    Args:
        case: what is restored.
        models: networks and their cards by name, all of them for restoring.
        running: how.
        shown: the slots that models are shown and judged on; None for all.
    """
    sample = case.sample
    judged = [
        index
        for index, slot in enumerate(sample.slots)
        if (shown is None or slot in shown) and all(slot in card.slots for _, card in models.values())
    ]
    cloudy = cloudy_of(sample)[judged]
    images = {COPY: copy(cloudy, case.mask), NEAREST_CLEAR: nearest_clear(cloudy, case.mask)}
    for name, (network, card) in models.items():
        restored = _restored(name, network, card, case, running, shown)
        images |= {label: image[judged] for label, image in restored.items()}
    truth = sample.clear[judged].clip(0, 1)
    clipped = {label: image.clip(0, 1) for label, image in images.items()}
    return Answers(truth, clipped, cloudy.clip(0, 1), tuple(sample.slots[index] for index in judged))


def thicknesses(case: Case, models: Models, running: Running) -> Answers:
    """The cloud's thickness by the models, and by the constant that errs least: the mean of the truth.

    Args:
        case: with known thickness.
        models: networks and their cards by name, all of them for thickness.
        running: how.
    """
    if case.sample.thickness is None:
        raise ValueError(f"{case.sample.name}: its thickness is not known; lay cloud over it first")
    truth = case.sample.thickness[None].clip(0, 1)
    images = {CONSTANT: np.full_like(truth, truth.mean())}
    for name, (network, card) in models.items():
        found = thickness_image(
            network, card, case.sample, tile=running.tile, overlap=running.overlap, precision=running.precision
        )
        images[name] = found[None].clip(0, 1)
    return Answers(truth, images)


def _restored(
    name: str, network: nn.Module, card: Card, case: Case, running: Running, shown: Collection[str] | None
) -> dict[str, NDArray[np.float32]]:
    """What one model makes of the case, (C, H, W) in the sample's slots, by the label of each of its rows."""
    run = partial(
        restore_image,
        network,
        card,
        case.sample,
        tile=running.tile,
        overlap=running.overlap,
        precision=running.precision,
        slots=shown,
        hidden=case.mask,
    )
    guided = bool(card.sar) and case.sample.sar is not None and running.sar is not False
    alone = f"{name}, {NO_SAR}"
    label = alone if card.sar and running.sar is False else name
    images = {label: run(use_sar=guided)}
    if card.sar and running.sar is None:
        images[alone] = run(use_sar=False) if guided else images[label]
    if running.keep_clear:
        images[f"{label}, {CLEAR_KEPT}"] = np.where(case.mask, images[label], cloudy_of(case.sample))
    return images
