"""Settings on the command line: KEY=VALUE for every stage of a recipe, STAGE.KEY=VALUE for one of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import yaml

from cloudfix.errors import UsageError
from cloudfix.training.recipe_files import HEADS, is_known, known_keys, nearest, settled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudfix.training.recipe import Recipe


def with_overrides(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """The recipe with other settings, in the order given.

    Args:
        recipe: where they come from otherwise.
        overrides: "lr=1e-4", "data.crop=64", "tunable.lr=1e-5", "name=aca-crnet.mine"; values are read as YAML.

    Raises:
        UsageError: one is not KEY=VALUE, its key is unknown, or its value of the wrong kind.
    """
    settings = dataclasses.asdict(recipe)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"{override}: expected KEY=VALUE, such as lr=1e-4 or data.crop=128")
        for target, inner in _targets(settings, key):
            _put(target, inner, _value(override, value))
    return settled(settings, f"recipe {recipe.name}")


def _targets(settings: dict[str, Any], key: str) -> list[tuple[dict[str, Any], str]]:
    """Which mappings an override goes into, and under which key there."""
    stages: dict[str, dict[str, Any]] = settings["stages"]
    if key in HEADS:
        return [(settings, key)]
    if is_known(key):
        return [(stage, key) for stage in stages.values()]
    first, _, inner = key.partition(".")
    if first in stages and is_known(inner):
        return [(stages[first], inner)]
    own = [f"{stage}.{known}" for stage in stages for known in known_keys()] if "." in key else []
    raise UsageError(f"{key}: unknown key; did you mean '{nearest(key, [*HEADS, *known_keys(), *own])}'?")


def _put(settings: dict[str, Any], key: str, value: Any) -> None:
    *outer, last = key.split(".", maxsplit=2)
    for name in outer:
        settings = settings[name]
    settings[last] = value


def _value(override: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{override}: the value cannot be read; expected a number, a word or a [list]") from error
    if isinstance(value, str):
        # to YAML 1e-4 is a word, for want of a point
        try:
            return float(value)
        except ValueError:
            return value
    return value
