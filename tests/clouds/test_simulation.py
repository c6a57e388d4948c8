from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.clouds.simulation import WAVELENGTHS, CloudRecipe, fractal_noise, simulate
from cloudfix.sensors import SLOTS


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clear(side: int = 48, batch: int = 3) -> torch.Tensor:
    return torch.rand(batch, len(SLOTS), side, side + 8, generator=generator(0)) * 0.4


def test_every_slot_has_a_wavelength_and_they_rise_within_a_sensor() -> None:
    assert set(WAVELENGTHS) == set(SLOTS)
    assert list(WAVELENGTHS.values()) == sorted(WAVELENGTHS.values())


def test_the_seed_decides_everything() -> None:
    first, again, other = (simulate(clear(), SLOTS, generator(seed)) for seed in (7, 7, 8))
    for name in ("cloudy", "thickness", "shadow"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.cloudy, other.cloudy)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), side=st.integers(16, 70))
def test_thickness_and_shadow_are_shares_and_nothing_else_changes_a_pixel(seed: int, side: int) -> None:
    image = clear(side)
    made = simulate(image, SLOTS, generator(seed), CloudRecipe(parallax=0))
    for share in (made.thickness, made.shadow):
        assert share.shape == (3, 1, side, side + 8)
        assert share.min() >= 0
        assert share.max() <= 1
    untouched = ((made.thickness == 0) & (made.shadow == 0)).expand_as(image)
    assert torch.equal(made.cloudy[untouched], image[untouched])
    assert torch.isfinite(made.cloudy).all()
    assert made.cloudy.min() >= 0


def test_without_layers_the_image_is_returned_bit_for_bit() -> None:
    made = simulate(clear(), SLOTS, generator(1), CloudRecipe(cloud=0, haze=0, cirrus=0))
    assert torch.equal(made.cloudy, clear())
    assert not made.thickness.any()
    assert not made.shadow.any()


def test_opaque_cloud_hides_the_ground() -> None:
    recipe = CloudRecipe(cloud=1, haze=0, cirrus=0, cover=(2.5, 2.5), depth=(30, 30), parallax=0)
    over_dark, over_bright = (simulate(image, SLOTS, generator(3), recipe) for image in (clear(), clear() + 0.4))
    opaque = over_dark.thickness > 0.9999
    assert opaque.float().mean() > 0.5
    difference = (over_dark.cloudy - over_bright.cloudy).abs() * opaque
    assert difference.max() < 1e-3


def test_haze_fades_with_wavelength_and_cirrus_shows_in_its_band() -> None:
    dark = torch.zeros(16, len(SLOTS), 32, 32)
    haze = simulate(dark, SLOTS, generator(4), CloudRecipe(cloud=0, haze=1, cirrus=0)).cloudy.mean((0, 2, 3))
    blue, swir, cirrus = (haze[SLOTS.index(slot)] for slot in ("blue", "swir22", "cirrus"))
    assert blue > 2 * swir > 0
    assert cirrus == 0
    ice = simulate(dark, SLOTS, generator(4), CloudRecipe(cloud=0, haze=0, cirrus=1)).cloudy.mean((0, 2, 3))
    assert ice[SLOTS.index("cirrus")] > 0.3 * ice[SLOTS.index("blue")]


def test_a_shadow_darkens_red_more_than_coastal() -> None:
    image = torch.full((8, len(SLOTS), 64, 64), 0.3)
    made = simulate(image, SLOTS, generator(5), CloudRecipe(cloud=1, haze=0, cirrus=0, parallax=0))
    shaded = ((made.shadow > 0.2) & (made.thickness == 0))[:, 0]
    assert shaded.any()
    red, coastal = (made.cloudy[:, SLOTS.index(slot)][shaded].mean() for slot in ("red", "coastal"))
    assert red < coastal < 0.3


def test_channels_may_be_any_slots_in_any_order() -> None:
    slots = ("nir08", "red")
    made = simulate(torch.rand(2, 2, 20, 20), slots, generator(6))
    assert made.cloudy.shape == (2, 2, 20, 20)


@pytest.mark.parametrize("wavelength", [2.0, 11.0, 300.0])
def test_noise_is_standardised_at_any_size(wavelength: float) -> None:
    noise = fractal_noise((2, 40, 33), wavelength, generator(0), stretch=2.0)
    assert noise.shape == (2, 1, 40, 33)
    assert noise.mean((-2, -1)).abs().max() < 1e-5
    assert torch.allclose(noise.std((-2, -1)), torch.ones(2, 1), atol=1e-4)
