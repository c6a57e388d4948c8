"""The even veil: undone where there is one, left alone where there is none."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from cloudfix.models import create
from cloudfix.models.density import VeilDensity, statistics
from cloudfix.models.veil import EvenVeil, overall_transmission, transmission, veiled


def ground(seed, side=96):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 8, 8, generator=generator)
    return F.interpolate(coarse, (side, side), mode="bilinear") * 0.7 + 0.1


@given(t=st.floats(0.2, 1), seed=st.integers(0, 1000))
def test_the_veil_that_was_laid_on_is_found_and_undone(t, seed):
    clear = ground(seed)
    found = transmission(veiled(clear, t), clear)
    torch.testing.assert_close(found, torch.full_like(found, t), atol=1e-3, rtol=0)
    torch.testing.assert_close(EvenVeil()(veiled(clear, t), clear), clear, atol=0.01, rtol=0)


def test_an_output_that_is_nearly_right_becomes_better():
    clear = ground(0)
    rough = 0.95 * clear + 0.01 + 0.03 * torch.randn(clear.shape, generator=torch.Generator().manual_seed(1))
    better = EvenVeil()(veiled(clear, 0.5), rough)
    assert (better - clear).abs().mean() < (rough - clear).abs().mean() / 2


def test_where_the_veil_is_not_even_the_output_stays():
    """A cloud over the right half; the left half has no veil, and is left as it is, whatever all of it looks like."""
    clear = ground(0, side=256) / 3
    cloudy = clear.clone()
    cloudy[..., 128:] = veiled(clear[..., 128:], 0.4)
    veil = EvenVeil()
    veil.density = known()
    changed = (veil(cloudy, clear) - clear).abs()
    assert changed[..., :128].max() < 0.01
    assert changed[..., 176:].max() < 0.01
    assert changed.max() < 0.25


def test_a_veil_that_becomes_thinner_is_undone_without_steps():
    """As tiles see it: what is in both of two tiles that overlap is nearly the same."""
    clear = ground(3, side=512)
    t = torch.linspace(0.4, 0.7, 512)
    rough = 0.95 * clear + 0.02
    image = t * clear + (1 - t) ** 2
    left, right = (EvenVeil()(image[..., part], rough[..., part]) for part in (slice(256), slice(192, 448)))
    assert (left[..., 192:] - right[..., :64]).abs().mean() < 0.01
    assert (left - clear[..., :256]).abs().mean() < (rough - clear).abs().mean()


def test_a_veil_that_changes_within_a_few_squares_is_followed():
    clear = ground(0, side=256)
    rows = torch.linspace(0, 6.28, 256)[:, None]
    image = veiled(clear, 0.55 + 0.12 * rows.sin() * rows.T.cos())
    assert (EvenVeil()(image, clear) - clear).abs().mean() < 0.01


def test_a_network_that_errs_in_patches_does_not_make_an_even_veil_patchy():
    clear = ground(0, side=256)
    generator = torch.Generator().manual_seed(1)
    patches = F.interpolate(torch.randn(1, 1, 4, 4, generator=generator), (256, 256), mode="bicubic")
    image = veiled(clear, 0.5)
    wrong = clear + 0.05 * patches + 0.06 * torch.randn(clear.shape, generator=generator)
    found = transmission(image, EvenVeil()(image, wrong))
    assert found.max() - found.min() < 0.01


def test_each_image_of_a_batch_has_its_own():
    clear = torch.cat([ground(0), ground(1)])
    t = torch.tensor([0.4, 0.8])[:, None, None, None]
    found = transmission(veiled(clear, t), clear)
    torch.testing.assert_close(found, t.expand_as(found), atol=1e-3, rtol=0)


def known(seeds=range(12)):
    """A density that has seen veils over some grounds."""
    veils = [0.3 + 0.04 * k for k, _ in enumerate(seeds)]
    looks = torch.cat([statistics(veiled(ground(seed), t)) for seed, t in zip(seeds, veils, strict=True)])
    density = VeilDensity()
    density.fit(looks, torch.tensor(veils), torch.ones(len(veils)), known=len(veils))
    return density


@given(t=st.floats(0.3, 0.7), seed=st.integers(100, 200))
def test_how_dense_a_veil_is_shows_over_ground_that_was_never_seen(t, seed):
    assert known()(veiled(ground(seed), t))[0].item() == pytest.approx(t, abs=0.1)


def test_what_was_seen_is_remembered():
    """Where the line is off: one ground whose veils look denser than those of all others."""
    looks = torch.cat([statistics(veiled(ground(seed), t)) for seed in range(6) for t in (0.4, 0.5, 0.6)])
    odd = statistics(veiled(ground(7) ** 3, 0.5))
    veils = torch.tensor([*[0.4, 0.5, 0.6] * 6, 0.3])
    density, forgetful = VeilDensity(), VeilDensity()
    density.fit(torch.cat([odd, looks]), veils.roll(1), torch.ones(19), known=19)
    forgetful.fit(torch.cat([looks, odd]), veils, torch.ones(19), known=1)
    image = veiled(ground(7) ** 3, 0.5)
    assert abs(density(image)[0] - 0.3) < abs(forgetful(image)[0] - 0.3)


@pytest.mark.parametrize(
    ("darker", "error", "share"),
    [
        pytest.param(1, 0, 0.2, id="a veil explains what the network did"),
        pytest.param(1, 0.06, 0.8, id="none does, and the look is a known one"),
        pytest.param(3, 0.06, 0.2, id="none does, but the look is not known"),
    ],
)
def test_the_look_of_the_image_has_a_say_in_how_dense_a_veil_is(darker, error, share):
    clear = ground(3) / darker
    image = veiled(clear, 0.42)
    pixels = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    restored = (image - 0.5**2) / 0.5 + error * pixels
    veil = EvenVeil()
    said = overall_transmission(image, veil(image, restored)).item()
    veil.density = known()
    looks = veil.density(image)[0].item()
    assert abs(said - looks) > 0.02
    found = overall_transmission(image, veil(image, restored)).item()
    assert found == pytest.approx((1 - share) * said + share * looks, abs=0.005)


def test_an_output_that_no_veil_explains_gives_way_to_a_look_that_is_known():
    clear = ground(3)
    lost = clear + 0.3 * torch.randn(clear.shape, generator=torch.Generator().manual_seed(1))
    veil = EvenVeil()
    veil.density = known()
    image = veiled(clear, 0.42)
    assert (veil(image, lost) - clear).abs().mean() < (EvenVeil()(image, lost) - clear).abs().mean() / 2


@given(seed=st.integers(100, 200))
def test_ground_that_looks_veiled_is_left_alone_where_the_network_sees_no_veil(seed):
    clear = ground(seed)
    veil = EvenVeil()
    veil.density = known()
    torch.testing.assert_close(veil(clear, clear), clear, atol=0.01, rtol=0)


def test_before_it_has_learned_it_says_nothing():
    image = veiled(ground(0), 0.5)
    assert VeilDensity()(image)[0].isnan().all()
    assert EvenVeil()(image, ground(0)).isfinite().all()


def test_thiefcloud_has_it_in_use_but_not_in_training():
    torch.manual_seed(0)
    plain, own = create("thiefcloud"), create("thiefcloud", veil="even")
    own.load_state_dict(plain.state_dict(), strict=False)
    x = ground(0, side=64)
    with torch.no_grad():
        for mode in (True, False):
            expected, found = plain.train(mode)(x), own.train(mode)(x)
            assert torch.equal(expected[1], found[1])
            if mode:
                assert torch.equal(expected[0], found[0])
            else:
                torch.testing.assert_close(found[0], EvenVeil()(x, expected[0]))
