from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from cloudfix.errors import ModelError
from cloudfix.models import Card, SarInput
from cloudfix.models.cards import METADATA_KEY


def test_card_survives_the_header(card: Card) -> None:
    metadata = card.to_metadata()
    assert all(isinstance(text, str) for pair in metadata.items() for text in pair)
    assert Card.from_metadata(metadata) == card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots": ("blue", "green", "red", "purple")}, "slots is purple"),
        ({"slots": ()}, "slots is none"),
        ({"slots": ("red", "red", "blue", "green")}, "no slot twice"),
        ({"slots": ("red", "green", "blue")}, "in_channels is 15; expected 5"),
        ({"sar": ()}, "in_channels is 15; expected 13"),
        ({"scale": 0}, "scale is 0"),
        ({"scale": 10**400}, "scale is 1000"),
        ({"architecture": ["unet"]}, "architecture is .*expected a text"),
        ({"checksum": None}, "checksum is None"),
        ({"licence": 4}, "licence is 4; expected a text"),
        ({"metrics": [("psnr", 20.0)]}, "metrics is .*expected numbers and texts by name"),
        ({"metrics": {"psnr": None}}, "metrics is .*expected numbers and texts by name"),
        ({"offset": float("inf")}, "offset is inf"),
        ({"activation": "relu"}, "activation is relu; expected one of none, tanh"),
        ({"tile": 0}, "tile is 0"),
        ({"tile": 100}, "tile is 100; expected a multiple of 8"),
        ({"tile": 256.0}, "tile is 256.0"),
        ({"overlap": 129}, "overlap is 129; expected 0 to 128"),
        ({"overlap": -1}, "overlap is -1"),
        ({"role": "classify"}, "role is classify; expected one of restore, thickness"),
        ({"required": ("blue", "pan")}, "required is pan"),
    ],
)
def test_wrong_entries_are_named(card: Card, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        dataclasses.replace(card, **change)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hh", (-25, 0), 0.08, 2.0), "sar is hh; expected one of vv, vh"),
        (("vv", (0, -25), 0.08, 2.0), "clip of vv"),
        (("vv", (-25, 0), 0.0, 2.0), "scale of vv is 0"),
        (("vv", (-25, 0), 0.08, float("nan")), "offset of vv is nan"),
        (("vv", (-25, 0), 0.08, 2.0, float("inf")), "missing of vv is inf"),
    ],
)
def test_wrong_sar_inputs_are_named(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        SarInput(*arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not as this version"),
        ("[]", "not as this version"),
        ('{"name": "x"}', "missing 3 required positional arguments"),
        ('{"surprise": 1}', "unexpected keyword argument 'surprise'"),
    ],
)
def test_header_that_holds_no_card_is_refused(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        Card.from_metadata({METADATA_KEY: text})
    assert "\n" not in str(raised.value)


def test_cards_from_before_a_field_get_its_default(card: Card) -> None:
    record = json.loads(card.to_metadata()[METADATA_KEY])
    del record["role"]
    for channel in record["sar"]:
        del channel["missing"]
    assert Card.from_metadata({METADATA_KEY: json.dumps(record)}) == card


def test_header_without_a_card_names_the_remedy() -> None:
    with pytest.raises(ModelError, match="cloudfix models import"):
        Card.from_metadata({"format": "pt"})


def test_entries_of_a_wrong_type_are_refused(card: Card) -> None:
    record = json.loads(card.to_metadata()[METADATA_KEY])
    for entry in ("slots", "options", "scale", "tile", "sar"):
        with pytest.raises(ModelError):
            Card.from_metadata({METADATA_KEY: json.dumps(record | {entry: 7.5 if entry != "scale" else "x"})})
