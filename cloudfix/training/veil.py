"""What an image under an even veil looks like, learned from pairs before the network is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cloudfix.models.density import statistics
from cloudfix.models.veil import overall_transmission, undone, veiled
from cloudfix.training.datasets.sample import readable

if TYPE_CHECKING:
    from cloudfix.models.cards import Card
    from cloudfix.models.density import VeilDensity
    from cloudfix.training.datasets.sample import Dataset

_EXPLAINED = 0.08
"""Root mean square error on 0…1 up to which an even veil is what makes the difference of a pair."""

_LAID_ON = tuple(0.25 + (k + 0.5) / 32 for k in range(16))
"""Transmissions of veils that are laid over each clear image; together they count as much as the pair."""


def fit_density(density: VeilDensity, dataset: Dataset, card: Card) -> None:
    """Fit to the pairs of a data set that an even veil explains, and to veils laid over their clear images, in place.

    Args:
        density: of the network that is to be trained.
        dataset: the training split; images without a pair, and such as cannot be read, are left out.
        card: of the network.
    """
    looks, veils = list[torch.Tensor](), list[float]()
    laid_looks, laid = list[torch.Tensor](), list[float]()
    for _, sample in readable(dataset, range(len(dataset))):
        if sample.cloudy is None:
            continue
        channels = [sample.slots.index(slot) for slot in card.slots]
        sides = [length // 8 * 8 for length in sample.clear.shape[1:]]
        cloudy, clear = (
            torch.from_numpy(image[channels, : sides[0], : sides[1]].clip(0, 1))[None].nan_to_num()
            for image in (sample.cloudy, sample.clear)
        )
        t = overall_transmission(cloudy, clear)
        if (undone(cloudy, t) - clear).square().mean().sqrt() > _EXPLAINED:
            continue
        looks.append(statistics(cloudy))
        veils.append(float(t))
        laid_looks += [statistics(veiled(clear, t)) for t in _LAID_ON]
        laid += _LAID_ON
    if not looks:
        return
    trust = [1.0] * len(veils) + [1 / len(_LAID_ON)] * len(laid)
    density.fit(torch.cat(looks + laid_looks), torch.tensor(veils + laid), torch.tensor(trust), len(veils))
