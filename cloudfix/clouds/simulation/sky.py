"""What hangs over each image of a batch, and what it does to any window of it."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor

from cloudfix.clouds.simulation.hashing import Draws
from cloudfix.clouds.simulation.layers import Cirrus, Droplets, Haze, Seen
from cloudfix.clouds.simulation.light import shadow_spectrum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudfix.clouds.simulation.grid import Grid
    from cloudfix.clouds.simulation.layers import Layer
    from cloudfix.clouds.simulation.recipe import CloudRecipe

_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Veil:
    """What the sky does to a window: cloudy = clear · `gain` + `light`.

    Attributes:
        gain: (B, C, H, W).
        light: (B, C, H, W) reflectance.
        thickness: (B, 1, H, W), 1 − t at 550 nm over all layers, 0…1.
        shadow: (B, 1, H, W), share of the light that is taken away, 0…1.
    """

    gain: Tensor
    light: Tensor
    thickness: Tensor
    shadow: Tensor


@dataclass(frozen=True)
class Sky:
    """The weather over a batch of images; `draw` makes it, `veil` shows any window of it.

    Attributes:
        haze: below all cloud.
        droplets: cloud that casts shadows.
        cirrus: above it.
        shade: (B, C, 1, 1) what the deepest shadow takes away from each band.
        darkest: (B, 1, 1, 1) what it takes where no sky light fills it.
    """

    haze: Haze
    droplets: Droplets
    cirrus: Cirrus
    shade: Tensor
    darkest: Tensor

    @classmethod
    def draw(
        cls, seeds: Tensor, slots: Sequence[str], recipe: CloudRecipe, extent: tuple[int, int], dtype: torch.dtype
    ) -> Sky:
        """Draw the sky of each image.

        Args:
            seeds: (B,) int64; each decides one image's sky.
            slots: the channels' slots.
            recipe: what is drawn from.
            extent: height and width of the images, over which the cover is what the recipe says.
            dtype: of all values.
        """
        draws = Draws(seeds, dtype)
        return cls(
            haze=Haze.draw(draws, slots, recipe),
            droplets=Droplets.draw(draws, slots, recipe, extent),
            cirrus=Cirrus.draw(draws, slots, recipe),
            shade=shadow_spectrum(draws, slots),
            darkest=draws.uniform(*recipe.shadow),
        )

    def veil(self, grid: Grid, ground: Tensor) -> Veil:
        """What the sky does to a window.

        Args:
            grid: its pixels.
            ground: (B, C, 1, 1) mean reflectance of the ground.
        """
        shadow = self.droplets.shadow(grid) * self.darkest
        gain = (shadow * self.shade).neg_().add_(1)
        scene = Seen(gain, torch.zeros_like(gain), ground)
        clear = torch.ones_like(shadow)
        for layer in (self.haze, self.droplets, self.cirrus):
            _cover_where_present(layer, grid, scene, clear)
        return Veil(scene.gain, scene.light, 1 - clear, shadow)


def _cover_where_present(layer: Layer, grid: Grid, scene: Seen, clear: Tensor) -> None:
    """Lay it over those images that have it, in place."""
    present = layer.depth.flatten().nonzero().flatten()
    if len(present) == len(clear):
        clear *= torch.exp(-layer.cover(grid, scene))
    elif len(present):
        part = _taken(scene, present)
        depth = _taken(layer, present).cover(_taken(grid, present), part)
        scene.gain[present], scene.light[present] = part.gain, part.light
        clear[present] *= torch.exp(-depth)


def _taken(part: _Part, images: Tensor) -> _Part:
    """Some images of a tensor, or of all tensors in a record."""
    if isinstance(part, Tensor):
        return cast("_Part", part[images])
    if isinstance(part, tuple):
        return cast("_Part", tuple(_taken(item, images) for item in part))
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{field.name: _taken(getattr(part, field.name), images) for field in fields(part)})
    return part
