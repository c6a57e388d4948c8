"""A batch of crops on the device: simulated cloud laid over it, and what the network is shown of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from cloudfix.clouds.simulation import simulate
from cloudfix.models.inputs import assemble
from cloudfix.sensors import BAND_SETS
from cloudfix.training.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

    from cloudfix.clouds.simulation import CloudRecipe
    from cloudfix.models.cards import Card
    from cloudfix.training.draws import Crop

_SUN = (20.0, 70.0)
"""Degrees that the sun stands above the horizon where its height is not known."""


def overcast(crops: Crop, card: Card, recipe: CloudRecipe, seed: int, coarsen: int = 1) -> Crop:
    """The batch with simulated cloud over those of its crops that have none yet.

    Which cloud depends on `seed` and on the number of the first crop, so on the step and the process, and on how many
    crops of the batch are still bare. Crops that show Landsat's slots alone get cloud as Landsat sees it.

    Args:
        crops: the batch.
        card: of the network.
        recipe: what is drawn from.
        seed: decides, with the numbers of the crops.
        coarsen: pixels are up to so many times as large as the recipe's, for all crops of the batch: the larger, the
            harder are the edges of cloud and the nearer to it its shadow.
    """
    bare = crops.bare
    if not bool(bare.any()):
        return crops
    generator = _generator(crops, seed)
    coarse = int(torch.randint(1, coarsen + 1, (), generator=generator, device=bare.device))
    recipe = replace(recipe, pixel=recipe.pixel * coarse)
    cloudy, mask, thickness = crops.cloudy.clone(), crops.mask.clone(), crops.thickness.clone()
    shared, landsat = _landsat(crops, card)
    for chosen, channels in ((bare & ~landsat, torch.ones_like(shared)), (bare & landsat, shared)):
        if not bool(chosen.any()):
            continue
        slots = [slot for slot, seen in zip(card.slots, channels.tolist(), strict=True) if seen]
        made = simulate(crops.clear[chosen][:, channels], slots, generator, recipe)
        cloudy[chosen.nonzero(), channels.nonzero()[:, 0]] = made.cloudy
        mask[chosen] = made.mask.float()
        thickness[chosen] = made.thickness
    return crops._replace(cloudy=cloudy, mask=mask, thickness=thickness)


def grained(crops: Crop, grain: float, seed: int) -> Crop:
    """The batch with cloud and shadow that differ from pixel to pixel, as where pixels were picked and not averaged.

    Each crop has its own strength, and half of them none.

    Args:
        crops: the batch.
        grain: the strongest, standard deviation of the factor's logarithm.
        seed: decides, with the numbers of the crops.
    """
    if not grain:
        return crops
    generator = _generator(crops, seed, 1)
    count, _, *sides = crops.cloudy.shape
    strength = (2 * torch.rand(count, 1, 1, 1, generator=generator, device=generator.device) - 1).clamp(min=0) * grain
    factor = (strength * torch.randn(count, 1, *sides, generator=generator, device=generator.device)).exp()
    grainy = (crops.clear + factor * (crops.cloudy - crops.clear)).clamp(min=0)
    return crops._replace(cloudy=torch.where(crops.mask > 0, grainy, crops.cloudy))


def dimmed(crops: Crop, card: Card, share: float, seed: int) -> Crop:
    """The batch with crops that show Landsat's slots alone as dark as Level-1 of which nobody knows the sun's height.

    Args:
        crops: the batch.
        card: of the network.
        share: of those crops that are dimmed.
        seed: decides, with the numbers of the crops.
    """
    if not share:
        return crops
    generator = _generator(crops, seed, 2)
    chosen, height = torch.rand(2, len(crops.number), generator=generator, device=generator.device)
    low, high = _SUN
    sine = torch.sin(torch.deg2rad(low + (high - low) * height))
    _, landsat = _landsat(crops, card)
    factor = torch.where((chosen < share) & landsat, sine, 1)[:, None, None, None]
    return crops._replace(cloudy=crops.cloudy * factor, clear=crops.clear * factor)


def _generator(crops: Crop, seed: int, *purpose: int) -> torch.Generator:
    """Random numbers of this batch, on its device, other ones for each purpose."""
    return torch.Generator(crops.cloudy.device).manual_seed(derive(seed, int(crops.number[0]), *purpose))


def _landsat(crops: Crop, card: Card) -> tuple[Tensor, Tensor]:
    """(C,) which slots Landsat has, and (B,) which crops show no others."""
    has = [slot in BAND_SETS["landsat-8-l1"] for slot in card.slots]
    slots = torch.tensor(has, device=crops.present.device)
    return slots, ~(crops.present & ~slots).any(dim=1)


def network_input(crops: Crop, card: Card) -> Tensor:
    """(B, S + C, H, W) input of the card's network: exactly what it gets in use."""
    patterns, which = torch.unique(crops.present, dim=0, return_inverse=True)
    sides = crops.cloudy.shape[2:]
    inputs = crops.cloudy.new_empty((len(which), len(card.sar) + len(card.slots), *sides))
    for index, shown in enumerate(patterns.tolist()):
        chosen = which == index
        cloudy, sar = crops.cloudy[chosen], crops.sar[chosen]
        optical = {slot: cloudy[:, channel] for channel, slot in enumerate(card.slots) if shown[channel]}
        inputs[chosen] = assemble(card, optical, {channel.slot: sar[:, i] for i, channel in enumerate(card.sar)})
    return inputs.contiguous(memory_format=torch.channels_last)
