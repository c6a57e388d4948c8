"""The even veil: undone where there is one, left alone where there is none."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from cloudfix.models import create
from cloudfix.models.veil import EvenVeil, transmission


def ground(seed, side=96):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 8, 8, generator=generator)
    return F.interpolate(coarse, (side, side), mode="bilinear") * 0.7 + 0.1


def veiled(image, t):
    return t * image + (1 - t) ** 2


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
    """A cloud over the right half; the left half has no veil, and is left as it is."""
    clear = ground(0, side=256) / 3
    cloudy = clear.clone()
    cloudy[..., 128:] = veiled(clear[..., 128:], 0.4)
    changed = (EvenVeil()(cloudy, clear) - clear).abs()
    assert changed[..., :128].max() < 0.01
    assert changed[..., 144:].max() < 0.01
    assert changed.max() < 0.1


def test_a_veil_that_becomes_thinner_is_undone_without_steps():
    """As tiles see it: what is in both of two tiles that overlap is nearly the same."""
    clear = ground(3, side=512)
    t = torch.linspace(0.4, 0.7, 512)
    rough = 0.95 * clear + 0.02
    image = t * clear + (1 - t) ** 2
    left, right = (EvenVeil()(image[..., part], rough[..., part]) for part in (slice(256), slice(192, 448)))
    assert (left[..., 192:] - right[..., :64]).abs().mean() < 0.01
    assert (left - clear[..., :256]).abs().mean() < (rough - clear).abs().mean()


def test_each_image_of_a_batch_has_its_own():
    clear = torch.cat([ground(0), ground(1)])
    t = torch.tensor([0.4, 0.8])[:, None, None, None]
    found = transmission(veiled(clear, t), clear)
    torch.testing.assert_close(found, t.expand_as(found), atol=1e-3, rtol=0)


def test_thiefcloud_has_it_in_use_but_not_in_training():
    torch.manual_seed(0)
    plain, own = create("thiefcloud"), create("thiefcloud", veil="even")
    own.load_state_dict(plain.state_dict())
    x = ground(0, side=64)
    with torch.no_grad():
        for mode in (True, False):
            expected, found = plain.train(mode)(x), own.train(mode)(x)
            assert torch.equal(expected[1], found[1])
            if mode:
                assert torch.equal(expected[0], found[0])
            else:
                torch.testing.assert_close(found[0], EvenVeil()(x, expected[0]))
