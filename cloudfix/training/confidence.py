"""What a trained network restores and what it guesses, learned from what it makes of the training pairs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch

from cloudfix.models.confidence import CELL, Confidence, cells, traits
from cloudfix.models.inputs import assemble, to_reflectance
from cloudfix.sensors import SAR_SLOTS
from cloudfix.training.datasets.sample import readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from cloudfix.models.cards import Card
    from cloudfix.training.datasets.sample import Dataset

_MOST, _SIDE = 128, 256
"""Images that are looked at, spread over the data set, and pixels a side of the part that is."""

_WRONG = 0.12
"""Relative error, as a deviation: the two images of a pair differ by so much without any cloud."""

_DARK = 0.02
"""Reflectance that is added to what errors are relative to."""


@torch.no_grad()
def fit_confidence(network: nn.Module, dataset: Dataset, card: Card) -> None:
    """Fit the `Confidence` of a trained network in place, if it has one; a region counts by the root of its pairs.

    Clear images are shown, too, or ground of much contrast would be taken for a guess.

    Args:
        network: in evaluation mode, on the CPU; is run over the pairs.
        dataset: the training split; images without a pair or the required bands, and such as cannot be read, are left
            out.
        card: of the network.
    """
    confidence = next((part for part in network.modules() if isinstance(part, Confidence)), None)
    if confidence is None:
        return
    confidence.forget()
    looks, rights, regions = list[torch.Tensor](), list[torch.Tensor](), list[str]()
    places = dataset.regions()
    for index, sample in readable(dataset, range(0, len(dataset), -(-len(dataset) // _MOST))):
        if sample.cloudy is None or set(card.required) - set(sample.slots):
            continue
        radar = None if sample.sar is None else _planes(SAR_SLOTS, sample.sar)
        clear = _planes(sample.slots, sample.clear)
        for image in (_planes(sample.slots, sample.cloudy), clear):
            inputs = assemble(card, image, radar)
            output = network(inputs)
            looks.append(_examples(traits(inputs[:, len(card.sar) :], output)).T)
            rights.append(_right(to_reflectance(card, output)[0], clear, card))
            regions.append(places[index])
    if not regions:
        return
    counts = Counter(regions)
    trust = [
        torch.full_like(right, counts[region] ** -0.5 / len(right))
        for region, right in zip(regions, rights, strict=True)
    ]
    confidence.fit(torch.cat(looks), torch.cat(rights), torch.cat(trust))


def _planes(slots: Sequence[str], image: NDArray[np.float32]) -> dict[str, Tensor]:
    """(1, H, W) by slot: the part of the image that is looked at, of whole cells."""
    rows, columns = (min(side, _SIDE) // CELL * CELL for side in image.shape[1:])
    part = torch.from_numpy(image[:, :rows, :columns])
    return {slot: plane[None] for slot, plane in zip(slots, part, strict=True)}


def _right(restored: Tensor, clear: dict[str, Tensor], card: Card) -> Tensor:
    """(N,) how right some cells are of restored reflectance (C, H, W) in the slots of the card, 0…1."""
    known = [slot for slot in card.slots if slot in clear]
    found = cells(torch.stack([restored[card.slots.index(slot)] for slot in known])[None].clamp(0, 1))
    truth = cells(torch.cat([clear[slot] for slot in known])[None].clamp(0, 1))
    error = (found - truth).abs().mean(1) / (truth.mean(1) + _DARK)
    return _examples(torch.exp(-((error / _WRONG) ** 2) / 2)[None])[0]


def _examples(grid: Tensor) -> Tensor:
    """(1, C, h, w) to (C, N): a cell of four, as those beside it tell much the same."""
    return grid[0, :, ::2, ::2].flatten(1)
