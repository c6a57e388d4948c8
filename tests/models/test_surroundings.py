from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.models import create
from cloudfix.models.surroundings import Filling, Matching, pull_push

SIDES = st.integers(1, 21)


@given(SIDES, SIDES, st.integers(0, 2**16), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_what_is_seen_stays_and_fills_the_rest_within_its_range(
    height: int, width: int, seed: int, share: float
) -> None:
    random = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 3, height, width, generator=random)
    seen = (torch.rand(2, 1, height, width, generator=random) < share).float()
    filled = pull_push(image, seen)
    torch.testing.assert_close(filled * seen, image * seen)
    for one, weight, whole in zip(image, seen, filled, strict=True):
        for band, out in zip(one, whole, strict=True):
            known = band[weight[0] > 0]
            least, most = (known.min(), known.max()) if len(known) else (torch.tensor(0), torch.tensor(0))
            assert least - 1e-5 <= out.min() and out.max() <= most + 1e-5


@given(SIDES, SIDES, st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_what_is_hidden_has_no_say(height: int, width: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    image, other = torch.rand(2, 1, 3, height, width, generator=random)
    seen = (torch.rand(1, 1, height, width, generator=random) < 0.3).float()
    mixed = torch.where(seen > 0, image, other)
    torch.testing.assert_close(pull_push(mixed, seen), pull_push(image, seen))


def test_near_colours_weigh_more_than_far_ones() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., 32:] = 1
    seen = torch.ones(1, 1, 64, 64)
    seen[..., 8:56] = 0
    row = pull_push(image, seen)[0, 0, 32]
    assert row[10] < 0.2 < 0.8 < row[53]
    assert (row.diff() > -1e-5).all()


def test_the_share_says_how_much_of_what_is_hidden_comes_from_the_surroundings() -> None:
    torch.manual_seed(0)
    image, restored, trust = torch.rand(1, 3, 32, 48), torch.rand(1, 3, 32, 48), 100 * torch.randn(1, 1, 32, 48).sign()
    filling = Filling()
    seen = (trust > 0).float()
    ours, theirs = (filling(image, restored, trust, torch.full_like(trust, share)) for share in (-100, 100))
    torch.testing.assert_close(ours, restored)
    torch.testing.assert_close(theirs, torch.where(seen > 0, restored, pull_push(image, seen)), atol=1e-3, rtol=0)


def test_where_more_is_seen_nearby_more_is_taken_from_there() -> None:
    image, restored, share = torch.ones(1, 1, 64, 64), torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    trust = torch.full_like(share, -50.0)
    trust[..., :16] = 50
    row = Filling()(image, restored, trust, share)[0, 0, 32]
    assert row[20] > row[40] > row[60] > 0


def test_a_tile_under_cloud_alone_is_filled_with_the_colours_of_the_ground_around() -> None:
    torch.manual_seed(0)
    image, restored = torch.rand(2, 3, 32, 48), torch.rand(2, 3, 32, 48)
    hidden, seen = torch.full((2, 1, 32, 48), -50.0), torch.full((2, 1, 32, 48), 50.0)
    share, ground = torch.full_like(hidden, -50), torch.tensor([[0.1, 0.2, torch.nan, 1.0]] * 2)
    filling = Filling()
    filled = filling(image, restored, hidden, share, ground)
    torch.testing.assert_close(filled[:, :2].mean((2, 3)), ground[:, :2])
    moved = filled - restored
    torch.testing.assert_close(moved, moved[..., :1, :1].expand_as(moved))
    torch.testing.assert_close(filled[:, 2], restored[:, 2])
    torch.testing.assert_close(filling(image, restored, seen, share, ground), restored)


def test_matching_shifts_what_is_hidden_to_the_mean_of_what_is_seen() -> None:
    torch.manual_seed(0)
    image, restored, trust = torch.rand(2, 3, 32, 48), torch.rand(2, 3, 32, 48), torch.full((2, 1, 32, 48), 50.0)
    image[:, :, :, 24:] += 5
    trust[..., 24:] = -50
    matching = Matching()
    torch.nn.init.constant_(matching.share, -50)
    matched = matching(image, restored, trust)
    torch.testing.assert_close(matched[..., :24], restored[..., :24])
    moved = matched[..., 24:] - restored[..., 24:]
    torch.testing.assert_close(moved, moved[..., :1, :1].expand_as(moved))
    torch.testing.assert_close(matched[..., 24:].mean((2, 3)), image[..., :24].mean((2, 3)))


@pytest.mark.parametrize("logit", [-50.0, 50.0])
def test_matching_leaves_alone_what_it_has_nothing_to_match_with(logit: float) -> None:
    image, restored = torch.ones(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(Matching()(image, restored, torch.full((1, 1, 16, 16), logit)), restored)


def test_the_less_is_seen_the_less_is_shifted() -> None:
    image, restored = torch.ones(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    shifts = []
    for columns in (4, 16, 32):
        trust = torch.full((1, 1, 64, 64), -50.0)
        trust[..., :columns] = 50
        shifts.append(Matching()(image, restored, trust)[..., -1].mean().item())
    assert 0 < shifts[0] < shifts[1] < shifts[2] < 1


def test_the_ground_around_counts_the_more_the_less_is_seen() -> None:
    image, restored, ground = torch.ones(1, 1, 64, 64), torch.zeros(1, 1, 64, 64), torch.tensor([[2.0, 1.0]])
    means = []
    for columns in (0, 4, 32, 60):
        trust = torch.full((1, 1, 64, 64), -50.0)
        trust[..., :columns] = 50
        matching = Matching()
        torch.nn.init.constant_(matching.share, -50)
        means.append(matching(image, restored, trust, ground)[..., -1].mean().item())
    assert means[0] == pytest.approx(2)
    assert means[0] > means[1] > means[2] > means[3] == pytest.approx(1, abs=0.01)


def test_ground_does_not_count_where_the_mask_hides_nothing() -> None:
    image, restored, trust = torch.rand(1, 2, 16, 16), torch.rand(1, 2, 16, 16), torch.full((1, 1, 16, 16), -1.0)
    expected = Matching()(image, restored, trust)
    torch.testing.assert_close(Matching()(image, restored, trust, torch.tensor([[5.0, 5.0, 0.0]])), expected)


def test_ground_that_is_not_known_changes_nothing() -> None:
    torch.manual_seed(0)
    image, restored, trust = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16), torch.randn(2, 1, 16, 16)
    ground = torch.cat([torch.full((2, 3), torch.nan), torch.ones(2, 1)], dim=1)
    expected = Matching()(image, restored, trust)
    torch.testing.assert_close(Matching()(image, restored, trust, ground), expected)


@pytest.mark.parametrize("name", ["dsen2-cr", "aca-crnet"])
@pytest.mark.parametrize("skip", ["filled", "matched"])
def test_where_nothing_is_seen_these_skips_are_the_gated_one(name: str, skip: str) -> None:
    torch.manual_seed(0)
    options = {"in_channels": 5, "out_channels": 3, "blocks": 4, "features": 8}
    gated, ours = create(name, **options, skip="gated"), create(name, **options, skip=skip)
    x = torch.rand(2, 5, 16, 24)
    added = {key: torch.zeros_like(value[6:]) for key, value in ours.state_dict().items() if key.startswith("refine")}
    # Nothing is trusted, and nothing comes from around.
    added["refine.bias"][:] = -50
    grown = {key: torch.cat([gated.state_dict()[key], zeros]) for key, zeros in added.items()}
    ours.load_state_dict({**ours.state_dict(), **gated.state_dict(), **grown})
    if skip == "filled":
        torch.nn.init.constant_(ours.detail.gates.bias, 50)
    torch.testing.assert_close(ours(x), gated(x))
    if skip == "filled":
        # All of it comes from around, where nothing is seen: black.
        grown["refine.bias"][-1] = 50
        ours.load_state_dict({**ours.state_dict(), **grown})
        torch.testing.assert_close(ours(x), torch.zeros(2, 3, 16, 24))
