"""What a stage trains: its card, and the network that it begins with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from cloudfix.errors import UsageError
from cloudfix.models import create, load, save
from cloudfix.models.inputs import assemble
from cloudfix.sensors import SLOTS
from cloudfix.training.networks import RGB, SAR_INPUTS, card_of, network_of
from cloudfix.training.overrides import with_overrides
from cloudfix.training.recipe import Data, Recipe, Stage
from cloudfix.training.recipe_files import list_recipes, read_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from cloudfix.models import Card

MULTISPECTRAL = ("sen12mscr", "corpus", "scenes")
TINY = {"blocks": 4, "features": 8}


def recipe_of(**settings: object) -> Recipe:
    return Recipe("aca-crnet.test", "a test", "none", "noise", {"train": Stage(epochs=1, **settings)})  # type: ignore[arg-type]


def card(slots: tuple[str, ...] = RGB, start: Path | str | None = None, **settings: object) -> Card:
    return card_of(recipe_of(**settings), "train", name="x.test", slots=slots, start=start)


@pytest.fixture
def tanh_weights(tmp_path: Path) -> Path:
    """A small RGB network in units of its own."""
    begun = card(options=TINY, scale=2, offset=-1, activation="tanh")
    path = tmp_path / "begun.safetensors"
    save(path, network_of(Stage(epochs=1), begun, start=None, prior=None), begun)
    return path


TRAINED = [
    (name, stage)
    for name in list_recipes()
    for stage, settings in read_recipe(name).stages.items()
    if settings.task != "simulate"
]


@pytest.mark.parametrize(("name", "stage"), TRAINED)
@torch.inference_mode()
def test_every_stage_of_every_recipe_has_a_network_that_runs(name: str, stage: str) -> None:
    recipe = read_recipe(name)
    settings = recipe.stages[stage]
    if settings.architecture in ("aca-crnet", "dsen2-cr") and name != "aca-crnet-scenes":
        recipe = with_overrides(recipe, [f"options.{option}={value}" for option, value in TINY.items()])
    slots = SLOTS if settings.data.dataset in MULTISPECTRAL else RGB
    start = None if settings.start in recipe.stages else settings.start
    made = card_of(recipe, stage, name="x.test", slots=slots, start=start)
    network = network_of(recipe.stages[stage], made, start=start, prior=None)
    scene = {slot: torch.rand(1, 16, 16) for slot in slots}
    output = network(assemble(made, scene))
    answer = output[0] if isinstance(output, tuple) else output
    assert answer.shape == (1, 1 if made.role == "thickness" else len(slots), 16, 16)
    assert made.slots == (RGB if made.role == "thickness" else slots)


def test_channels_follow_from_the_data_and_the_radar() -> None:
    plain, guided = card(SLOTS), card(SLOTS, sar=True, options={"features": 8})
    assert plain.options == {"in_channels": 13, "out_channels": 13}
    assert guided.options == {"in_channels": 15, "out_channels": 13, "features": 8}
    assert guided.sar == SAR_INPUTS
    assert card(SLOTS, architecture="thiefcloud").slots == RGB


def test_only_who_trains_without_bands_does_without_them() -> None:
    assert card(SLOTS).required == tuple(slot for slot in SLOTS if slot != "cirrus")
    assert set(card(SLOTS, data=Data(slot_dropped=0.1)).required) == set(RGB)
    assert set(card(SLOTS, data=Data(band_sets={"stack-10": 1})).required) == set(RGB)
    with pytest.raises(UsageError, match=r"stage train: the data have no red, which x.test takes"):
        card(("blue", "green", "nir"), architecture="scpm", task="thickness")


def test_the_card_tells_the_recipe() -> None:
    settings = {"architecture": "thiefcloud", "scale": 1, "tile": 128, "overlap": 32, "lr": 3e-4}
    made = card(**settings)
    told = json.loads(made.recipe)
    assert (told["stage"], told["lr"], told["data"]["crop"], told["perceptual loss"]) == ("train", 3e-4, 128, "none")
    assert (made.licence, made.training_data, made.tile, made.overlap) == ("none", "noise", 128, 32)
    assert card(architecture="scpm", task="thickness").role == "thickness"


def test_the_seed_decides_the_weights_and_leaves_other_random_numbers_alone() -> None:
    made = card(options=TINY)
    state = torch.get_rng_state()
    first, again, other = (
        network_of(Stage(epochs=1, seed=seed), made, start=None, prior=None).get_parameter("stem.weight")
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_identity_begins_by_returning_the_input() -> None:
    made = card(options=TINY)
    inputs = torch.rand(1, 3, 16, 16)
    network = network_of(Stage(epochs=1, identity=True), made, start=None, prior=None)
    assert torch.equal(network(inputs), inputs)
    assert not torch.equal(network_of(Stage(epochs=1), made, start=None, prior=None)(inputs), inputs)


def test_a_start_brings_its_weights_options_and_units(tanh_weights: Path) -> None:
    made = card(start=tanh_weights, scale=5)
    assert (made.scale, made.offset, made.activation, made.slots) == (2, -1, "tanh", RGB)
    assert made.options == {**TINY, "in_channels": 3, "out_channels": 3}
    assert (made.name, made.checksum, made.licence) == ("x.test", "", "none")
    network = network_of(Stage(epochs=1), made, start=tanh_weights, prior=None)
    for name, tensor in load(tanh_weights)[0].state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor)


def test_a_start_that_does_not_fit_is_refused(tanh_weights: Path) -> None:
    with pytest.raises(UsageError, match=r"start=.* is a aca-crnet; expected the architecture of the stage, unet"):
        card(start=tanh_weights, architecture="unet")
    with pytest.raises(UsageError, match=r"options\.features=16; start=.* has 8, leave it out"):
        card(start=tanh_weights, options={"features": 16})
    with pytest.raises(UsageError, match="the data have no green"):
        card(("red", "blue"), start=tanh_weights)


def test_a_prior_becomes_thiefclouds_scpm(tmp_path: Path, tanh_weights: Path) -> None:
    path = tmp_path / "scpm.safetensors"
    scpm = create("scpm")
    save(path, scpm, card(architecture="scpm", task="thickness"))
    stage = Stage(epochs=1, architecture="thiefcloud")
    made = card(architecture="thiefcloud")
    network = network_of(stage, made, start=None, prior=path)
    for name, tensor in scpm.state_dict().items():
        assert torch.equal(network.get_submodule("prior").state_dict()[name], tensor)
    with pytest.raises(UsageError, match=r"prior=.*: weights of aca-crnet; expected those of scpm"):
        network_of(stage, made, start=None, prior=tanh_weights)
