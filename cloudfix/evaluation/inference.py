"""A loaded network over one whole image, tiled and blended as `cloudfix run` does it.

The training loop validates with this and `cloudfix evaluate` judges with it, so both see what a user gets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from cloudfix.errors import ModelError
from cloudfix.models.inputs import assemble, assemble_ground, to_reflectance
from cloudfix.restoration.ground import ground_of_image
from cloudfix.restoration.network import arithmetic
from cloudfix.restoration.tiles import tile_grid
from cloudfix.sensors import SAR_SLOTS

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from cloudfix.models.cards import Card
    from cloudfix.restoration.ground import Ground
    from cloudfix.restoration.tiles import TileGrid, Window
    from cloudfix.training.datasets.sample import Sample

_GPU_BATCH = 8


def restore_image(
    network: nn.Module,
    card: Card,
    sample: Sample,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    precision: str = "fp32",
    use_sar: bool = True,
    slots: Collection[str] | None = None,
    hidden: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """The cloudy image of `sample` as the network gives it back, everywhere.

    Args:
        network: in evaluation mode, on any device.
        card: of that network.
        sample: with a cloudy image, all of it finite.
        tile: side of the tiles, pixels; default the card's.
        overlap: pixels that tiles share; default the card's.
        precision: "fp32", "bf16" or "fp16".
        use_sar: show the network the SAR of the sample, if there is any.
        slots: show the network no others, as a sensor with these bands would; default all of the sample's.
        hidden: (H, W), where cloud and shadow are; a network that asks for it learns from the rest what the ground
            looks like.

    Returns:
        (C, H, W) reflectance, channels as `sample.slots`, not clipped. A slot that the card does not know is as it was.

    Raises:
        ModelError: the network restores nothing, lacks slots that it requires, or gave NaN or infinity.
        UsageError: tiles that cannot be.
    """
    if card.role != "restore":
        raise ModelError(f"{card.name}: gives {card.role}, it restores nothing; choose another model")
    known = [slot for slot in sample.slots if slot in card.slots]
    restored = cloudy_of(sample).copy()
    restored[[sample.slots.index(slot) for slot in known]] = _Tiles(
        network,
        card,
        sample if slots is None else _narrowed(sample, slots),
        tile_grid(card, *restored.shape[1:], tile=tile, overlap=overlap),
        precision,
        use_sar=use_sar,
        hidden=hidden,
    ).blended([card.slots.index(slot) for slot in known])
    return restored


def thickness_image(
    network: nn.Module,
    card: Card,
    sample: Sample,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    precision: str = "fp32",
) -> NDArray[np.float32]:
    """The thickness of the cloud over `sample` as the network has it; arguments as in `restore_image`.

    Returns:
        (H, W), 0 where the sky is clear to 1 where cloud is opaque, not clipped.

    Raises:
        ModelError: the network gives no thickness, lacks slots that it requires, or gave NaN or infinity.
        UsageError: tiles that cannot be.
    """
    if card.role != "thickness":
        raise ModelError(f"{card.name}: gives {card.role}, no thickness; choose another model")

    grid = tile_grid(card, *cloudy_of(sample).shape[1:], tile=tile, overlap=overlap)
    thickness: NDArray[np.float32] = _Tiles(network, card, sample, grid, precision).blended([0])[0]
    return thickness


@dataclass(frozen=True)
class _Tiles:
    """One image cut into tiles for one network."""

    network: nn.Module
    card: Card
    sample: Sample
    grid: TileGrid
    precision: str
    use_sar: bool = True
    hidden: NDArray[np.bool_] | None = None

    @cached_property
    def ground(self) -> Ground | None:
        """What is clear of the image, for a network that asks for it."""
        if self.hidden is None or not self.card.takes_ground:
            return None
        planes = dict(zip(self.sample.slots, cloudy_of(self.sample), strict=True))
        return ground_of_image(planes, self.hidden, self.card.slots)

    @torch.inference_mode()
    def blended(self, outputs: list[int]) -> NDArray[np.float32]:
        """The network's channels `outputs` over the whole image, (channels, H, W)."""
        windows = [self.grid.window(top, left) for top in self.grid.rows for left in self.grid.columns]
        device = next(self.network.parameters()).device
        size = 1 if device.type == "cpu" else _GPU_BATCH
        total = np.zeros((len(outputs), self.grid.height, self.grid.width))
        for start in range(0, len(windows), size):
            group = windows[start : start + size]
            for window, answer in zip(group, self._answers(group, device)[:, outputs], strict=True):
                height, width = window.shape
                total[:, *window.slices] += answer[:, :height, :width] * self.grid.weight(window)
        return total.astype(np.float32)

    def _answers(self, windows: list[Window], device: torch.device) -> NDArray[np.float32]:
        """What the network gives for some tiles, (tiles, channels, tile, tile)."""
        with arithmetic(self.precision, device.type):
            output = self.network(self._inputs(windows, device), *self._around(windows, device))
        answers: NDArray[np.float32] = to_reflectance(self.card, output).cpu().numpy()
        if not np.isfinite(answers).all():
            raise ModelError(
                f"{self.card.name}: the network gave NaN or infinity in {self.precision} on {self.sample.name}; "
                "expected finite values, try --precision fp32 or other weights"
            )
        return answers

    def _around(self, windows: list[Window], device: torch.device) -> tuple[Tensor, ...]:
        """The ground around the tiles, if it is known."""
        if self.ground is None:
            return ()
        around = np.stack([self.ground.around(window) for window in windows])
        return (assemble_ground(self.card, torch.from_numpy(around).to(device)),)

    def _inputs(self, windows: list[Window], device: torch.device) -> Tensor:
        """(tiles, C, tile, tile); past the image's end it is mirrored."""

        def cut(image: NDArray[np.float32]) -> Tensor:
            tiles = [_mirrored(image[:, *window.slices], self.grid.tile) for window in windows]
            return torch.from_numpy(np.stack(tiles, axis=1)).to(device)

        optical = dict(zip(self.sample.slots, cut(cloudy_of(self.sample)), strict=True))
        sar = self.sample.sar if self.use_sar else None
        radar = None if sar is None else dict(zip(SAR_SLOTS, cut(sar), strict=True))
        return assemble(self.card, optical, radar).contiguous(memory_format=torch.channels_last)


def _mirrored(image: NDArray[np.float32], tile: int) -> NDArray[np.float32]:
    height, width = image.shape[1:]
    return np.pad(image, ((0, 0), (0, tile - height), (0, tile - width)), mode="symmetric")


def cloudy_of(sample: Sample) -> NDArray[np.float32]:
    """The cloudy image of `sample`, which has to have one."""
    if sample.cloudy is None:
        raise ValueError(f"{sample.name}: has no cloudy image; lay cloud over it first")
    return sample.cloudy


def _narrowed(sample: Sample, slots: Collection[str]) -> Sample:
    kept = [index for index, slot in enumerate(sample.slots) if slot in slots]
    cloudy = cloudy_of(sample)[kept]
    return replace(sample, slots=tuple(sample.slots[index] for index in kept), clear=sample.clear[kept], cloudy=cloudy)
