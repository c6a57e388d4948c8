"""What a network restores and what it guesses is learned from what it makes of training pairs, after its training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cloudfix.models import Card, create
from cloudfix.models.confidence import Confidence
from cloudfix.training.confidence import fit_confidence
from cloudfix.training.datasets.sample import Sample
from cloudfix.training.networks import SAR_INPUTS
from tests.training.in_memory import InMemory

RGB = ("red", "green", "blue")
OPTIONS = {"in_channels": 5, "out_channels": 3, "blocks": 4, "features": 4, "skip": "guided"}
CARD = Card("aca-crnet.t", "aca-crnet", OPTIONS, RGB, sar=SAR_INPUTS, scale=5.0)
SIDE = 62


class Painter(nn.Module):
    """Paints reflectance 0.3 over all that is brighter than 0.6, and leaves the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.confidence = Confidence()
        self.shown: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        image = inputs[:, 2:]
        self.shown.append(image / 5)
        return torch.where(image.mean(1, keepdim=True) > 3, 1.5, image)


def pair(seed: int, ground: float, region: str = "") -> Sample:
    """Ground of some brightness, its upper half under cloud."""
    random = np.random.default_rng(seed)
    clear = (ground * np.exp(0.2 * random.normal(size=(3, SIDE, SIDE)))).clip(0, 0.5).astype(np.float32)
    cloudy = clear.copy()
    cloudy[:, :31] = 0.8
    return Sample(str(seed), RGB, clear, cloudy, region=region or str(seed))


def learned(*samples: Sample) -> Painter:
    painter = Painter()
    fit_confidence(painter, InMemory(samples), CARD)
    return painter


def likely(painter: Painter, sample: Sample) -> Tensor:
    assert sample.cloudy is not None
    image = 5 * torch.from_numpy(sample.cloudy)[None]
    found: Tensor = painter.confidence(image, painter(torch.cat([torch.zeros(1, 2, SIDE, SIDE), image], dim=1)))
    return found


DARK = [pair(seed, 0.1) for seed in range(6)]


def test_guesses_that_are_wrong_and_pixels_left_alone_are_told_apart() -> None:
    found = likely(learned(*DARK), pair(99, 0.12))
    assert found[..., :6, :].max() < 0.2
    assert found[..., 9:, :].min() > 0.8


def test_guesses_that_are_right_are_trusted() -> None:
    assert likely(learned(*(pair(seed, 0.3) for seed in range(6))), pair(99, 0.3))[..., :6, :].mean() > 0.7


def test_of_a_pair_both_images_are_shown() -> None:
    shown = learned(DARK[0]).shown
    assert len(shown) == 2
    for image, given in zip(shown, (DARK[0].cloudy, DARK[0].clear), strict=True):
        assert given is not None
        torch.testing.assert_close(image[0], torch.from_numpy(given)[:, :60, :60])


def test_a_region_counts_by_the_root_of_its_pairs() -> None:
    crowd = [pair(100 + seed, 0.1, "crowd") for seed in range(25)]
    lone = [pair(200 + seed, 0.3) for seed in range(10)]
    assert (
        likely(learned(*crowd, *lone), DARK[0])[..., :6, :].mean()
        > likely(learned(*(replace(sample, region=sample.name) for sample in crowd), *lone), DARK[0])[..., :6, :].mean()
    )


def test_what_is_no_pair_is_left_out() -> None:
    lacking = replace(DARK[1], slots=("red", "green", "nir"))
    others = (replace(DARK[1], name="corrupt"), lacking, replace(DARK[0], cloudy=None))
    expected, found = learned(*DARK), learned(*others, *DARK)
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor)


def test_what_was_learned_before_has_no_say() -> None:
    painter = learned(*DARK)
    fit_confidence(painter, InMemory([replace(DARK[0], cloudy=None)]), CARD)
    assert not likely(painter, DARK[0]).any()


def test_a_network_without_it_stays_as_it_is() -> None:
    network = create("aca-crnet", in_channels=5, out_channels=3, blocks=4, features=4)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit_confidence(network, InMemory(DARK), CARD)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_run_learns_it_after_the_network(guided_run: Any) -> None:
    assert guided_run.surroundings.confidence.fitted == 1
