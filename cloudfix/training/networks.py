"""From a stage to what it trains: the network as it begins, and its card."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import torch

import cloudfix
from cloudfix.errors import UsageError
from cloudfix.models import Card, SarInput, create, load, read_card
from cloudfix.training.perceptual import described

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from cloudfix.training.recipe import Recipe, Stage

RGB = ("red", "green", "blue")

SAR_INPUTS = (
    SarInput("vv", clip=(-25.0, 0.0), scale=2 / 25, offset=2.0),
    SarInput("vh", clip=(-32.5, 0.0), scale=2 / 32.5, offset=2.0),
)
"""What networks that are trained here see of VV and VH: 0…2, as DSen2-CR has it."""

_RGB_ONLY = ("scpm", "thiefcloud")
_SELDOM_THERE = "cirrus"
"""The slot that Level-2 products lack; a network that was trained with all bands does without it best."""


def card_of(recipe: Recipe, stage: str, *, name: str, slots: tuple[str, ...], start: str | Path | None) -> Card:
    """The card of what a stage trains, without what is measured.

    Args:
        recipe: of the run.
        stage: name of the stage.
        name: of the weights.
        slots: of the data.
        start: the weights to begin from, whose card decides on options, slots, SAR and units.

    Raises:
        UsageError: the weights to begin from, or the data, do not suit the stage.
        ModelError: there are no such weights, or the network cannot be built so.
    """
    settings = recipe.stages[stage]
    begun = None if start is None else _checked(settings, stage, start)
    what = _inherited(begun) if begun else _own(settings, slots)
    if lacking := [slot for slot in what["required"] if slot not in slots]:
        raise UsageError(
            f"stage {stage}: the data have no {', '.join(lacking)}, which {name} takes; "
            "choose other data, or another architecture or start"
        )
    return Card(
        name=name,
        architecture=settings.architecture,
        role="thickness" if settings.task == "thickness" else "restore",
        tile=settings.tile,
        overlap=settings.overlap,
        licence=recipe.licence,
        training_data=recipe.training_data,
        recipe=_story(recipe, stage),
        source=f"trained by cloudfix {cloudfix.__version__}",
        **what,
    )


def network_of(stage: Stage, card: Card, *, start: str | Path | None, prior: str | Path | None) -> nn.Module:
    """The network as a stage begins with it.

    Args:
        stage: its settings.
        card: as `card_of` has it.
        start: the weights to begin from; None draws them from the seed.
        prior: the weights that ThiefCloud's SCPM begins with.

    Raises:
        ModelError: weights cannot be loaded, or the network cannot be built so.
        UsageError: the prior is no SCPM.
    """
    network = _fresh(stage, card) if start is None else load(start)[0]
    if prior is not None:
        check_prior(prior)
        network.get_submodule("prior").load_state_dict(load(prior)[0].state_dict())
    return network


def check_prior(prior: str | Path) -> None:
    """Refuse weights that ThiefCloud's SCPM cannot begin with.

    Raises:
        ModelError: there are no such weights.
        UsageError: they are of another network.
    """
    if (found := read_card(prior).architecture) != "scpm":
        raise UsageError(f"prior={prior}: weights of {found}; expected those of scpm")


def _fresh(stage: Stage, card: Card) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stage.seed)
        network = create(card.architecture, **card.options)
    if stage.identity:
        _start_as_identity(network)
    return network


def _start_as_identity(network: nn.Module) -> None:
    """Zero the last convolution: with its long skip the network then begins by returning its input."""
    last = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    torch.nn.init.zeros_(last.weight)
    if last.bias is not None:
        torch.nn.init.zeros_(last.bias)


def _checked(settings: Stage, stage: str, start: str | Path) -> Card:
    """The card of the weights to begin from, if the stage can."""
    card = read_card(start)
    if card.architecture != settings.architecture:
        raise UsageError(
            f"stage {stage}: start={start} is a {card.architecture}; expected the architecture of the stage, "
            f"{settings.architecture}"
        )
    for option, value in settings.options.items():
        if card.options.get(option, value) != value:
            raise UsageError(
                f"stage {stage}: options.{option}={value}; start={start} has {card.options[option]}, leave it out"
            )
    return card


def _inherited(card: Card) -> dict[str, Any]:
    kept = ("options", "slots", "sar", "scale", "offset", "activation", "required")
    return {key: getattr(card, key) for key in kept}


def _own(settings: Stage, slots: tuple[str, ...]) -> dict[str, Any]:
    sar = SAR_INPUTS if settings.sar else ()
    slots = RGB if settings.architecture in _RGB_ONLY else slots
    options = dict(settings.options)
    if settings.architecture not in _RGB_ONLY:
        options = {"in_channels": len(sar) + len(slots), "out_channels": len(slots), **options}
    # only who has trained with slots missing can do without them
    partial = settings.data.band_sets or settings.data.slot_dropped
    required = [slot for slot in slots if (slot in RGB if partial else slot != _SELDOM_THERE)]
    units = {key: getattr(settings, key) for key in ("scale", "offset", "activation")}
    return {"options": options, "slots": slots, "sar": sar, "required": tuple(required), **units}


def _story(recipe: Recipe, stage: str) -> str:
    """The recipe's name and all settings of the stage, as JSON."""
    settings = recipe.stages[stage]
    weight = settings.loss.perceptual if settings.loss.name == "thiefcloud" else 0
    told = {"recipe": recipe.name, "stage": stage, "perceptual loss": described(weight), **dataclasses.asdict(settings)}
    return json.dumps(told, ensure_ascii=False)
