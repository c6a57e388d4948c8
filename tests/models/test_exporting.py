"""Weights that leave: with their card, or under the published names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from typer.testing import CliRunner

from cloudfix.cli.models import app
from cloudfix.errors import ModelError, UsageError
from cloudfix.models import Card, create, load, published, read_card, save
from cloudfix.models.exporting import export_weights
from cloudfix.models.importing import import_checkpoint
from cloudfix.training.networks import SAR_INPUTS

if TYPE_CHECKING:
    from pathlib import Path

RGB = ("red", "green", "blue")
SMALL = {"in_channels": 3, "out_channels": 3, "blocks": 4, "features": 4}


@pytest.mark.parametrize(
    ("name", "options"),
    [("aca-crnet", SMALL), ("dsen2-cr", SMALL), ("scpm", {}), ("thiefcloud", {}), ("ac-attention", {"channels": 4})],
)
def test_reverting_undoes_converting(name: str, options: dict[str, int]) -> None:
    state = create(name, **options).state_dict()
    again = published.convert(name, published.revert(name, state))
    assert state.keys() == again.keys()
    assert all(torch.equal(state[key], again[key]) for key in state)


def test_published_names_are_those_of_the_papers() -> None:
    names = published.revert("aca-crnet", create("aca-crnet", **SMALL).state_dict())
    assert {"net.0.weight", "net.4.net.att.query.weight", "net.6.weight"} <= names.keys()


def test_what_nobody_published_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "unet.safetensors"
    options = {"in_channels": 3, "out_channels": 3, "features": 4}
    save(path, create("unet", **options), Card("unet.test", "unet", options, RGB))
    with pytest.raises(ModelError, match="'unet': nobody published a checkpoint of it"):
        export_weights(path, tmp_path / "unet.pth")
    assert not (tmp_path / "unet.pth").exists()


@pytest.mark.parametrize("skip", ["gated", "filled", "matched", "guided"])
def test_skips_that_nobody_published_are_refused(skip: str, tmp_path: Path) -> None:
    path, options = tmp_path / "ours.safetensors", {**SMALL, "in_channels": 5, "skip": skip}
    save(path, create("aca-crnet", **options), Card("aca-crnet.test", "aca-crnet", options, RGB, sar=SAR_INPUTS))
    with pytest.raises(ModelError, match=f"the published code has no {skip} skip"):
        export_weights(path, tmp_path / "ours.pth")
    assert not (tmp_path / "ours.pth").exists()


def test_a_veil_that_nobody_published_is_refused(tmp_path: Path) -> None:
    path, options = tmp_path / "ours.safetensors", {"veil": "even"}
    save(path, create("thiefcloud", **options), Card("thiefcloud.test", "thiefcloud", options, RGB))
    with pytest.raises(ModelError, match="the published code has no even veil"):
        export_weights(path, tmp_path / "ours.pth")
    assert not (tmp_path / "ours.pth").exists()


def test_exported_checkpoints_come_in_again(tmp_path: Path) -> None:
    weights, checkpoint, again = (tmp_path / f"weights.{suffix}" for suffix in ("safetensors", "pth", "2.safetensors"))
    card = save(weights, create("aca-crnet", **SMALL), Card("aca-crnet.test", "aca-crnet", SMALL, RGB))
    result = CliRunner().invoke(app, ["export", str(weights), "-o", str(checkpoint)])
    assert result.stdout == f"{checkpoint}\n"
    assert import_checkpoint(checkpoint, "aca-crnet.again", again).checksum == card.checksum


def test_an_exported_copy_is_the_same_weights(tiny_weights: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    export_weights(tiny_weights, copy)
    assert read_card(copy) == read_card(tiny_weights)
    assert load(copy)[1].name == "aca-crnet.tiny"


def test_other_suffixes_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"weights\.onnx: expected a name that ends in"):
        export_weights(tiny_weights, tmp_path / "weights.onnx")
