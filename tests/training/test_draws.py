"""From samples to batches: what is drawn depends on the seed alone, and is what the recipe says."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.clouds.simulation import CloudRecipe
from cloudfix.errors import DataError
from cloudfix.models import Card, SarInput
from cloudfix.models.inputs import assemble
from cloudfix.sensors import BAND_SETS, SLOTS
from cloudfix.training.batches import dimmed, grained, network_input, overcast
from cloudfix.training.datasets import Sample
from cloudfix.training.draws import Crop, Draws
from cloudfix.training.recipe import Data
from cloudfix.training.stream import Cached, Share, loader
from tests.training.in_memory import InMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDE = 40
SAR = (SarInput("vv", (-25, 0), 0.08, 2), SarInput("vh", (-32.5, 0), 2 / 32.5, 2))
CARD = Card("aca-crnet.t", "aca-crnet", {}, SLOTS, sar=SAR)
RGB_CARD = Card("aca-crnet.t", "aca-crnet", {}, ("red", "green", "blue"))


def sample(name: str, *, region: str = "here", paired: bool = False, sar: bool = True, side: int = SIDE) -> Sample:
    random = np.random.default_rng(zlib.crc32(name.encode()))
    clear = random.uniform(0.02, 0.3, (len(SLOTS), side, side + 6)).astype(np.float32)
    decibels = random.uniform(-30, -1, (2, side, side + 6)).astype(np.float32)
    mask = random.random((side, side + 6)) < 0.5
    cloudy = np.where(mask, np.float32(0.8), clear)
    pair = {"cloudy": cloudy, "mask": mask} if paired else {}
    return Sample(name, SLOTS, clear, sar=decibels if sar else None, region=region, **pair)


@pytest.fixture
def mixed() -> InMemory:
    return InMemory([sample("pair", paired=True), sample("clear", sar=False), sample("other", region="elsewhere")])


@pytest.fixture
def pairs() -> InMemory:
    return InMemory([sample(f"pair{number}", paired=True) for number in range(4)])


def batch(draws: Draws, numbers: Sequence[int]) -> Crop:
    return torch.utils.data.default_collate([draws[number] for number in numbers])


def equal(first: Crop, second: Crop) -> bool:
    tensors = zip(first[:-1], second[:-1], strict=True)
    return all(torch.equal(a.nan_to_num(99), b.nan_to_num(99)) for a, b in tensors)


VARIED = Data(
    crop=16,
    simulated=0.3,
    gain=(0.2, 0.1),
    sar_gain=2,
    sar_noise=1,
    sar_dropped=0.3,
    band_sets={"landsat-8-l2": 0.5},
    slot_dropped=0.5,
)


def test_a_crop_depends_on_seed_and_number_alone(mixed: InMemory) -> None:
    ahead = [Draws(mixed, VARIED, CARD, 3)[number] for number in range(9)]
    back = Draws(mixed, VARIED, CARD, 3)
    assert all(equal(ahead[number], back[number]) for number in reversed(range(9)))
    assert not any(equal(ahead[number], Draws(mixed, VARIED, CARD, 4)[number]) for number in range(9))
    alone = Draws(InMemory(mixed.samples[:1]), VARIED, CARD, 3)
    assert not any(torch.equal(alone[number].clear, alone[number + 1].clear) for number in range(6))


def test_workers_do_not_change_the_batches(mixed: InMemory) -> None:
    def batches(workers: int) -> list[Crop]:
        share = Share(batch=2, accumulate=1, steps=3, rank=0, world=1, position=lambda: 1)
        return list(loader(Draws(mixed, VARIED, CARD, 0), share, workers=workers, pin=False))

    alone, by_two = batches(0), batches(2)
    assert [crops.number.tolist() for crops in alone] == [[2, 3], [4, 5], [6, 7]]
    assert all(equal(first, second) for first, second in zip(alone, by_two, strict=True))


def test_crops_have_the_shapes_and_units_they_say(mixed: InMemory) -> None:
    crops = batch(Draws(mixed, Data(crop=24), CARD, 0), range(5))
    assert crops.cloudy.shape == crops.clear.shape == (5, 13, 24, 24)
    assert crops.mask.shape == crops.thickness.shape == (5, 1, 24, 24)
    assert crops.sar.shape == (5, 2, 24, 24)
    assert crops.present.shape == (5, 13)
    assert crops.clear.min() >= 0.02
    assert crops.clear.max() <= 0.3
    assert set(crops.mask.unique().tolist()) <= {0.0, 1.0}


def test_each_epoch_goes_through_the_data_once(pairs: InMemory) -> None:
    pairs.samples = [replace(one, clear=np.full_like(one.clear, i)) for i, one in enumerate(pairs.samples)]
    draws = Draws(pairs, Data(crop=8), CARD, 0)
    seen = [int(draws[number].clear.max()) for number in range(40)]
    epochs = [tuple(seen[start : start + 4]) for start in range(0, 40, 4)]
    assert all(sorted(epoch) == [0, 1, 2, 3] for epoch in epochs)
    assert len(set(epochs)) > 1


def test_balance_weighs_regions_by_the_root_of_their_size() -> None:
    long = [sample(f"long{i}", region="long") for i in range(9)]
    dataset = InMemory(
        [replace(one, clear=np.zeros_like(one.clear)) for one in long] + [sample("short", region="short")]
    )
    draws = Draws(dataset, Data(crop=8, balance=True), CARD, 0)
    count = Counter(bool(draws[number].clear.any()) for number in range(400))
    # 9 · 9^-½ = 3 to 1
    assert count[True] == pytest.approx(100, abs=20)


def test_pairs_are_cropped_and_turned_alike(pairs: InMemory) -> None:
    crops = batch(Draws(pairs, Data(crop=20), CARD, 0), range(16))
    clear_sky = (crops.mask == 0).expand_as(crops.clear)
    assert torch.equal(crops.cloudy[clear_sky], crops.clear[clear_sky])
    assert (crops.cloudy - crops.clear)[~clear_sky].min() > 0.2
    assert not crops.bare.any()


def test_turns_can_be_left_out(pairs: InMemory) -> None:
    whole = Data(crop=SIDE, turn=False)
    pairs.samples = [sample("square", paired=True)]
    pairs.samples = [replace(pairs.samples[0], clear=pairs.samples[0].clear[..., :SIDE], cloudy=None)]
    clear = torch.from_numpy(pairs.samples[0].clear)
    assert all(torch.equal(Draws(pairs, whole, CARD, 0)[number].clear, clear) for number in range(4))
    turned = [Draws(pairs, replace(whole, turn=True), CARD, 0)[number].clear for number in range(20)]
    assert any(torch.equal(image, clear.rot90(1, (-2, -1))) for image in turned)
    assert any(torch.equal(image, clear.flip(-1)) for image in turned)


def test_an_unknown_mask_is_cloud_everywhere(pairs: InMemory) -> None:
    pairs.samples = [replace(one, mask=None) for one in pairs.samples]
    assert Draws(pairs, Data(crop=8), CARD, 0)[0].mask.min() == 1


def test_band_sets_slots_and_sar_are_withheld(mixed: InMemory) -> None:
    landsat = Data(crop=16, band_sets={"landsat-8-l2": 1.0}, sar_dropped=1.0)
    crops = batch(Draws(mixed, landsat, CARD, 0), range(4))
    shown = {slot for slot, present in zip(SLOTS, crops.present[0], strict=True) if present}
    assert shown == BAND_SETS["landsat-8-l2"]
    assert crops.sar.isnan().all()
    needs_rgb = replace(CARD, required=("blue", "green", "red"))
    one_less = batch(Draws(mixed, Data(crop=16, slot_dropped=1.0), needs_rgb, 0), range(8)).present
    assert (one_less.sum(dim=1) == 12).all()
    assert one_less[:, [SLOTS.index(slot) for slot in needs_rgb.required]].all()


def test_one_sar_channel_is_lost_half_as_often_as_both() -> None:
    draws = Draws(InMemory([sample("pair", paired=True)]), Data(crop=8, sar_dropped=0.4), CARD, 0)
    lost = Counter(int(draws[number].sar.isnan().all(dim=(1, 2)).sum()) for number in range(300))
    assert lost[2] == pytest.approx(120, abs=25)
    assert lost[1] == pytest.approx(60, abs=25)


def test_crops_are_coarsened_up_to_what_the_recipe_says_and_all_of_them_alike(pairs: InMemory) -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, SIDE + 6, dtype=np.float32), (len(SLOTS), SIDE, SIDE + 6))
    for one, side in zip(range(4), (SIDE, SIDE, SIDE, 15), strict=True):
        sar = np.ascontiguousarray(ramp[:2, :side] - 9)
        clear = np.ascontiguousarray(ramp[:, :side])
        pairs.samples[one] = replace(pairs.samples[one], clear=clear, cloudy=clear + 1, sar=sar, mask=clear[0] > 0.5)
    draws = Draws(pairs, Data(crop=12, coarsen=3, turn=False), CARD, 0)
    seen, averaged = Counter(), 0
    for number in range(48):
        crop = draws[number]
        step = crop.clear[0].diff(dim=1) * (SIDE + 5)
        coarse = float(step[:, 3:-3].mean().round())
        assert torch.allclose(step[:, 3:-3], torch.full_like(step[:, 3:-3], coarse), atol=1e-3)
        assert torch.allclose(crop.cloudy, crop.clear + 1, atol=1e-5)
        assert torch.allclose(crop.sar, crop.clear[:2] - 9, atol=1e-5)
        assert torch.equal(crop.mask[0] > 0, crop.clear[0] > 0.5) or coarse > 1
        # an averaged pixel of a ramp lies between those of the image
        between = float((crop.clear[0, 0, 4] * (SIDE + 5)) % 1)
        averaged += 0.4 < between < 0.6
        seen[coarse] += 1
    assert seen.keys() == {1.0, 2.0, 3.0}
    assert seen[1.0] > seen[2.0] > averaged > 0


def test_real_cloud_comes_denser_and_thinner_over_the_same_ground(pairs: InMemory) -> None:
    crops = batch(Draws(pairs, Data(crop=16, cloud_gain=0.5), CARD, 0), range(12))
    factors = []
    for cloudy, clear in zip(crops.cloudy, crops.clear, strict=True):
        under = cloudy != clear
        factor = ((cloudy - clear) / (0.8 - clear))[under]
        assert factor.std() < 1e-4
        factors.append(float(factor.mean()))
    assert np.exp(-0.5) < min(factors) < 0.85
    assert 1.2 < max(factors) < np.exp(0.5)


def test_bands_are_tinted_where_the_cloud_is_anothers(pairs: InMemory) -> None:
    for simulated in (0, 1):
        data = Data(crop=16, simulated=simulated)
        plain, tinted = (batch(Draws(pairs, drawn, CARD, 0), range(8)) for drawn in (data, replace(data, tint=0.5)))
        ratios = tinted.clear / plain.clear
        assert ratios.std(dim=(2, 3)).max() < 1e-5
        bands = ratios.mean(dim=(2, 3))
        if simulated:
            assert np.exp(-0.5) < bands.min() < 0.8 < 1.3 < bands.max() < np.exp(0.5)
            assert bands.std(dim=1).min() > 0.1
        else:
            assert torch.equal(bands, torch.ones_like(bands))


def test_sar_varies_within_what_the_recipe_says(pairs: InMemory) -> None:
    pairs.samples = [replace(one, sar=np.full_like(one.sar, -12)) for one in pairs.samples]
    gained = batch(Draws(pairs, Data(crop=16, sar_gain=2), CARD, 0), range(8)).sar
    assert (gained + 12).abs().max() <= 2
    assert gained.std(dim=(2, 3)).max() < 1e-5
    noisy = batch(Draws(pairs, Data(crop=16, sar_noise=2), CARD, 0), range(8)).sar
    assert 0.1 < float((noisy + 12).std()) < 2


def test_sar_is_made_up_where_there_is_none_and_only_as_often_as_asked(mixed: InMemory) -> None:
    def seen(share: float) -> list[bool]:
        draws = Draws(InMemory(mixed.samples[1:2]), Data(crop=16, sar_imagined=share), CARD, 0)
        return [bool(draws[number].sar.isfinite().all()) for number in range(20)]

    assert not any(seen(0))
    assert all(seen(1))
    assert 2 < sum(seen(0.5)) < 18
    own = Draws(InMemory(mixed.samples[:1]), Data(crop=SIDE, sar_imagined=1, turn=False), CARD, 0)[0].sar
    sar = mixed.samples[0].sar
    assert any(np.array_equal(own, sar[..., left : left + SIDE]) for left in range(7))


def test_channels_follow_the_card(mixed: InMemory) -> None:
    crop = Draws(mixed, Data(crop=SIDE, turn=False), RGB_CARD, 0)[0]
    assert crop.clear.shape[0] == 3
    assert crop.sar.shape[0] == 0
    without_red = [slot for slot in SLOTS if slot != "red"]
    kept = [SLOTS.index(slot) for slot in without_red]
    mixed.samples = [
        replace(one, slots=tuple(without_red), clear=one.clear[kept], cloudy=None) for one in mixed.samples
    ]
    crop = Draws(mixed, Data(crop=SIDE, turn=False), replace(RGB_CARD, required=("blue",)), 0)[0]
    assert crop.present.tolist() == [False, True, True]
    assert crop.clear[0].max() == 0
    assert crop.clear[1].min() > 0


def test_what_cannot_be_read_or_is_too_small_is_stood_in_for() -> None:
    samples = [sample("corrupt", paired=True), sample("small", side=20), sample("fine", paired=True)]
    draws = Draws(InMemory(samples), Data(crop=32), CARD, 0)
    crops = [draws[number] for number in range(3)]
    assert {crop.unreadable for crop in crops} == {"", "corrupt.png: cannot be read"}
    assert not any(crop.bare for crop in crops)
    with pytest.raises(DataError, match=r"no image has 64 pixels a side; choose smaller crops, data\.crop"):
        Draws(InMemory(samples), Data(crop=64), CARD, 0)[0]
    with pytest.raises(DataError, match=r"none of the 1 images can be read; the last: corrupt\.png"):
        Draws(InMemory(samples[:1]), Data(crop=8), CARD, 0)[0]


def test_simulated_cloud_has_narrower_fringes_where_pixels_may_be_larger(mixed: InMemory) -> None:
    crops = batch(Draws(mixed, Data(crop=32), CARD, 0), range(6))
    recipe = CloudRecipe(cloud=1, haze=0, cirrus=0, cover=0.5, depth=80, wavelength=12)

    def fringe(coarsen: int, seed: int) -> float:
        change = (overcast(crops, CARD, recipe, seed, coarsen).cloudy - crops.clear)[crops.bare]
        return float((change[:, SLOTS.index("blue")] - change[:, SLOTS.index("red")]).abs().mean())

    fine, coarse = ([fringe(coarsen, seed) for seed in range(8)] for coarsen in (1, 12))
    assert np.mean(coarse) < 0.7 * np.mean(fine)


def test_crops_that_show_landsat_bands_alone_get_cloud_as_landsat_sees_it(mixed: InMemory) -> None:
    crops = batch(Draws(mixed, Data(crop=32, band_sets={"landsat-8-l1": 0.5}), CARD, 0), range(24))
    crops = crops._replace(clear=torch.full_like(crops.clear, 0.1), cloudy=torch.full_like(crops.clear, 0.1))
    landsat = crops.bare & ~crops.present[:, SLOTS.index("nir")]
    assert 4 < landsat.sum() < crops.bare.sum()
    made = overcast(crops, CARD, CloudRecipe(cloud=1, haze=0, cirrus=0, cover=2, depth=80, wavelength=12), 1)
    change = made.cloudy - crops.clear
    hidden = [SLOTS.index(slot) for slot in ("rededge071", "nir", "nir09")]
    assert not change[landsat][:, hidden].any()
    assert change[crops.bare & ~landsat][:, hidden].all()
    # Sentinel-2 sees coastal 2.3 s after blue, Landsat 0.1 s before it.
    shapes = change / change.mean((2, 3), keepdim=True)
    apart = (shapes[:, SLOTS.index("coastal")] - shapes[:, SLOTS.index("blue")]).abs().mean((1, 2))
    assert apart[landsat].max() < apart[crops.bare & ~landsat].min()


def test_crops_that_show_landsat_bands_alone_may_lack_the_suns_height(mixed: InMemory) -> None:
    crops = batch(Draws(mixed, Data(crop=16, band_sets={"landsat-8-l1": 0.5}), CARD, 0), range(48))
    landsat = ~crops.present[:, SLOTS.index("nir")]
    made = dimmed(crops, CARD, 0.5, 1)
    assert equal(crops, dimmed(crops, CARD, 0, 1))
    factors = made.clear.sum((1, 2, 3)) / crops.clear.sum((1, 2, 3))
    darker = factors < 0.999
    assert not darker[~landsat].any()
    assert 0.2 < darker[landsat].float().mean() < 0.8
    assert 0.34 <= factors.min() < factors[darker].max() < 0.95
    torch.testing.assert_close(made.cloudy, crops.cloudy * factors[:, None, None, None])


def test_cloud_differs_from_pixel_to_pixel_alike_in_all_bands(pairs: InMemory) -> None:
    crops = batch(Draws(pairs, Data(crop=32), CARD, 0), range(16))
    made = grained(crops, 0.5, 1)
    assert equal(made, grained(crops, 0.5, 1))
    assert equal(crops, grained(crops, 0, 1))
    assert not torch.equal(made.cloudy, grained(crops, 0.5, 2).cloudy)
    under = (crops.mask > 0).expand_as(crops.cloudy)
    assert torch.equal(made.cloudy[~under], crops.cloudy[~under])
    factors = ((made.cloudy - crops.clear) / (crops.cloudy - crops.clear)).where(under, torch.nan)
    assert factors.nan_to_num(1).std(dim=1).max() < 1e-4
    strengths = torch.stack([factor[~factor.isnan()].log().std() for factor in factors])
    assert 4 <= (strengths < 1e-4).sum() <= 12
    assert 0.25 < strengths.max() < 0.55


def test_transplanted_cloud_is_that_of_another_pair(mixed: InMemory) -> None:
    draws = Draws(mixed, Data(crop=24, transplanted=1.0), CARD, 0)
    crops = batch(draws, range(9))
    assert not crops.bare.any()
    changed = (crops.cloudy - crops.clear).abs().mean(dim=1, keepdim=True) > 0.05
    assert (changed & (crops.mask == 0)).float().mean() < 0.01
    assert changed.float().mean() > 0.3


def test_simulated_cloud_comes_on_the_batch_and_from_the_seed(mixed: InMemory) -> None:
    crops = batch(Draws(mixed, Data(crop=32), CARD, 0), range(6))
    assert crops.bare.sum() == 4
    thick = CloudRecipe(cloud=1.0, cover=(0.5, 0.6))
    first, again = (overcast(crops, CARD, thick, 1) for _ in range(2))
    assert equal(first, again)
    assert not torch.equal(first.cloudy, overcast(crops, CARD, thick, 2).cloudy)
    later = crops._replace(number=crops.number + 6)
    assert not torch.equal(first.cloudy, overcast(later, CARD, thick, 1).cloudy)
    assert torch.equal(first.cloudy[~crops.bare], crops.cloudy[~crops.bare])
    untouched = (first.mask == 0)[crops.bare].expand(-1, 13, -1, -1)
    assert (first.cloudy - crops.clear)[crops.bare][untouched].abs().mean() < 0.01
    assert first.thickness[crops.bare].amax(dim=(1, 2, 3)).min() > 0.3


def test_the_network_sees_what_it_sees_in_use(mixed: InMemory) -> None:
    data = Data(crop=16, band_sets={"landsat-8-l2": 0.5}, sar_dropped=0.3)
    crops = batch(Draws(mixed, data, replace(CARD, required=("red",)), 1), range(8))
    assert len(crops.present.unique(dim=0)) == 2
    inputs = network_input(crops, CARD)
    for index in range(8):
        shown = {slot: crops.cloudy[index, i][None] for i, slot in enumerate(SLOTS) if crops.present[index, i]}
        sar = dict(zip(("vv", "vh"), crops.sar[index][:, None], strict=True))
        assert torch.equal(inputs[index], assemble(replace(CARD, required=("red",)), shown, sar)[0])


@settings(max_examples=50)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 9))
def test_processes_share_the_stream_of_one(batch: int, accumulate: int, steps: int, world: int, start: int) -> None:
    def share(size: int, rank: int, of: int) -> list[list[int]]:
        numbers = Share(batch=size, accumulate=accumulate, steps=steps, rank=rank, world=of, position=lambda: start)
        assert len(numbers) == steps * accumulate
        return list(numbers)

    alone = share(batch * world, 0, 1)
    together = zip(*(share(batch, rank, world) for rank in range(world)), strict=True)
    assert [[*chain.from_iterable(parts)] for parts in together] == alone
    first = start * accumulate * batch * world
    assert [*chain.from_iterable(alone)] == list(range(first, first + steps * accumulate * batch * world))


def test_what_was_read_is_kept_within_the_budget(pairs: InMemory) -> None:
    one = pairs.samples[0]
    size = one.clear.nbytes + one.cloudy.nbytes + one.mask.nbytes + one.sar.nbytes
    kept = Cached(pairs, 2 * size + 1)
    assert [kept[index % 4].name for index in range(8)] == [f"pair{index % 4}" for index in range(8)]
    assert pairs.reads == 6
    assert (len(kept), kept.regions(), kept.slots) == (4, ("here",) * 4, SLOTS)
