from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloudfix.clouds.simulation import WAVELENGTHS, CloudRecipe, Grid, Sky, overlay, simulate
from cloudfix.clouds.simulation.light import delays, native_pixels
from cloudfix.sensors import BAND_SETS, SLOTS

RGB = ("red", "green", "blue")
LANDSAT = tuple(slot for slot in SLOTS if slot in BAND_SETS["landsat-8-l1"])
DENSE = CloudRecipe(cloud=1, haze=0, cirrus=0)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clear(side: int = 48, batch: int = 3) -> torch.Tensor:
    return torch.rand(batch, len(SLOTS), side, side + 8, generator=generator(0)) * 0.4


def band(image: torch.Tensor, slot: str) -> torch.Tensor:
    return image[:, SLOTS.index(slot)]


def test_every_slot_has_a_wavelength_and_they_rise_within_a_sensor() -> None:
    assert set(WAVELENGTHS) == set(SLOTS)
    assert list(WAVELENGTHS.values()) == sorted(WAVELENGTHS.values())


def test_the_seed_decides_everything() -> None:
    first, again, other = (simulate(clear(), SLOTS, generator(seed)) for seed in (7, 7, 8))
    for name in ("cloudy", "thickness", "shadow"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.cloudy, other.cloudy)


def test_an_images_cloud_depends_on_its_own_seed_alone() -> None:
    seeds = torch.tensor([5, 6, 7])
    together = overlay(clear(), SLOTS, seeds)
    for index in range(3):
        alone = overlay(clear()[index : index + 1], SLOTS, seeds[index : index + 1])
        torch.testing.assert_close(alone.cloudy[0], together.cloudy[index], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(alone.thickness[0], together.thickness[index], atol=1e-4, rtol=1e-3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), side=st.integers(16, 70), preset=st.sampled_from(["thin", "thick", "all"]))
@example(seed=9, side=47, preset="thin")  # a depth above 0 whose thickness is 0 in single precision
def test_thickness_and_shadow_are_shares_and_nothing_else_changes_a_pixel(seed: int, side: int, preset: str) -> None:
    image = clear(side)
    made = simulate(image, SLOTS, generator(seed), CloudRecipe.preset(preset))
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
    assert not made.mask.any()


def test_a_pixel_that_is_not_a_number_costs_that_pixel_alone() -> None:
    image = clear()
    image[:, :, 3, 4] = torch.nan
    made = simulate(image, SLOTS, generator(2), CloudRecipe.preset("thin"))
    assert torch.isnan(made.cloudy).sum() == image.isnan().sum()


def test_thickness_is_the_share_of_detail_that_is_lost() -> None:
    """Two images that differ in detail alone differ by t = 1 − thickness under the same cloud."""
    detail = torch.rand(1, 3, 64, 64, generator=generator(3))
    detail -= detail.mean((-2, -1), keepdim=True)
    over = [simulate(0.3 + 0.1 * part, RGB, generator(4), DENSE) for part in (detail, -detail)]
    lit = over[0].shadow < 1e-6
    through = ((over[0].cloudy - over[1].cloudy) / (0.2 * detail))[:, :1]
    assert lit.any()
    torch.testing.assert_close(through[lit], (1 - over[0].thickness)[lit], atol=1e-3, rtol=0)


def test_opaque_cloud_hides_the_ground() -> None:
    recipe = CloudRecipe(cloud=1, haze=0, cirrus=0, cover=(2.5, 2.5), depth=(500, 500), parallax=0)
    over_dark, over_bright = (simulate(image, SLOTS, generator(3), recipe) for image in (clear(), clear() + 0.4))
    opaque = over_dark.thickness > 1 - 1e-6
    assert opaque.float().mean() > 0.5
    difference = (over_dark.cloudy - over_bright.cloudy).abs() * opaque
    assert difference.max() < 1e-2


def test_cloud_grows_brighter_where_the_ground_has_long_gone() -> None:
    recipe = CloudRecipe(cloud=1, haze=0, cirrus=0, cover=1.0, depth=50.0)
    made = overlay(torch.full((4, 3, 96, 96), 0.05), RGB, torch.arange(4), recipe)
    bright = made.cloudy.mean(1, keepdim=True)
    for image, thickness in zip(bright, made.thickness, strict=True):
        hidden = image[thickness > 0.98]
        assert hidden.max() > 1.3 * hidden.min()


def test_cover_is_the_share_of_the_image_under_cloud() -> None:
    image = torch.full((24, 3, 128, 128), 0.1)
    for cover in (0.2, 0.7):
        recipe = CloudRecipe(cloud=1, haze=0, cirrus=0, cover=(cover, cover))
        share = (simulate(image, RGB, generator(9), recipe).thickness > 0).float().mean((1, 2, 3))
        torch.testing.assert_close(share, torch.full_like(share, cover), atol=0.06, rtol=0)
    over = CloudRecipe(cloud=1, haze=0, cirrus=0, cover=1.2)
    assert (simulate(image, RGB, generator(9), over).thickness > 0).all()


def test_the_sun_says_where_shadows_lie() -> None:
    """Sun in the east at 45°: shadow of cloud 400 m high lies 40 pixels of 10 m to the west."""
    sun = {"sun_azimuth": 90.0, "sun_elevation": 45.0, "height": 400.0, "pixel": 10.0}
    recipe = CloudRecipe(cloud=1, haze=0, cirrus=0, cover=0.2, depth=40.0, **sun)
    made = overlay(torch.full((6, 3, 160, 160), 0.2), RGB, torch.arange(6), recipe)
    for thickness, shadow in zip(made.thickness[:, 0], made.shadow[:, 0], strict=True):
        agreement = {
            (down, right): ((thickness.roll((down, right), (0, 1)) > 0.9) & (shadow > 0.3))[50:-50, 50:-50]
            .float()
            .mean()
            for down, right in ((0, -40), (0, 40), (40, 0), (-40, 0), (0, 0))
        }
        assert max(agreement, key=lambda key: agreement[key]) == (0, -40)


def test_haze_fades_with_wavelength_and_cirrus_shows_in_its_band() -> None:
    dark = torch.zeros(16, len(SLOTS), 32, 32)
    haze = simulate(dark, SLOTS, generator(4), CloudRecipe(cloud=0, haze=1, cirrus=0)).cloudy
    assert band(haze, "blue").mean() > 1.5 * band(haze, "swir22").mean() > 0
    assert not band(haze, "cirrus").any()
    ice = simulate(dark, SLOTS, generator(4), CloudRecipe(cloud=0, haze=0, cirrus=1)).cloudy
    assert band(ice, "cirrus").mean() > 0.3 * band(ice, "blue").mean()


def test_haze_that_whitens_is_grey_and_as_bright_as_the_square_of_its_thickness() -> None:
    recipe = CloudRecipe(cloud=0, haze=1, cirrus=0, haze_depth=(0.1, 3), haze_whitening=1)
    ground = torch.rand(8, 13, 32, 32, generator=generator(1))
    made = simulate(ground, SLOTS, generator(4), recipe)
    low = [channel for channel, slot in enumerate(SLOTS) if slot != "cirrus"]
    expected = (1 - made.thickness) * ground + made.thickness**2
    torch.testing.assert_close(made.cloudy[:, low], expected[:, low])


def test_a_shadow_darkens_red_more_than_coastal() -> None:
    made = simulate(torch.full((8, len(SLOTS), 96, 96), 0.3), SLOTS, generator(5), DENSE)
    shaded = ((made.shadow > 0.2) & (made.thickness == 0))[:, 0]
    assert shaded.any()
    red, coastal = (band(made.cloudy, slot)[shaded].mean() for slot in ("red", "coastal"))
    assert red < coastal < 0.3


def test_opaque_cloud_has_the_colours_of_real_cloud() -> None:
    """Ratios to red of the brightest pixels of real Sentinel-2 L1C images, with some room."""
    recipe = CloudRecipe(cloud=1, haze=0, cirrus=0, cover=2.0, depth=60.0)
    made = simulate(torch.full((48, len(SLOTS), 24, 24), 0.1), SLOTS, generator(6), recipe).cloudy.mean((2, 3))
    ratios = made / made[:, SLOTS.index("red")][:, None]
    for slot, low, high in (
        ("blue", 0.92, 1.02), ("green", 0.90, 0.98), ("nir", 1.0, 1.2), ("nir08", 1.1, 1.25), ("nir09", 0.15, 0.8),
        ("cirrus", 0.0, 0.1), ("swir16", 0.45, 1.1), ("swir22", 0.3, 1.0),
    ):  # fmt: skip
        found = ratios[:, SLOTS.index(slot)]
        assert low < found.min(), slot
        assert found.max() < high, slot


def test_cloud_above_the_water_vapour_shows_in_the_cirrus_band() -> None:
    def ratio(height: float) -> torch.Tensor:
        recipe = CloudRecipe(cloud=1, haze=0, cirrus=0, cover=2.0, depth=60.0, height=(height, height))
        made = overlay(torch.zeros(24, len(SLOTS), 24, 24), SLOTS, torch.arange(24), recipe).cloudy.mean((2, 3))
        return band(made, "cirrus") / band(made, "red")

    assert ratio(3000.0).max() < 0.1
    assert ratio(10_000.0).min() > 0.2


def test_bands_of_sentinel_2_are_displaced_and_blurred() -> None:
    assert not any(delays(RGB))
    for slots in (RGB, LANDSAT):
        assert set(native_pixels(slots, 10.0)) == {1}
    sharp = overlay(torch.zeros(2, 3, 64, 64), RGB, torch.arange(2), DENSE).cloudy
    assert torch.equal(sharp[:, 0] > 0, sharp[:, 2] > 0)
    torch.testing.assert_close(sharp[:, 0] * sharp[:, 2].amax((1, 2), keepdim=True),
                               sharp[:, 2] * sharp[:, 0].amax((1, 2), keepdim=True))  # fmt: skip
    made = overlay(torch.zeros(6, len(SLOTS), 96, 96), SLOTS, torch.arange(6), DENSE).cloudy
    steps = made.diff(dim=-1).abs().mean((0, 2, 3)) / made.mean((0, 2, 3))
    assert steps[SLOTS.index("coastal")] < 0.7 * steps[SLOTS.index("red")]


def test_bands_of_landsat_8_are_displaced_in_the_order_of_its_focal_plane() -> None:
    high = replace(DENSE, height=(10_000.0, 10_000.0), pixel=30.0)
    order = ("red", "nir08", "coastal", "blue")

    def apart(recipe: CloudRecipe) -> list[float]:
        made = overlay(torch.zeros(8, len(LANDSAT), 96, 96), LANDSAT, torch.arange(8), recipe).cloudy
        shapes = made / made.mean((2, 3), keepdim=True)
        green = shapes[:, LANDSAT.index("green")]
        return [float((shapes[:, LANDSAT.index(slot)] - green).abs().mean()) for slot in order]

    moved = apart(high)
    assert moved == sorted(moved)
    assert moved[-1] > 2 * moved[0]
    assert max(apart(replace(high, parallax=0))) < 1e-5


def test_channels_may_be_any_slots_in_any_order() -> None:
    slots = ("nir08", "red")
    made = simulate(torch.rand(2, 2, 20, 20), slots, generator(6))
    assert made.cloudy.shape == (2, 2, 20, 20)


@pytest.mark.parametrize("preset", ["thin", "all"])
def test_a_window_of_the_sky_is_that_part_of_it(preset: str) -> None:
    seeds, ground = torch.tensor([3]), torch.full((1, len(SLOTS), 1, 1), 0.1, dtype=torch.float64)
    sky = Sky.draw(seeds, SLOTS, CloudRecipe.preset(preset), (300, 400), torch.float64)
    whole = sky.veil(Grid.window(0, 0, 150, 160, like=ground), ground)
    part = sky.veil(Grid.window(37, 61, 50, 40, like=ground), ground)
    for name in ("gain", "light", "thickness", "shadow"):
        expected = getattr(whole, name)[..., 37:87, 61:101]
        torch.testing.assert_close(getattr(part, name), expected, atol=1e-9, rtol=0)
