"""What was restored is told from what was guessed; guesses get the colours of what was restored nearby."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.models.confidence import Confidence, cells, traits
from cloudfix.models.surroundings import Matching

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 96
CLOUD, SHADOW, CLEAR = (
    (..., slice(0, 96), slice(0, 28)),
    (..., slice(68, 96), slice(36, 96)),
    (..., slice(4, 60), slice(36, 92)),
)
"""Parts of a scene, some pixels away from each other."""


def scene(seed: int, ground: float, painted: float) -> tuple[Tensor, Tensor, Tensor]:
    """A cloudy image, what a network made of it and (1, 1, H, W) where it guessed: under cloud and in shadow."""
    random = torch.Generator().manual_seed(seed)
    clear = ground * torch.exp(0.2 * torch.randn(1, 3, SIDE, SIDE, generator=random))
    image, guessed = clear.clone(), torch.zeros(1, 1, SIDE, SIDE)
    image[..., :32] = 3 + 0.1 * torch.randn(1, 3, SIDE, 32, generator=random)
    image[..., 64:, 32:] *= 0.2
    guessed[..., :32] = 1
    guessed[..., 64:, :] = 1
    return image, torch.where(guessed > 0, painted, clear), guessed


def taught() -> Confidence:
    confidence, looks, rights = Confidence(), list[torch.Tensor](), list[torch.Tensor]()
    for seed in range(6):
        image, restored, guessed = scene(seed, 0.3 + 0.1 * seed, 1.2 - 0.1 * seed)
        looks.append(traits(image, restored).flatten(2)[0].T)
        rights.append(1 - cells(guessed).flatten())
    confidence.fit(torch.cat(looks), torch.cat(rights), torch.ones(sum(map(len, rights))))
    return confidence


@pytest.fixture(scope="module")
def knowing() -> Confidence:
    return taught()


def matched(confidence: Confidence, image: Tensor, restored: Tensor) -> Tensor:
    """By a matching that trusts nothing by itself, so that it shifts nothing."""
    matching = Matching(radar_bands=3)
    matching.confidence = confidence
    with torch.no_grad():
        result: Tensor = matching(image, restored, torch.full((1, 1, *image.shape[2:]), -40.0))
    return result


def test_guesses_over_other_ground_are_told_from_what_was_restored(knowing: Confidence) -> None:
    image, restored, _ = scene(77, 0.75, 0.4)
    likely = knowing(image, restored)
    assert likely.shape == (1, 1, SIDE // 4, SIDE // 4)
    whole = likely.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert whole[CLEAR].min() > 0.8
    assert whole[CLOUD].max() < 0.2
    assert whole[SHADOW].max() < 0.2


def test_the_same_examples_teach_the_same(knowing: Confidence) -> None:
    image, restored, _ = scene(77, 0.75, 0.4)
    torch.testing.assert_close(taught()(image, restored), knowing(image, restored), atol=1e-3, rtol=0)


def test_examples_count_as_much_as_they_are_trusted() -> None:
    confidence, seen = Confidence(), torch.rand(400, 11, generator=torch.Generator().manual_seed(1))
    right = torch.cat([torch.zeros(200), torch.ones(200)])
    confidence.fit(seen, right, torch.cat([torch.full((200,), 1e-4), torch.ones(200)]))
    image = torch.rand(1, 3, 32, 32)
    assert confidence(image, image).min() > 0.9


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_before_it_is_taught_it_trusts_nothing(height: int, width: int, seed: int) -> None:
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    assert not Confidence()(image, image.flip(2)).any()
    torch.testing.assert_close(matched(Confidence(), image, image.flip(2)), image.flip(2))


def test_what_was_forgotten_is_not_trusted() -> None:
    confidence = taught()
    confidence.forget()
    image, restored, _ = scene(7, 0.5, 1.0)
    assert not confidence(image, restored).any()


def test_guesses_become_more_like_what_was_restored_near_them(knowing: Confidence) -> None:
    image, restored, _ = scene(5, 0.5, 1.0)
    result = matched(knowing, image, restored)
    for part in (CLOUD, SHADOW):
        assert result[part].mean() == pytest.approx(0.51, abs=0.06)
    assert (result[CLEAR] - restored[CLEAR]).abs().mean() < 0.01


def test_radar_tells_how_guesses_differ_from_what_is_near_them(knowing: Confidence) -> None:
    """Water under cloud beside land is not filled with land."""
    image, restored, _ = scene(5, 0.5, 1.0)
    matching = Matching(radar_bands=3)
    matching.confidence = knowing
    assert matching.colours is not None
    seen = torch.rand(2000, 4, generator=torch.Generator().manual_seed(0))
    # a band has as much as VV
    matching.colours.fit(seen, seen[:, :1].expand(-1, 3), torch.ones(2000))
    radar = torch.full((1, 2, SIDE, SIDE), 0.9)
    radar[..., :32] = 0.3
    flat = torch.full_like(radar, 0.6)
    land, water = (
        matching(image, restored, torch.full((1, 1, SIDE, SIDE), -40.0), None, shown)[CLOUD].mean().item()
        for shown in (flat, radar)
    )
    assert land - water > 0.15


def test_where_hardly_anything_was_restored_nothing_is_filled(knowing: Confidence) -> None:
    image = 3 + 0.1 * torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    restored = torch.full_like(image, 1.0)
    torch.testing.assert_close(matched(knowing, image, restored), restored, atol=0.02, rtol=0)


def test_a_network_that_fills_can_be_trained_further(knowing: Confidence) -> None:
    """Confidence is not trained through: where there is no contrast, its root has no slope."""
    image, restored, _ = scene(5, 0.5, 1.0)
    matching = Matching(radar_bands=3)
    matching.confidence = knowing
    painted = restored.requires_grad_()
    matching(image, painted, torch.full((1, 1, SIDE, SIDE), -40.0))[CLOUD].sum().backward()
    assert painted.grad is not None
    assert painted.grad.isfinite().all()
