"""How a veil changes within an image, learned from uneven veils laid over clear images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cloudfix.models.transmission_map import CELL, THICKEST
from cloudfix.models.veil import veiled
from cloudfix.training.veil import clear_and_cloudy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloudfix.models.cards import Card
    from cloudfix.models.transmission_map import TransmissionMap
    from cloudfix.training.datasets.sample import Dataset

STEPS = 1500
"""Seven minutes of one core."""

_BATCH, _SIDE = 16, 256
_LR, _DECAY, _WARM_UP, _CLIP = 2e-3, 1e-3, 50, 1.0

_EVEN = 0.4
"""How many veils hardly change, by up to the first deviation; the others by one between the last two."""

_DEVIATIONS = (0.006, 0.01, 0.15)

_WAVES = (2, 3, 4, 6, 9)
"""How many values a side a veil is drawn from, at several scales."""

_CHANGES = 2
"""What an error in how a veil changes costs, beside one in how dense it is."""

_TOGETHER = 0.05
"""Transmission that is added to what errors are relative to."""


def fit_transmission_map(
    network: TransmissionMap, datasets: Iterable[Dataset], card: Card, *, steps: int = STEPS, seed: int = 0
) -> None:
    """Train a map, in place, on simulated veils alone.

    Args:
        network: on the CPU.
        datasets: their clear images are the ground; such as cannot be read are left out.
        card: of the network that the map is a part of.
        steps: of training.
        seed: of grounds and veils.
    """
    grounds = [clear[0] for dataset in datasets for clear, _ in clear_and_cloudy(dataset, card)]
    if not grounds:
        return
    random = torch.Generator().manual_seed(seed)
    network.requires_grad_()
    optimiser = torch.optim.AdamW(network.parameters(), lr=_LR, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / _WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2
    )
    for _ in range(steps):
        image, t = _veiled_images(grounds, random)
        optimiser.zero_grad()
        _error(network(image), F.avg_pool2d(t, CELL)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimiser.step()
        schedule.step()
    network.requires_grad_(requires_grad=False)
    network.fitted.fill_(1)


def _error(found: Tensor, true: Tensor) -> Tensor:
    """How far a map (B, 1, h, w) is off, relative to the transmission."""
    error = found - true
    change = error - error.mean((2, 3), keepdim=True)
    return ((error.abs() + _CHANGES * change.abs()) / (true + _TOGETHER)).mean()


def _veiled_images(grounds: Sequence[Tensor], random: torch.Generator) -> tuple[Tensor, Tensor]:
    """(16, 3, side, side) images under veils, and the transmissions of these, (16, 1, side, side)."""
    chosen = [grounds[index] for index in torch.randint(len(grounds), (_BATCH,), generator=random).tolist()]
    side = min(_SIDE, *(length for ground in chosen for length in ground.shape[1:]))
    clear = torch.stack([_seen_anew(ground, side, random) for ground in chosen])
    t = torch.cat([_transmission(side, random) for _ in chosen])
    # As files have them: under a thick veil the ground is a few grey levels.
    return (255 * veiled(clear, t)).round() / 255, t


def _seen_anew(ground: Tensor, side: int, random: torch.Generator) -> Tensor:
    """(3, side, side) a part of (3, H, W), turned; often nearer, in another light or of other colours."""
    near, lit, *rest = torch.rand(6, generator=random).tolist()
    part = side if near > 0.3 else int(side * (0.5 + 1.2 * near))
    top, left = (int(share * (length - part)) for share, length in zip(rest, ground.shape[1:], strict=False))
    image = F.interpolate(
        ground[None, :, top : top + part, left : left + part], (side, side), mode="bilinear", align_corners=False
    )[0]
    if lit < 0.6:
        tint = 1 + 0.12 * torch.randn(3, 1, 1, generator=random)
        image = tint * (0.7 + 0.5 * rest[2]) * image.clamp_min(1e-3) ** (0.75 + 0.6 * rest[3])
    turns = int(torch.randint(8, (1,), generator=random))
    turned: Tensor = torch.rot90(image, turns % 4, (-2, -1)).clamp(0, 1)
    return turned.flip(-1) if turns > 3 else turned


def _transmission(side: int, random: torch.Generator) -> Tensor:
    """(1, 1, side, side) of a veil that is drawn smoothly through random values."""
    level, even, spread = torch.rand(3, generator=random).tolist()
    waves = [
        torch.rand(1, generator=random) ** 2
        * F.interpolate(
            torch.randn(1, 1, count, count, generator=random), (side, side), mode="bicubic", align_corners=True
        )
        for count in _WAVES
    ]
    shape = torch.stack(waves).sum(0)
    hardly, least, most = _DEVIATIONS
    deviation = hardly * spread if even < _EVEN else least * (most / least) ** spread
    standard = (shape - shape.mean()) / (shape.std() + 1e-6)
    t: Tensor = THICKEST + (1 - THICKEST) * level + deviation * standard
    return t.clamp(THICKEST, 1)
