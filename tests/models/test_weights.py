from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from cloudfix.errors import ModelError, OutputError
from cloudfix.models import Card, create, load, read_card, registry, save

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def saved(tmp_path: Path, network: torch.nn.Module, card: Card) -> Path:
    path = tmp_path / "net.safetensors"
    save(path, network, card)
    return path


def test_weights_and_card_come_back(saved: Path, network: torch.nn.Module, card: Card) -> None:
    loaded, found = load(saved)
    assert found == dataclasses.replace(card, checksum=found.checksum) == read_card(saved)
    assert len(found.checksum) == 64
    assert not loaded.training
    x = torch.randn(1, 15, 8, 8)
    assert torch.equal(loaded(x), network(x))


def test_options_that_are_words_come_back(tmp_path: Path, card: Card) -> None:
    options = {**card.options, "attention": "dense"}
    network = create(card.architecture, **options).eval()
    save(tmp_path / "dense.safetensors", network, dataclasses.replace(card, options=options))
    loaded, found = load(tmp_path / "dense.safetensors")
    assert found.options == options
    x = torch.randn(1, 15, 8, 8)
    assert torch.equal(loaded(x), network(x))


def test_half_precision_files_load_as_single(saved: Path, network: torch.nn.Module, card: Card) -> None:
    save(saved, network.half(), card)
    assert {p.dtype for p in load(saved)[0].parameters()} == {torch.float32}


def test_channels_last_weights_have_the_same_checksum(saved: Path, network: torch.nn.Module, card: Card) -> None:
    before = read_card(saved).checksum
    assert save(saved, network.to(memory_format=torch.channels_last), card).checksum == before


def test_loading_leaves_the_random_state_alone(saved: Path) -> None:
    before = torch.get_rng_state()
    load(saved)
    assert torch.equal(before, torch.get_rng_state())


def test_nothing_else_is_left_in_the_folder(saved: Path) -> None:
    assert list(saved.parent.iterdir()) == [saved]


def test_folder_that_is_not_there_is_named(tmp_path: Path, network: torch.nn.Module, card: Card) -> None:
    with pytest.raises(OutputError, match="no/net"):
        save(tmp_path / "no" / "net.safetensors", network, card)


def flip_last_byte(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "flipped": (flip_last_byte, "its tensors have checksum"),
    "truncated": (lambda content: content[:-100], "damaged"),
    "header cut": (lambda content: content[:200], "not safetensors"),
    "empty": (lambda _: b"", "not safetensors"),
    "text": (lambda _: b"these are no weights at all, honestly", "not safetensors"),
    "pickle": (lambda _: b"\x80\x04\x95" + bytes(60), "not safetensors"),
    "header too long": (lambda _: struct.pack("<Q", 2**40) + bytes(64), "not safetensors"),
    "header of another kind": (lambda _: struct.pack("<Q", 2) + b"[]", "not safetensors"),
    "no card": (lambda _: struct.pack("<Q", 2) + b"{}", "card: none in the header"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_line_that_names_the_file(saved: Path, damage: str) -> None:
    change, message = DAMAGE[damage]
    saved.write_bytes(change(saved.read_bytes()))
    with pytest.raises(ModelError, match=message) as raised:
        load(saved)
    assert str(saved) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_card_of_another_network_is_refused(saved: Path, network: torch.nn.Module, card: Card) -> None:
    save(saved, network, dataclasses.replace(card, options={**card.options, "blocks": 5}))
    with pytest.raises(ModelError, match="do not agree") as raised:
        load(saved)
    assert "\n" not in str(raised.value)


def test_more_blocks_than_tensors_are_not_built(saved: Path, network: torch.nn.Module, card: Card) -> None:
    save(saved, network, dataclasses.replace(card, options={**card.options, "blocks": 10**9}))
    with pytest.raises(ModelError, match=r"the card says blocks=1000000000, but there are \d+ tensors; import it anew"):
        load(saved)
    save(saved, network, dataclasses.replace(card, options={**card.options, "blocks": [20]}))  # type: ignore[dict-item]
    with pytest.raises(ModelError, match="do not agree"):
        load(saved)


def test_card_is_read_without_the_tensors(saved: Path) -> None:
    content = saved.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    assert "cloudfix" in json.loads(content[8 : 8 + length])["__metadata__"]
    saved.write_bytes(content[: 8 + length])
    assert read_card(saved).name == "aca-crnet.test"


def test_names_are_those_of_the_files(saved: Path, monkeypatch: pytest.MonkeyPatch, card: Card) -> None:
    named = saved.rename(saved.with_name("aca-crnet.test.safetensors"))
    monkeypatch.setattr(registry, "_files", lambda: {"aca-crnet.test": named})
    assert registry.list_weights() == ("aca-crnet.test",)
    assert load("aca-crnet.test")[1].name == card.name
    with pytest.raises(ModelError, match=r"did you mean 'aca-crnet\.test'"):
        load("aca-crnet.tset")


def test_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match=r"no/such\.safetensors: no such file"):
        read_card("no/such.safetensors")


def test_weights_of_the_package_are_sound() -> None:
    for name in registry.list_weights():
        card = read_card(name)
        assert card.name == name
        assert card.licence != "unknown"
        load(name)


def test_weights_of_the_package_are_in_the_licence_beside_them() -> None:
    files = {path.name: read_card(name).licence for name, path in registry._files().items()}
    if not files:
        pytest.skip("no weights come with this checkout")
    terms = (Path(registry.__file__).parent / "weights" / "LICENSE.md").read_text()
    for name, licence in files.items():
        assert any(name in line and licence in line for line in terms.splitlines())


def test_the_default_depends_on_the_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.default_for(("blue", "green", "red", "nir08", "")) == registry.MULTISPECTRAL
    with pytest.raises(ModelError, match=r"green, red only; .* --model FILE"):
        registry.default_for(("red", "green"))
    monkeypatch.setattr(registry, "_files", lambda: {registry.COLOUR: Path("there")})
    assert registry.default_for(("red", "green", "blue")) == registry.COLOUR
    monkeypatch.setattr(registry, "_files", dict)
    with pytest.raises(ModelError, match=r"blue, green, red only; .* --model FILE"):
        registry.default_for(("red", "green", "blue"))
