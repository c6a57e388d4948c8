"""How a veil changes within an image is learned from clear images alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cloudfix.models import Card
from cloudfix.models.transmission_map import TransmissionMap
from cloudfix.models.veil import veiled
from cloudfix.training.datasets.sample import Sample
from cloudfix.training.transmission_map import fit_transmission_map
from tests.training.in_memory import InMemory

RGB = ("red", "green", "blue")
CARD = Card("thiefcloud.t", "thiefcloud", {"veil": "even"}, RGB, tile=64, overlap=0)


def clear(seed: int) -> Sample:
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 16, 16, generator=random)
    image = F.interpolate(coarse, (68, 64), mode="bilinear")[0] * 0.6 + 0.1 * torch.rand(3, 68, 64, generator=random)
    return Sample(str(seed), RGB, image.numpy())


def learned(*samples: Sample, steps: int = 120) -> TransmissionMap:
    torch.manual_seed(0)
    network = TransmissionMap()
    fit_transmission_map(network, [InMemory(samples)], CARD, steps=steps)
    return network


GROUNDS = [clear(seed) for seed in range(6)]


def slope() -> Tensor:
    """(1, 1, 64, 64) a veil that becomes thinner from left to right."""
    return torch.linspace(0.25, 0.65, 64).expand(1, 1, 64, 64)


def test_where_a_veil_is_thicker_over_another_ground_is_told() -> None:
    ground = torch.from_numpy(clear(9).clear[None, :, :64])
    found, true = learned(*GROUNDS)(veiled(ground, slope())), F.avg_pool2d(slope(), 8)
    assert (found - true).abs().mean() < 0.6 * (true - true.mean()).abs().mean()


def test_cloudy_images_and_such_as_cannot_be_read_teach_nothing() -> None:
    cloudy = np.ones_like(GROUNDS[0].clear)
    expected = learned(*GROUNDS, steps=2)
    found = learned(replace(GROUNDS[0], cloudy=cloudy), *GROUNDS[1:], replace(GROUNDS[1], name="corrupt"), steps=2)
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor)


def test_it_is_known_when_learned_and_learns_no_more_with_the_network() -> None:
    network = learned(*GROUNDS, steps=1)
    assert network.fitted == 1
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_without_an_image_nothing_is_known() -> None:
    assert learned().fitted == 0
