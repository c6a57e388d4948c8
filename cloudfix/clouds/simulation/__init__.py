"""Cloud, haze, cirrus and shadow laid over clear reflectance, as the scattering model has it.

Each layer mixes what lies below it with its own light: I = J·t + A·(1 − t), with t = exp(−τ·(λ/0.55)^−α) for an
optical depth τ at 550 nm and an exponent α that is 0 for droplets and up to 1.6 for haze (`light` says what A is). So
thickness, 1 − t at 550 nm, is a physical quantity, and a pixel without cloud or shadow keeps its value bit for bit.

An image's seed decides its sky, and the sky is a pure function of coordinates: any window of it can be made by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from cloudfix.clouds.simulation.grid import Grid
from cloudfix.clouds.simulation.light import WAVELENGTHS, is_picture
from cloudfix.clouds.simulation.recipe import PRESETS, CloudRecipe
from cloudfix.clouds.simulation.sky import Sky, Veil

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Generator, Tensor

__all__ = [
    "CLOUD_FROM",
    "PRESETS",
    "WAVELENGTHS",
    "CloudRecipe",
    "Grid",
    "SimulatedCloud",
    "Sky",
    "Veil",
    "overlay",
    "simulate",
]

CLOUD_FROM = 0.03
"""Thickness or shadow from which a pixel counts as cloudy."""


@dataclass(frozen=True)
class SimulatedCloud:
    """A cloudy image and the truth about it.

    Attributes:
        cloudy: (B, C, H, W) reflectance.
        thickness: (B, 1, H, W), 1 − t at 550 nm over all layers, 0…1.
        shadow: (B, 1, H, W), share of the light that is taken away, 0…1.
    """

    cloudy: Tensor
    thickness: Tensor
    shadow: Tensor

    @property
    def mask(self) -> Tensor:
        """(B, 1, H, W), True where cloud or shadow can be seen."""
        return torch.maximum(self.thickness, self.shadow) > CLOUD_FROM


def simulate(
    clear: Tensor, slots: Sequence[str], generator: Generator, recipe: CloudRecipe | None = None
) -> SimulatedCloud:
    """Lay randomly drawn cloud, haze, cirrus and shadow over clear images.

    Args:
        clear: (B, C, H, W) reflectance, on the generator's device.
        slots: the C channels' slots.
        generator: decides everything that is drawn, so the same state gives the same cloud.
        recipe: what is drawn from; the default goes from thin to thick.
    """
    seeds = torch.randint(2**62, (len(clear),), generator=generator, device=generator.device)
    return overlay(clear, slots, seeds, recipe)


def overlay(clear: Tensor, slots: Sequence[str], seeds: Tensor, recipe: CloudRecipe | None = None) -> SimulatedCloud:
    """Lay the cloud of each image's own seed over it, whatever else is in the batch.

    Args:
        clear: (B, C, H, W) reflectance.
        slots: the C channels' slots.
        seeds: (B,) int64 on the same device.
        recipe: what is drawn from; the default goes from thin to thick.
    """
    height, width = clear.shape[-2:]
    sky = Sky.draw(seeds, slots, recipe or CloudRecipe(), (height, width), clear.dtype)
    ground = clear.nanmean(dim=(-2, -1), keepdim=True).nan_to_num()
    veil = sky.veil(Grid.window(0, 0, height, width, like=clear), ground)
    cloudy = clear * veil.gain + veil.light
    # Pictures end at 1, and so does cloud in them.
    return SimulatedCloud(cloudy.clamp(max=1) if is_picture(slots) else cloudy, veil.thickness, veil.shadow)
