"""What an image under an even veil looks like, learned from pairs before the network is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cloudfix.models.density import statistics
from cloudfix.models.veil import overall_transmission, undone, veiled
from cloudfix.training.datasets.sample import readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from cloudfix.models.cards import Card
    from cloudfix.models.density import VeilDensity
    from cloudfix.training.datasets.sample import Dataset

_EXPLAINED = 0.08
"""Root mean square error on 0…1 up to which an even veil is what makes the difference of a pair."""

_LAID_ON = tuple(0.2 + (k + 0.5) / 24 for k in range(16))
"""Transmissions of veils that are laid over each clear image; together they count as much as the pair."""

_GROUNDS = 0.2
"""What all further grounds together count for, as a share of the pairs."""


def fit_density(density: VeilDensity, dataset: Dataset, card: Card, grounds: Dataset | None = None) -> None:
    """Fit to the pairs of a data set that an even veil explains, and to veils laid over clear images, in place.

    Args:
        density: of the network that is to be trained.
        dataset: the training split; images without a pair, and such as cannot be read, are left out.
        card: of the network.
        grounds: another data set, over whose clear images veils are laid, too.
    """
    looks, veils, laid = list[torch.Tensor](), list[torch.Tensor](), list[torch.Tensor]()
    for clear, cloudy in clear_and_cloudy(dataset, card):
        if cloudy is None:
            continue
        t = overall_transmission(cloudy, clear)
        if (undone(cloudy, t) - clear).square().mean().sqrt() > _EXPLAINED:
            continue
        looks.append(statistics(cloudy))
        veils.append(t.reshape(1))
        laid.append(_laid_over(clear))
    if not looks:
        return
    further = [_laid_over(clear) for clear, _ in clear_and_cloudy(grounds, card)] if grounds else []
    pairs, each = len(looks), 1 / len(_LAID_ON)
    trust = [1.0] * pairs + [each] * len(_LAID_ON) * pairs
    if further:
        trust += [each * _GROUNDS * pairs / len(further)] * len(_LAID_ON) * len(further)
    veils += [torch.tensor(_LAID_ON)] * (pairs + len(further))
    density.fit(torch.cat(looks + laid + further), torch.cat(veils), torch.tensor(trust), known=pairs)


def clear_and_cloudy(dataset: Dataset, card: Card) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The clear and the cloudy image of each sample that can be read, (1, 3, H, W), cut to sides that divide by 8."""
    for _, sample in readable(dataset, range(len(dataset))):
        channels = [sample.slots.index(slot) for slot in card.slots]
        yield _image(sample.clear, channels), None if sample.cloudy is None else _image(sample.cloudy, channels)


def _image(image: NDArray[np.float32], channels: list[int]) -> Tensor:
    rows, columns = (length // 8 * 8 for length in image.shape[1:])
    return torch.from_numpy(image[channels, :rows, :columns].clip(0, 1))[None].nan_to_num()


def _laid_over(clear: Tensor) -> Tensor:
    """(16, 13) what an image looks like under veils."""
    return torch.cat([statistics(veiled(clear, t)) for t in _LAID_ON])
