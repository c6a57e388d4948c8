from __future__ import annotations

import torch

from cloudfix.clouds.simulation.drift import sampled
from cloudfix.clouds.simulation.layers import Seen, _scatter
from cloudfix.clouds.simulation.light import CloudLight


def over(ground: float, depth: float, backward: float, opaque: float = 0.8) -> float:
    """Reflectance of even ground under an even layer of droplets."""
    level = torch.full((1, 1, 1, 1), ground, dtype=torch.float64)
    scene = Seen(torch.ones_like(level), torch.zeros_like(level), level)
    light = CloudLight(torch.full_like(level, opaque), torch.full_like(level, backward))
    _scatter(scene, torch.full_like(level, depth), light)
    return float(level * scene.gain + scene.light)


def test_the_light_thrown_back_is_that_between_two_streams() -> None:
    """Half of the opaque cloud's at τ = 1/β; over bright ground, (1 − b)² of its mean comes through."""
    assert abs(over(0, 10, 0.1) - 0.8 / 2) < 1e-9
    assert abs(over(0, 30, 0.1) - 0.8 * 3 / 4) < 1e-9
    assert abs(over(0.4, 10, 0.1) - (0.8 / 2 + 0.4 / 4)) < 1e-9
    assert over(0.4, 0, 0.1) == 0.4


def test_bicubic_sampling_between_pixels_keeps_more_detail_than_bilinear() -> None:
    field = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    half = torch.full((1, 1, 1, 1), 0.5)
    sharp, smooth = (sampled(field, 4, (half, half), (32, 32), smooth=smooth) for smooth in (False, True))
    assert sharp.std() > 1.1 * smooth.std()
    still = torch.zeros_like(half)
    torch.testing.assert_close(
        sampled(field, 4, (still, still), (32, 32), smooth=False), field[..., 4:36, 4:36], atol=1e-4, rtol=0
    )
