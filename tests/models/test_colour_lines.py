"""Colour lines: ground in light and shade points at the veil over it."""

from __future__ import annotations

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from cloudfix.models.colour_lines import colour_lines

SAND = torch.tensor([0.7, 0.5, 0.3])


def shaded(colour, seed=0, side=32):
    """One ground in light and shade."""
    light = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(seed))
    return colour[:, None, None] * (0.3 + 0.7 * light)


@given(t=st.floats(0.3, 1), seed=st.integers(0, 100))
@example(t=0.9548843142318049, seed=55)  # in single precision its line seems blurred
def test_ground_in_light_and_shade_points_at_the_brightness_of_the_veil(t, seed):
    level, trust = colour_lines(shaded(SAND, seed) * t + (1 - t) ** 2)
    torch.testing.assert_close(level, torch.full_like(level, (1 - t) ** 2), atol=1e-3, rtol=0)
    assert trust.min() > 0.9


def test_what_tells_nothing_is_not_trusted():
    """Grey ground, whose line lies along the greys; ground of one brightness; and ground of all colours."""
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for image in (shaded(torch.full((3,), 0.5)), SAND[None, :, None, None].expand(1, 3, 32, 32), noise):
        assert colour_lines(image)[1].max() == 0


def test_noise_lowers_the_trust():
    clean = shaded(SAND) * 0.5 + 0.25
    noisy = clean + 0.02 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    assert colour_lines(noisy)[1].mean() < colour_lines(clean)[1].mean() / 2
