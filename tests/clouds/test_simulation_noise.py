from __future__ import annotations

import pytest
import torch

from cloudfix.clouds.simulation.grid import Grid
from cloudfix.clouds.simulation.hashing import Draws, white
from cloudfix.clouds.simulation.noise import FractalNoise, Streaks

IMAGES = 96


def noise(wavelength: float, billow: float = 0.0, images: int = IMAGES) -> FractalNoise:
    size = torch.full((images, 1, 1, 1), wavelength)
    falloff = torch.full_like(size, 0.6)
    return FractalNoise(
        key=Draws(torch.arange(images), torch.float32).key(),
        wavelength=size,
        highest=wavelength,
        falloff=(falloff, falloff),
        billow=torch.full_like(size, billow),
        stretch=torch.ones_like(size),
    )


def window(side: int, images: int = IMAGES) -> Grid:
    return Grid.window(5, 9, side, side + 3, like=torch.zeros(images))


@pytest.mark.parametrize(("wavelength", "billow"), [(4.0, 0.0), (11.0, 0.0), (40.0, 0.7)])
def test_noise_has_mean_0_and_deviation_1_over_many_images(wavelength: float, billow: float) -> None:
    values = noise(wavelength, billow).at(window(64))
    assert values.shape == (IMAGES, 1, 64, 67)
    assert abs(float(values.mean())) < 0.1
    assert 0.9 < float(values.std()) < 1.1


def test_streaks_have_mean_0_and_deviation_1_and_run_along_their_direction() -> None:
    flat = torch.zeros(IMAGES, 1, 1, 1)
    values = Streaks(noise(4.0).key, flat + 24, flat + 6, flat).at(window(96))
    assert abs(float(values.mean())) < 0.15
    assert 0.85 < float(values.std()) < 1.15
    along, across = (values.diff(dim=axis).abs().mean() for axis in (-1, -2))
    assert across > 3 * along


def test_larger_wavelengths_are_smoother() -> None:
    steps = [float(noise(size).at(window(64)).diff(dim=-1).abs().mean()) for size in (4.0, 16.0, 64.0)]
    assert steps == sorted(steps, reverse=True)


def test_without_its_finest_octaves_noise_is_smoother_and_else_the_same() -> None:
    field = noise(40.0)
    whole, coarse = field.at(window(64)), field.at(window(64), skip=2)
    assert coarse.diff(dim=-1).abs().mean() < 0.8 * whole.diff(dim=-1).abs().mean()
    assert torch.corrcoef(torch.stack([whole.flatten(), coarse.flatten()]))[0, 1] > 0.9


def test_white_noise_knows_no_neighbours() -> None:
    rows, columns = torch.arange(300).view(1, -1, 1), torch.arange(400).view(1, 1, -1)
    values = white(torch.tensor([7]), rows, columns, torch.float64)[0]
    assert abs(float(values.mean())) < 0.02
    assert abs(float(values.std()) - 1) < 0.01
    for down, right in ((0, 1), (1, 0), (1, 1), (2, 3)):
        shifted = values.roll((down, right), (0, 1))
        assert abs(float((values * shifted).mean())) < 0.02
    # what a sum of a number for the row and one for the column would give
    crossed = values[:-1, :-1] + values[1:, 1:] - values[1:, :-1] - values[:-1, 1:]
    assert float(crossed.var()) > 3.8


def test_seeds_that_follow_each_other_draw_unlike_numbers() -> None:
    draws = Draws(torch.arange(2000), torch.float64)
    first, second = draws.uniform(0, 1).flatten(), draws.uniform(0, 1).flatten()
    for pair in ((first[1:], first[:-1]), (first, second), (second[:-1], first[1:])):
        assert abs(float(torch.corrcoef(torch.stack(pair))[0, 1])) < 0.08
    assert abs(float(first.mean()) - 0.5) < 0.03
    sizes = draws.geometric(2.0, 8.0)
    assert float(sizes.min()) >= 2
    assert float(sizes.max()) <= 8
    assert abs(float((sizes < 4).double().mean()) - 0.5) < 0.05
