"""From reflectance and decibels to a network's input, and back: the same in training and in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cloudfix.errors import ModelError
from cloudfix.sensors import STAND_INS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from cloudfix.models.cards import Card, SarInput


def assemble(card: Card, optical: Mapping[str, Tensor], sar: Mapping[str, Tensor] | None = None) -> Tensor:
    """The input of the card's network.

    For a slot that is not there stands the nearest one that is (`sensors.STAND_INS`), or reflectance 0.
    SAR that is not there, or is NaN, is the `missing` of its channel.

    Args:
        card: what the network takes.
        optical: slot to reflectance (B, H, W), finite; any range, it is clipped to 0…1.
        sar: "vv" and "vh" to σ⁰ in dB, (B, H, W), or None.

    Returns:
        (B, C, H, W) float32: the SAR channels, then the optical slots, each in the card's order.

    Raises:
        ModelError: `optical` lacks slots that the card requires.
    """
    missing = [slot for slot in card.required if slot not in optical]
    if missing:
        raise ModelError(
            f"model {card.name}: the scene has no {', '.join(missing)}; expected bands for "
            f"{', '.join(card.required)} at least, name them with --bands or take another model"
        )
    like = optical[card.required[0]] if card.required else next(iter(optical.values()))
    channels = len(card.sar) + len(card.slots)
    result = like.new_empty((like.shape[0], channels, *like.shape[1:]), dtype=torch.float32)
    for index, channel in enumerate(card.sar):
        result[:, index] = _sar(channel, (sar or {}).get(channel.slot))
    for index, slot in enumerate(card.slots, start=len(card.sar)):
        result[:, index] = _optical(slot, optical)
    result[:, len(card.sar) :].clamp_(0, 1).mul_(card.scale).add_(card.offset)
    return result


def assemble_ground(card: Card, ground: Tensor) -> Tensor:
    """The ground around each tile in the units of the card's network, (B, slots + 1).

    Args:
        card: what the network takes.
        ground: (B, slots + 1) reflectance by slot, NaN where it is not known, and the share that is hidden.
    """
    scaled = ground.float().clamp(0, 1)
    scaled[:, :-1] = scaled[:, :-1] * card.scale + card.offset
    return scaled


def to_reflectance(card: Card, output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Reflectance from what the card's network returned, its activation included.

    Args:
        card: what the network gives.
        output: (B, C, H, W), or a tuple that begins with it (the rest is for deep supervision).

    Returns:
        (B, C, H, W) float32, channels as `card.slots`, not clipped.
    """
    answer = (output[0] if isinstance(output, tuple) else output).float()
    if card.activation == "tanh":
        answer = answer.tanh()
    return (answer - card.offset) / card.scale


def _optical(slot: str, optical: Mapping[str, Tensor]) -> Tensor | float:
    return next((optical[name] for name in (slot, *STAND_INS[slot]) if name in optical), 0.0)


def _sar(channel: SarInput, decibels: Tensor | None) -> Tensor | float:
    if decibels is None:
        return channel.missing
    scaled = decibels.float().clamp(*channel.clip) * channel.scale + channel.offset
    return scaled.nan_to_num_(nan=channel.missing)
