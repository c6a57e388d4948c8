from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from cloudfix import open_scene, restore
from cloudfix.cli.models import app
from cloudfix.errors import CloudfixError, ModelError, UsageError
from cloudfix.models import load, read_card, registry, save
from cloudfix.sensors import SLOTS

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from click.testing import Result


class Payload:
    """Writes a file where it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self.target).touch, (self.target,)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def failure(*arguments: object) -> CloudfixError:
    error = invoke(*arguments).exception
    assert isinstance(error, CloudfixError)
    assert "\n" not in str(error)
    return error


@pytest.fixture
def tiny(seeded: ModuleType) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value) for key, value in seeded.state_dict("aca_crnet_tiny").items()}


@pytest.mark.parametrize("form", ["plain", "module.", "model_state", "state_dict", "safetensors"])
def test_import_makes_weights_that_load(
    tmp_path: Path, tiny: dict[str, torch.Tensor], seeded: ModuleType, form: str
) -> None:
    source, output = tmp_path / "published.pth", tmp_path / "rice.safetensors"
    if form == "safetensors":
        source = source.with_suffix(".safetensors")
        save_file(tiny, source)
    elif form == "module.":
        torch.save({f"module.{key}": value for key, value in tiny.items()}, source)
    else:
        torch.save(tiny if form == "plain" else {form: tiny, "epoch": 300}, source)
    result = invoke("import", source, "--as", "aca-crnet.rice", "-o", output)
    assert result.stdout == f"{output}\n"
    network, card = load(output)
    x = torch.from_numpy(seeded.array("aca_crnet_tiny/a", (2, 3, 32, 32), -1, 1))
    with torch.inference_mode():
        expected = seeded.expected("aca_crnet_tiny")["a/out"]
        np.testing.assert_allclose(network(x).numpy(), expected, rtol=1e-5, atol=1e-4)
    assert (card.name, card.slots) == ("aca-crnet.rice", ("red", "green", "blue"))
    assert (card.scale, card.offset, card.activation) == (2, -1, "tanh")
    assert card.licence == "unknown: as the checkpoint's source"


@pytest.mark.parametrize(
    ("tag", "name", "slots", "sar"),
    [
        ("dsen2_cr_tiny", "dsen2-cr", SLOTS, ("vv", "vh")),
        ("thiefcloud", "thiefcloud", ("red", "green", "blue"), ()),
    ],
)
def test_import_writes_what_the_architecture_takes(
    tmp_path: Path, seeded: ModuleType, tag: str, name: str, slots: tuple[str, ...], sar: tuple[str, ...]
) -> None:
    source, output = tmp_path / "published.pth", tmp_path / "ours.safetensors"
    torch.save({key: torch.from_numpy(value) for key, value in seeded.state_dict(tag).items()}, source)
    invoke("import", source, "--as", name, "-o", output)
    _, card = load(output)
    assert card.slots == slots
    assert tuple(channel.slot for channel in card.sar) == sar
    # The published port maps SAR to −2…0; no radar is as dark as it gets, not 0 dB.
    assert all((c.clip[0] * c.scale + c.offset, c.clip[1] * c.scale + c.offset) == (-2, 0) for c in card.sar)
    assert all(channel.missing == -2 for channel in card.sar)
    assert card.role == "restore"


def test_run_refuses_weights_that_restore_nothing(tmp_path: Path, seeded: ModuleType, write_scene: Any) -> None:
    source, output = tmp_path / "published.pth", tmp_path / "scpm.safetensors"
    torch.save({key: torch.from_numpy(value) for key, value in seeded.state_dict("scpm").items()}, source)
    invoke("import", source, "--as", "scpm", "-o", output)
    assert read_card(output).role == "thickness"
    with pytest.raises(ModelError, match=r"scpm: gives thickness, .* --model"):
        restore(open_scene(write_scene()), model=str(output))


def test_import_says_which_keys_are_missing_and_unknown(tmp_path: Path, tiny: dict[str, torch.Tensor]) -> None:
    source, output = tmp_path / "published.pth", tmp_path / "ours.safetensors"
    tiny["net.3.net.conv9.weight"] = tiny.pop("net.3.net.conv1.weight")
    torch.save(tiny, source)
    message = str(failure("import", source, "--as", "aca-crnet", "-o", output))
    assert message.startswith(f"{source}: ")
    assert "1 missing: net.3.net.conv1.weight; 1 unknown: net.3.net.conv9.weight" in message
    assert list(tmp_path.iterdir()) == [source]


def test_import_never_unpickles(tmp_path: Path, tiny: dict[str, torch.Tensor]) -> None:
    source, output, target = tmp_path / "evil.pth", tmp_path / "ours.safetensors", tmp_path / "ran"
    torch.save({"state_dict": tiny, "callback": Payload(target)}, source)
    error = failure("import", source, "--as", "aca-crnet", "-o", output)
    assert isinstance(error, ModelError)
    assert "holds more than tensors" in str(error)
    source.write_bytes(pickle.dumps(Payload(target)))
    failure("import", source, "--as", "aca-crnet", "-o", output)
    assert not target.exists()
    assert not output.exists()


@pytest.mark.parametrize("content", [b"", b"text, not weights", bytes(100), b"PK\x03\x04" + bytes(50), b"\x80\x02}q"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_import_refuses_what_is_no_checkpoint(tmp_path: Path, content: bytes, suffix: str) -> None:
    source = tmp_path / f"broken{suffix}"
    source.write_bytes(content)
    assert str(source) in str(failure("import", source, "--as", "aca-crnet", "-o", tmp_path / "o.safetensors"))


def test_import_refuses_wrong_use(tmp_path: Path, tiny: dict[str, torch.Tensor]) -> None:
    source = tmp_path / "published.pth"
    torch.save(tiny, source)
    assert isinstance(failure("import", source, "--as", "aca-crnet", "-o", tmp_path / "o.pth"), UsageError)
    output = tmp_path / "o.safetensors"
    assert "no/file.pth" in str(failure("import", "no/file.pth", "--as", "aca-crnet", "-o", output))
    assert "unknown" in str(failure("import", source, "--as", "u-net", "-o", output))
    attention = {k.removeprefix("net.6.net.att."): v for k, v in tiny.items() if k.startswith("net.6.net.att.")}
    torch.save(attention, source)
    assert "part of a network" in str(failure("import", source, "--as", "ac-attention", "-o", output))


def test_show_prints_the_card(tiny_weights: Path) -> None:
    lines = invoke("show", tiny_weights).stdout.splitlines()
    assert "name: aca-crnet.tiny" in lines
    assert "role: restore" in lines
    assert 'options: {"in_channels": 15, "out_channels": 13, "blocks": 4, "features": 8}' in lines
    record = json.loads(invoke("show", tiny_weights, "--json").stdout)
    assert record["slots"] == list(SLOTS)
    assert record["sar"][0]["clip"] == [-25, 0]
    assert "unknown name" in str(failure("show", "aca-crnet.none"))


def test_list_prints_a_line_for_each_set_of_weights(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_files", lambda: {"aca-crnet.tiny": tiny_weights})
    (line,) = invoke("list").stdout.splitlines()
    assert line.split("\t") == ["aca-crnet.tiny", "aca-crnet", "13 bands + vv/vh", "tile 64, overlap 16", "unknown"]
    assert [record["name"] for record in json.loads(invoke("list", "--json").stdout)] == ["aca-crnet.tiny"]


@pytest.fixture
def research_weights(tmp_path: Path, tiny_weights: Path) -> Path:
    network, card = load(tiny_weights)
    path = tmp_path / "research.safetensors"
    figures = {"steps": 9.0, "test/real/copy/psnr": 20.123, "test/real/copy/mae": 0.5, "test/real/network/psnr": 1.0}
    save(path, network, replace(card, licence="research use, its images state no licence", metrics=figures))
    return path


def test_metrics_are_shown_a_line_for_each_method(research_weights: Path) -> None:
    lines = invoke("show", research_weights).stdout.splitlines()
    assert lines[-4:] == [
        "metrics:",
        "  training: steps 9",
        "  test/real/copy: psnr 20.123, mae 0.5",
        "  test/real/network: psnr 1",
    ]
    assert json.loads(invoke("show", research_weights, "--json").stdout)["metrics"]["test/real/copy/mae"] == 0.5


def test_weights_for_research_only_are_marked(research_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_files", lambda: {"aca-crnet.tiny": research_weights})
    (line,) = invoke("list").stdout.splitlines()
    assert line.split("\t")[-1] == "! research use, its images state no licence"


def test_a_run_says_once_that_weights_are_for_research_only(
    research_weights: Path, write_scene: Any, typed: Any
) -> None:
    write_scene(60, 60, name="a.tif")
    write_scene(60, 60, name="b.tif")
    said = "aca-crnet.tiny: its licence says: research use, its images state no licence"
    for words in (("a.tif", "-o", "out.tif"), ("a.tif", "b.tif", "--out-dir", "clear")):
        result = typed("run", *words, "--model", research_weights)
        assert result.returncode == 0, result.stderr
        assert result.stderr.count(f"note: {said}") == 1
