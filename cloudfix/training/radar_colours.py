"""What colours radar stands for, learned from clear images with radar before the network is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch

from cloudfix.models.inputs import assemble
from cloudfix.models.radar_colours import cells, look_of
from cloudfix.sensors import SAR_SLOTS
from cloudfix.training.datasets.sample import readable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from cloudfix.models.cards import Card
    from cloudfix.models.radar_colours import RadarColours
    from cloudfix.training.datasets.sample import Dataset, Sample

_MOST = 512
"""Images that are looked at, spread over the data set: so few coefficients need no more."""


def fit_colours(colours: RadarColours, dataset: Dataset, card: Card) -> None:
    """Fit to the images of a data set that have radar, in place; each region counts the same.

    Args:
        colours: of the network that is to be trained.
        dataset: the training split; images without radar or without some of the bands, and such as cannot be read, are
            left out.
        card: of the network.
    """
    looks, grounds, regions = list[torch.Tensor](), list[torch.Tensor](), list[str]()
    places = dataset.regions()
    for index, sample in readable(dataset, range(0, len(dataset), -(-len(dataset) // _MOST))):
        if sample.sar is None or set(card.slots) - set(sample.slots):
            continue
        seen, ground = _examples(sample, sample.sar, card)
        looks.append(seen)
        grounds.append(ground)
        regions += [places[index]] * len(seen)
    if not regions:
        return
    counts = Counter(regions)
    trust = torch.tensor([1 / counts[region] for region in regions])
    colours.fit(torch.cat(looks), torch.cat(grounds), trust)


def _examples(sample: Sample, sar: NDArray[np.float32], card: Card) -> tuple[Tensor, Tensor]:
    """Where there is radar: what it shows, (N, 4), and the colours in the network's units, (N, slots of the card)."""
    optical, radar = (
        {slot: torch.from_numpy(plane)[None] for slot, plane in zip(slots, image, strict=True)}
        for slots, image in ((sample.slots, sample.clear), (SAR_SLOTS, sar))
    )
    inputs = assemble(card, optical, radar)
    bands = len(card.slots)
    look, ground = look_of(inputs[:, :-bands]), cells(inputs[:, -bands:])
    known = look.known[0, 0] > 0
    return look.seen[0, :, known].T, ground[0, :, known].T
