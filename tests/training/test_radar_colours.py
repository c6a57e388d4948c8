"""What radar stands for is learned from clear images with radar, each region counting the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cloudfix.models import Card
from cloudfix.models.radar_colours import RadarColours
from cloudfix.training.datasets.sample import Sample
from cloudfix.training.networks import SAR_INPUTS
from cloudfix.training.radar_colours import fit_colours
from tests.training.in_memory import InMemory

RGB = ("red", "green", "blue")
OPTIONS = {"in_channels": 5, "out_channels": 3, "blocks": 4, "features": 4, "skip": "guided"}
CARD = Card("aca-crnet.t", "aca-crnet", OPTIONS, RGB, sar=SAR_INPUTS, scale=5.0)


def place(seed: int, colour: float, region: str = "") -> Sample:
    """Ground that is the brighter the more VV there is: `colour` at -15 dB, 0.04 more for each dB."""
    random = np.random.default_rng(seed)
    vv = random.uniform(-20, -10) + random.normal(0, 1, (10, 10)).repeat(8, 0).repeat(8, 1)
    sar = np.stack([vv, np.full_like(vv, -22)]).astype(np.float32)
    clear = np.broadcast_to(colour + 0.04 * (sar[:1] + 15), (3, 80, 80)).astype(np.float32)
    return Sample(str(seed), RGB, clear.clip(0, 1), sar=sar, region=region or str(seed))


def learned(*samples: Sample) -> RadarColours:
    colours = RadarColours(3)
    fit_colours(colours, InMemory(samples), CARD)
    return colours


def reflectance_at(colours: RadarColours, vv: float) -> float:
    seen = torch.tensor([vv * 0.08 + 2, -22 * 2 / 32.5 + 2, 0.05, 0.0])
    return colours.expected(seen.view(1, 4, 1, 1)).mean().item() / 5


PLACES = [place(seed, 0.4) for seed in range(8)]


def test_colours_of_other_places_are_told() -> None:
    colours = learned(*PLACES)
    assert reflectance_at(colours, -17) == pytest.approx(0.32, abs=0.03)
    assert reflectance_at(colours, -12) == pytest.approx(0.52, abs=0.03)


def test_a_region_with_many_images_counts_as_one() -> None:
    crowd = [place(100 + seed, 0.2, "crowd") for seed in range(24)]
    lone = [place(200 + seed, 0.6) for seed in range(24)]
    assert reflectance_at(learned(*crowd, *lone), -15) > 0.5
    assert reflectance_at(learned(*(replace(s, region=s.name) for s in crowd), *lone), -15) == pytest.approx(
        0.4, abs=0.05
    )


def test_what_does_not_show_both_is_left_out() -> None:
    lacking = replace(PLACES[1], slots=("red", "green"), clear=PLACES[1].clear[:2])
    expected, found = (
        learned(*PLACES),
        learned(replace(PLACES[1], name="corrupt"), lacking, *PLACES, replace(PLACES[0], sar=None)),
    )
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor)


def test_ground_without_radar_is_left_out() -> None:
    half = replace(PLACES[0], sar=np.where(np.arange(80) < 40, PLACES[0].sar, np.nan).astype(np.float32))
    dark = replace(half, clear=np.where(np.arange(80) < 60, half.clear, 0).astype(np.float32))
    for name, tensor in learned(half, *PLACES[1:]).state_dict().items():
        torch.testing.assert_close(learned(dark, *PLACES[1:]).state_dict()[name], tensor)


def test_a_run_learns_it_before_the_network(guided_run: Any) -> None:
    colours = guided_run.surroundings.colours
    assert colours.share > 0
    assert colours.coefficients[0].min() > 0


def test_without_radar_nothing_is_known() -> None:
    assert learned(replace(PLACES[0], sar=None)).share == 0
