"""Colours that radar tells: learned from few examples, used for what is painted, and for nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.errors import ModelError
from cloudfix.models import create
from cloudfix.models.radar_colours import RadarColours, look_of
from cloudfix.models.surroundings import Matching

if TYPE_CHECKING:
    from torch import Tensor


def taught(bands: int = 3) -> RadarColours:
    """Knows that each band has 1 more where VV has 0.5 more: 2 at 0.5, 3 at 1."""
    colours = RadarColours(bands)
    random = torch.Generator().manual_seed(0)
    seen = torch.rand(2000, 4, generator=random) * torch.tensor([1, 1, 0.1, 0.1]) + torch.tensor([0.25, 0.25, 0, 0])
    colours.fit(seen, (1 + 2 * seen[:, :1]).expand(-1, bands), torch.ones(len(seen)))
    return colours


def radar(vv: Tensor) -> Tensor:
    """(1, H, W) of VV, and VH that tells nothing: (1, 2, H, W)."""
    return torch.stack([vv, torch.full_like(vv, 0.6)], dim=1)


def halves(left: float, right: float, height: int = 80, width: int = 160) -> Tensor:
    image = torch.full((1, height, width), left)
    image[..., width // 2 :] = right
    return image


def test_what_ten_terms_can_say_is_learned_from_examples() -> None:
    random = torch.Generator().manual_seed(1)
    seen = torch.rand(4000, 4, generator=random)
    vv, vh, rough, _ = seen.T
    truth = torch.stack([vv**2 - vh, vv * vh + rough**2], dim=1)
    colours = RadarColours(2)
    colours.fit(seen, truth, torch.rand(4000, generator=random) + 0.1)
    found = colours.expected(seen.T[None, :, :, None])[0, :, :, 0].T
    assert (found - truth).abs().mean() < 0.02


def test_the_examples_that_count_most_decide() -> None:
    seen = torch.rand(400, 4, generator=torch.Generator().manual_seed(2))
    colours = RadarColours(1)
    truth = torch.cat([torch.zeros(200, 1), torch.ones(200, 1)])
    colours.fit(seen, truth, torch.cat([torch.full((200,), 1e-4), torch.ones(200)]))
    assert colours.expected(seen.T[None, :, :, None]).mean() == pytest.approx(1, abs=0.05)


def test_beyond_all_examples_the_outermost_count() -> None:
    colours = taught()
    far = torch.tensor([9.0, -9, 9, 9]).view(1, 4, 1, 1)
    edge = torch.stack([colours.most[0], colours.least[1], *colours.most[2:]]).view(1, 4, 1, 1)
    torch.testing.assert_close(colours.expected(far), colours.expected(edge))


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_pixels_without_radar_have_no_say(height: int, width: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    there = torch.rand(1, 1, height, width, generator=random) < 0.3
    flat = torch.tensor([0.7, 0.4]).view(1, 2, 1, 1)
    look = look_of(torch.where(there, flat, torch.tensor([0.9, 0]).view(1, 2, 1, 1)))
    known = look.known[:, 0] > 0
    assert known.any() == there.any()
    torch.testing.assert_close(look.seen.movedim(1, -1)[known][:, :2], flat.view(1, 2).expand(int(known.sum()), 2))
    assert look.seen[:, 2:].max() < 1e-3


def test_one_channel_is_no_radar() -> None:
    assert not look_of(torch.stack([torch.ones(1, 40, 40), torch.zeros(1, 40, 40)], dim=1)).known.any()


def test_what_is_painted_moves_halfway_to_what_is_expected() -> None:
    colours, cloud = taught(), torch.full((1, 3, 80, 160), 500.0)
    painted = 1 + 0.2 * torch.randn(cloud.shape, generator=torch.Generator().manual_seed(4))
    moved, differing = colours(radar(halves(0.5, 1.0)), cloud, painted, torch.ones(1, 1, 80, 160))
    assert moved[..., :40].std() < 0.03
    # away from the border, which both squares see
    torch.testing.assert_close(moved[..., :40].mean(), torch.tensor(1.5), atol=0.02, rtol=0)
    torch.testing.assert_close(moved[..., -40:].mean(), torch.tensor(2.0), atol=0.02, rtol=0)
    assert differing.mean() == pytest.approx(0, abs=1e-4)
    assert (differing[..., -40:] - differing[..., :40]).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("kind", ["seen", "haze"])
def test_what_is_no_guess_stays(kind: str) -> None:
    restored = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(3))
    image = restored + (0.02 if kind == "haze" else 5)
    hidden = torch.full((1, 1, 48, 48), 0.0 if kind == "seen" else 1.0)
    moved, _ = taught()(radar(torch.full((1, 48, 48), 0.9)), image, restored, hidden)
    torch.testing.assert_close(moved, restored, atol=1e-3 if kind == "haze" else 1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["no radar", "not taught"])
def test_what_radar_says_nothing_of_keeps_its_colours(kind: str) -> None:
    restored = 2 + torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(3))
    shown = radar(torch.full((1, 48, 48), 0.9)) * (kind != "no radar")
    colours = RadarColours(3) if kind == "not taught" else taught()
    moved, differing = colours(shown, restored + 500, restored, torch.ones(1, 1, 48, 48))
    torch.testing.assert_close(moved.mean((2, 3)), restored.mean((2, 3)), atol=0.02, rtol=0)
    assert not differing.any()


def test_what_is_hidden_differs_from_what_is_seen_as_radar_expects() -> None:
    """Water under cloud beside land that is seen: its colours are not those of the land."""
    matching = Matching(radar_bands=3)
    matching.colours = taught()
    matching.colours.share.fill_(1)
    torch.nn.init.constant_(matching.share, -50)
    image, trust = torch.full((1, 3, 80, 160), 50.0), halves(50, -50)[None]
    image[..., :80] = 2.2
    restored = torch.where(trust > 0, image, torch.zeros(()))
    with_radar, without = (
        matching(image, restored, trust, None, shown)[..., -40:].mean().item()
        for shown in (radar(halves(0.5, 1.0)), torch.zeros(1, 2, 80, 160))
    )
    assert without == pytest.approx(2.2, abs=1e-3)
    assert with_radar == pytest.approx(3.2, abs=0.1)


@pytest.mark.parametrize("name", ["dsen2-cr", "aca-crnet"])
def test_a_network_without_vv_and_vh_cannot_be_guided(name: str) -> None:
    with pytest.raises(ModelError, match="in_channels=4: a guided skip looks at VV and VH"):
        create(name, in_channels=4, out_channels=3, blocks=4, features=4, skip="guided")
