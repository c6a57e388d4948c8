from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.errors import ModelError
from cloudfix.models import Card
from cloudfix.models.inputs import assemble, to_reflectance
from cloudfix.sensors import SLOTS, STAND_INS

SHAPE = (2, 4, 6)
REQUIRED = ("blue", "green", "red")


def flat(value: float) -> torch.Tensor:
    return torch.full(SHAPE, value)


def test_channels_are_sar_then_slots_in_network_units(card: Card) -> None:
    optical = {slot: flat(0.01 * i) for i, slot in enumerate(SLOTS)}
    x = assemble(card, optical, {"vh": flat(-16.25), "vv": flat(-5.0)})
    assert x.shape == (2, 15, 4, 6)
    assert x.dtype == torch.float32
    expected = [1.6, 1.0, *(0.05 * i for i in range(13))]
    torch.testing.assert_close(x[1, :, 2, 3], torch.tensor(expected))


def test_values_out_of_range_are_clipped(card: Card) -> None:
    optical = dict.fromkeys(SLOTS, flat(1.7)) | {"red": flat(-0.2)}
    x = assemble(card, optical, {"vv": flat(-60), "vh": flat(9)})
    assert x[0, :2, 0, 0].tolist() == [0.0, 2.0]
    assert x[0, 2 + SLOTS.index("red")].unique().tolist() == [0.0]
    assert x[0, 2 + SLOTS.index("blue")].unique().tolist() == [5.0]


def test_missing_sar_is_nought_whole_or_in_part(card: Card) -> None:
    optical = dict.fromkeys(SLOTS, flat(0.5))
    assert not assemble(card, optical)[:, :2].any()
    holed = flat(-10.0)
    holed[:, 0, 0] = torch.nan
    x = assemble(card, optical, {"vv": holed})
    assert x[0, 0, 0, 0] == 0
    assert x[0, 0, 1, 1] == pytest.approx(1.2)
    assert not x[:, 1].any()


def test_missing_sar_is_what_the_card_says(card: Card) -> None:
    sar = tuple(dataclasses.replace(channel, missing=-2.0) for channel in card.sar)
    optical = dict.fromkeys(SLOTS, flat(0.5))
    holed = flat(-10.0)
    holed[:, 0, 0] = torch.nan
    x = assemble(dataclasses.replace(card, sar=sar), optical, {"vv": holed})
    assert x[0, 0, 0, 0] == -2
    assert x[0, 0, 1, 1] == pytest.approx(1.2)
    assert x[:, 1].eq(-2).all()


@settings(deadline=None, max_examples=60)
@given(present=st.sets(st.sampled_from(SLOTS)).map(lambda slots: slots | set(REQUIRED)))
def test_every_slot_is_filled_by_itself_or_the_first_stand_in(present: set[str]) -> None:
    card = Card("n.t", "dsen2-cr", {}, SLOTS)
    x = assemble(card, {slot: flat((1 + SLOTS.index(slot)) / 20) for slot in present})
    for index, slot in enumerate(SLOTS):
        shown = next((s for s in (slot, *STAND_INS[slot]) if s in present), None)
        expected = 0.0 if shown is None else (1 + SLOTS.index(shown)) / 20
        assert x[0, index, 0, 0].item() == pytest.approx(expected)


def test_input_is_left_as_it_was(card: Card) -> None:
    optical, sar = dict.fromkeys(REQUIRED, flat(2.0)), {"vv": flat(torch.nan)}
    assemble(card, optical, sar)
    assert optical["red"].eq(2).all()
    assert sar["vv"].isnan().all()


def test_required_slots_that_are_missing_are_named(card: Card) -> None:
    with pytest.raises(ModelError, match=r"aca-crnet.test: the scene has no green, red; .* --bands"):
        assemble(card, {"blue": flat(0.1), "nir": flat(0.1)})


@pytest.mark.parametrize("activation", ["none", "tanh"])
def test_reflectance_comes_back(activation: str) -> None:
    card = Card("n.t", "aca-crnet", {}, REQUIRED, scale=2.0, offset=-1.0, activation=activation)
    x = assemble(card, {slot: torch.rand(SHAPE) * 0.9 + 0.05 for slot in REQUIRED})
    output = x.atanh() if activation == "tanh" else x
    expected = (x + 1) / 2
    torch.testing.assert_close(to_reflectance(card, output), expected)
    torch.testing.assert_close(to_reflectance(card, (output, x, x)), expected)
    assert to_reflectance(card, output.bfloat16()).dtype == torch.float32


def test_a_card_may_require_nothing(card: Card) -> None:
    x = assemble(dataclasses.replace(card, required=()), {"nir": flat(0.2)})
    assert x[0, 2 + SLOTS.index("nir08"), 0, 0] == pytest.approx(1.0)
