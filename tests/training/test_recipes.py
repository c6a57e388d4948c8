"""Recipes: those that come with the package, what a file may say, what the command line may change."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydantic import ValidationError

from cloudfix.errors import UsageError
from cloudfix.training.overrides import with_overrides
from cloudfix.training.recipe import Data, Loss, Recipe, Stage
from cloudfix.training.recipe_files import (
    HEADS,
    check_record,
    dump,
    known_keys,
    list_recipes,
    read_recipe,
    write_record,
)

if TYPE_CHECKING:
    from pathlib import Path

RECIPES = list_recipes()
HEAD = {"name": "dsen2-cr.mine", "about": "a test", "licence": "none", "training_data": "noise", "epochs": 1}


def written(tmp_path: Path, **settings: Any) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**HEAD, **settings}), encoding="utf-8")
    return path


def test_the_recipes_of_both_papers_are_there() -> None:
    expected = {
        "aca-crnet-multi",
        "aca-crnet-rgb",
        "aca-crnet-rice1",
        "aca-crnet-rice2",
        "aca-crnet-scenes",
        "aca-crnet-sen12mscr",
        "attention-comparison",
        "dsen2-cr-sen12mscr",
        "scpm",
        "scpm-rgb",
        "thiefcloud",
        "thiefcloud-plain",
        "thiefcloud-rgb",
    }
    assert expected == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_tells_what_it_is_in_one_line(name: str) -> None:
    recipe = read_recipe(name)
    assert 20 < len(recipe.about) < 110
    assert "\n" not in recipe.about
    assert all((recipe.licence, recipe.training_data))


def test_rice_is_trained_as_published() -> None:
    for name, loss in (("aca-crnet-rice1", "l1"), ("aca-crnet-rice2", "carl")):
        stage = read_recipe(name).stages["train"]
        assert (stage.optimiser, stage.lr, stage.betas, stage.epochs, stage.batch) == (
            "adam",
            7e-5,
            (0.9, 0.999),
            300,
            12,
        )
        assert (stage.data.resize, stage.data.crop, stage.loss.name) == (256, 128, loss)
        assert (stage.scale, stage.offset, stage.activation) == (2, -1, "tanh")


def test_thiefcloud_is_trained_as_published() -> None:
    stages = read_recipe("thiefcloud").stages
    assert list(stages) == ["simulate", "scpm", "frozen", "tunable"]
    scpm, frozen, tunable = (stages[name] for name in ("scpm", "frozen", "tunable"))
    assert (scpm.optimiser, scpm.lr, scpm.weight_decay, scpm.schedule) == ("sgd", 1e-4, 1e-6, "poly")
    assert (scpm.batch, scpm.data.crop, scpm.steps, scpm.epochs, scpm.loss.name) == (8, 256, 20000, None, "l1")
    assert (frozen.lr, frozen.final_lr, frozen.schedule, frozen.batch, frozen.epochs) == (5e-4, 5e-7, "cosine", 10, 200)
    assert (frozen.prior, frozen.freeze) == ("scpm", ("prior",))
    assert (tunable.start, tunable.freeze, tunable.lr, tunable.batch, tunable.epochs) == ("frozen", (), 3e-4, 5, 200)
    assert frozen.loss == tunable.loss == Loss(name="thiefcloud", perceptual=0.04)


def test_thiefcloud_plain_lacks_the_perceptual_loss_and_nothing_else() -> None:
    full, plain = read_recipe("thiefcloud"), read_recipe("thiefcloud-plain")
    assert with_overrides(full, ["loss.perceptual=0"]).stages == plain.stages


def test_the_comparison_is_fair() -> None:
    stages = read_recipe("attention-comparison").stages
    assert [stage.options["attention"] for stage in stages.values()] == ["none", "dense", "attentive"]
    alike = {
        dump(Recipe("a.b", "", "", "", {"x": dataclasses.replace(stage, options={})})) for stage in stages.values()
    }
    assert len(alike) == 1


def test_every_key_is_documented() -> None:
    assert {*HEADS, "stages"} == {setting.name for setting in dataclasses.fields(Recipe)}
    for kind in (Data, Loss, Stage, Recipe):
        told = set(re.findall(r"^ {8}(\w+):", kind.__doc__ or "", re.MULTILINE))
        assert told == {setting.name for setting in dataclasses.fields(kind)}, kind


def test_stages_share_what_is_outside_and_may_differ(tmp_path: Path) -> None:
    stages = {"one": None, "two": {"lr": 1, "data": {"crop": 32}, "start": "one"}}
    recipe = read_recipe(written(tmp_path, architecture="dsen2-cr", data={"turn": False}, stages=stages))
    assert recipe.stages["one"].data == Data(turn=False)
    assert recipe.stages["two"].data == Data(turn=False, crop=32)
    assert (recipe.stages["one"].lr, recipe.stages["two"].lr) == (1e-4, 1)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"learning_rate": 1}, "learning_rate: unknown key; did you mean"),
        ({"abuot": 1}, r"abuot: unknown key; did you mean 'about'\?"),
        ({"data": {"crpo": 1}}, r"data\.crpo: unknown key; did you mean 'data.crop'\?"),
        ({"lr": "fast"}, r"lr='fast'; expected a valid number"),
        ({"lr": float("nan")}, "lr=nan; expected a finite number"),
        ({"batch": 0}, "batch=0; expected greater than or equal to 1"),
        ({"data": {"simulated": 1.5}}, r"data\.simulated=1\.5; expected less than or equal to 1"),
        (
            {"data": {"clouds": {"cover": [1]}}},
            r"data\.clouds\.cover=\[1\]; expected a number, a word or \[low, high\]",
        ),
        ({"data": {"band_sets": {"stack-10": 0.7, "rgb": 0.6}}}, "shares that add up to 1"),
        ({"data": {"band_sets": {"modis": 0.7}}}, r"data\.band_sets\.modis; expected one of .*landsat-8-l1"),
        ({"data": {"validation": ["here"], "test": ["here"]}}, r"data\.validation=here; expected a region .* test"),
        ({"data": {"crop": 300, "resize": 256}}, r"data\.crop=300; expected at most resize=256"),
        ({"data": 5}, r"data=5; expected a dictionary"),
        ({"data": {"crop": 127}}, r"data\.crop=127; expected a multiple of 2 for aca-crnet"),
        ({"architecture": "unet", "data": {"crop": 100}}, r"data\.crop=100; expected a multiple of 8 for unet"),
        (
            {"architecture": "dsen2-cr", "options": {"attention": "dense"}, "data": {"crop": 99}},
            r"data\.crop=99; expected a multiple of 2 for dsen2-cr",
        ),
        ({"architecture": "scpm"}, "architecture=scpm; expected another than scpm"),
        ({"task": "thickness"}, "architecture=aca-crnet; expected scpm"),
        ({"task": "thickness", "architecture": "scpm", "loss": {"name": "carl"}}, "loss.name=carl; expected l1"),
        ({"loss": {"name": "thiefcloud"}}, "loss.name=thiefcloud; expected l1 or carl for aca-crnet"),
        ({"loss": {"angle": 1}}, "loss.angle=1; expected 0, or loss.name=carl and offset=0"),
        ({"loss": {"name": "carl", "angle": 1}, "offset": -1.0}, "loss.angle=1; expected 0, or loss.name=carl"),
        ({"prior": "scpm.rgb"}, "prior=scpm.rgb; expected null for aca-crnet"),
        ({"epochs": None}, "epochs=null; expected an end"),
        ({"final_lr": 1}, r"final_lr=1; expected at most lr=0\.0001"),
        ({"tile": 100}, "tile=100; expected a multiple of 8"),
        ({"overlap": 200}, "overlap=200; expected at most half of tile=256"),
        ({"task": "simulate"}, "images=0; expected how many"),
        ({"name": "mine"}, "name=mine; expected architecture.tag"),
        ({"name": "a.b/c"}, "name=a.b/c; expected architecture.tag"),
        ({"about": None}, "about=None; expected a valid string"),
        ({"stages": {}}, "stages={}; expected one at least"),
        ({"stages": {"lr": {}}}, "stage lr: expected a plain name that is no key"),
        ({"stages": {"../up": {}}}, "stage ../up: expected a plain name"),
        ({"stages": {"one": {"start": "two"}, "two": {}}}, "one.start=two; expected an earlier stage"),
        (
            {"stages": {"one": {}, "two": {"source": "one"}}},
            "two.source=one; expected an earlier stage with task simulate",
        ),
    ],
)
def test_wrong_settings_are_named_in_one_line(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        read_recipe(written(tmp_path, **settings))
    assert "\n" not in str(raised.value)


def test_a_missing_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: a.b\nabout: x\nlicence: y\nepochs: 1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="training_data: missing"):
        read_recipe(path)


@pytest.mark.parametrize("content", ["[", "- a\n- b\n", "\x00", "stages: [1]\n", ""])
def test_files_that_are_no_recipe_are_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=re.escape(str(path))) as raised:
        read_recipe(path)
    assert "\n" not in str(raised.value)


def test_an_unknown_recipe_has_a_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"recipe thiefclod: no such recipe .* did you mean 'thiefcloud'"):
        read_recipe("thiefclod")


def test_stages_check_themselves_wherever_they_come_from() -> None:
    with pytest.raises(ValidationError):
        Stage(epochs=1, lr=-1)


def test_overrides_reach_every_stage_or_one() -> None:
    recipe = with_overrides(read_recipe("thiefcloud"), ["batch=2", "tunable.lr=1e-5", "data.crop=64", "name=a.b"])
    assert {stage.batch for stage in recipe.stages.values()} == {2}
    assert {stage.data.crop for stage in recipe.stages.values()} == {64}
    assert (recipe.stages["tunable"].lr, recipe.stages["frozen"].lr) == (1e-5, 5e-4)
    assert recipe.name == "a.b"


def test_overrides_are_of_the_kind_that_the_key_has() -> None:
    given = [
        "options.attention=none",
        "options.alpha=1e-1",
        "options.features=8",
        "data.clouds.cover=[0.1, 0.5]",
        "data.validation=[a, b]",
        "data.resize=null",
        "data.band_sets.stack-10=0.5",
        "steps=5",
        "start=runs/my.safetensors",
    ]
    stage = with_overrides(read_recipe("aca-crnet-rice1"), given).stages["train"]
    assert stage.options == {"attention": "none", "alpha": 0.1, "features": 8}
    assert stage.data.clouds == {"cover": (0.1, 0.5)}
    assert (stage.data.validation, stage.data.resize, stage.data.band_sets) == (("a", "b"), None, {"stack-10": 0.5})
    assert (stage.steps, stage.start) == (5, "runs/my.safetensors")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("lr", "lr: expected KEY=VALUE"),
        ("lrr=1", r"lrr: unknown key; did you mean 'lr'\?"),
        ("crop=1", r"crop: unknown key; did you mean 'data.crop'\?"),
        ("tunabel.lr=1", r"tunabel\.lr: unknown key; did you mean 'tunable.lr'\?"),
        ("frozen.lrr=1", r"frozen\.lrr: unknown key; did you mean 'frozen.lr'\?"),
        ("stages=1", "stages: unknown key"),
        ("lr=fast", "lr='fast'; expected a valid number"),
        ("lr=[", "the value cannot be read"),
        ("simulate.data.crop=128", r"scpm\.data\.crop=256; expected at most simulate\.data\.crop=128"),
        ("frozen.data.crop=100", r"frozen\.data\.crop=100; expected a multiple of 8 for thiefcloud"),
    ],
)
def test_wrong_overrides_are_named_in_one_line(override: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        with_overrides(read_recipe("thiefcloud"), [override])
    assert "\n" not in str(raised.value)


def test_no_key_is_unknown_to_itself() -> None:
    recipe = read_recipe("aca-crnet-rice1")
    settings = dataclasses.asdict(recipe)["stages"]["train"]
    for key in known_keys():
        value = settings
        for part in key.split("."):
            value = value[part]
        assert with_overrides(recipe, [f"{key}={yaml.safe_dump(value, default_flow_style=True)}".replace("...", "")])


@pytest.mark.parametrize("name", RECIPES)
def test_a_record_gives_the_recipe_back(name: str, tmp_path: Path) -> None:
    recipe, path = read_recipe(name), tmp_path / "run" / "recipe.yaml"
    write_record(recipe, path)
    assert read_recipe(path) == recipe
    check_record(recipe, path)
    last = list(recipe.stages)[-1]
    with pytest.raises(UsageError, match=r"the run there has .*seed=\d+, this recipe 77"):
        check_record(with_overrides(recipe, [f"{last}.seed=77"]), path)
