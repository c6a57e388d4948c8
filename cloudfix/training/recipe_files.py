"""Recipes as files: those that come with the package, any other YAML file, and the record of a run."""

from __future__ import annotations

import dataclasses
import difflib
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import TypeAdapter, ValidationError

from cloudfix.errors import OutputError, UsageError
from cloudfix.models.architectures import suggest
from cloudfix.training.recipe import ONLY_STAGE, Data, Loss, Recipe, Stage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

HEADS = ("name", "about", "licence", "training_data")
"""Keys of a recipe that are not a stage's."""

_OPEN = ("options", "data.clouds", "data.band_sets")
"""Keys that hold entries of any name."""


def list_recipes() -> tuple[str, ...]:
    """The names of the recipes that come with the package, sorted."""
    return tuple(sorted(_files()))


def read_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe of the package by its name, or the one in a YAML file.

    The file holds the name, `about`, `licence`, `training_data` and the keys of `Stage`. With `stages`, the keys
    outside hold for all of these, and each may say otherwise.

    Raises:
        UsageError: there is no such recipe, or a setting in it is unknown, missing or of the wrong kind.
    """
    path = _files().get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        hint = suggest(str(name_or_path), list_recipes())
        raise UsageError(f"recipe {name_or_path}: no such recipe and no such file; {hint}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())}); correct it") from error
    if not isinstance(content, dict) or not isinstance(content.get("stages", {}), dict):
        raise UsageError(f"{path}: not a recipe; expected keys and values, see `cloudfix train RECIPE --show`")
    return settled(_with_stages(content), f"recipe {name_or_path}")


def settled(settings: Mapping[str, Any], origin: str) -> Recipe:
    """The recipe with these `settings`, all of them checked.

    Args:
        settings: as `Recipe` has them, stages as mappings.
        origin: what an error begins with.

    Raises:
        UsageError: one of them is unknown, missing or of the wrong kind.
    """
    try:
        return TypeAdapter(Recipe).validate_python(settings)
    except ValidationError as error:
        raise UsageError(f"{origin}: {_one_line(error)}") from error


def known_keys() -> tuple[str, ...]:
    """Every key of a stage, those of `data` and `loss` with their prefix."""
    groups = {"data": Data, "loss": Loss}
    keys = [setting.name for setting in dataclasses.fields(Stage) if setting.name not in groups]
    for prefix, kind in groups.items():
        keys += [f"{prefix}.{setting.name}" for setting in dataclasses.fields(kind)]
    return tuple(keys)


def is_known(key: str) -> bool:
    """Whether a stage has that key, dots and all; what the open ones hold may have any name."""
    return key in known_keys() or key.rpartition(".")[0] in _OPEN


def nearest(key: str, known: Collection[str]) -> str:
    """The one of the `known` keys that is most like `key`; its last part counts most."""

    def likeness(other: str) -> tuple[float, float]:
        parts = (key.rpartition(".")[2], other.rpartition(".")[2])
        return difflib.SequenceMatcher(None, *parts).ratio(), difflib.SequenceMatcher(None, key, other).ratio()

    return max(known, key=likeness)


def dump(recipe: Recipe) -> str:
    """The recipe as YAML, every setting written out."""
    # a round trip through plain types: YAML has no tuples
    plain = TypeAdapter(Recipe).dump_python(recipe, mode="json")
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)


def write_record(recipe: Recipe, path: Path) -> None:
    """Keep the recipe beside what it makes.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(dump(recipe), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error


def check_record(recipe: Recipe, path: Path) -> None:
    """Make sure that a run goes on with the recipe that it began with.

    Raises:
        UsageError: the recipe in `path` differs; the key that does is named.
    """
    before, now = (dict(_flat(yaml.safe_load(text))) for text in (path.read_text(encoding="utf-8"), dump(recipe)))
    for key in [*before, *now]:
        if before.get(key) != now.get(key):
            raise UsageError(
                f"{path}: the run there has {key}={before.get(key)}, this recipe {now.get(key)}; "
                "resume with the same settings, or choose another --out"
            )


def _files() -> dict[str, Path]:
    folder = Path(str(resources.files("cloudfix.training"))) / "recipes"
    return {path.stem: path for path in folder.glob("*.yaml")}


def _with_stages(content: Mapping[str, Any]) -> dict[str, Any]:
    """Stages with all their keys, from shared ones and their own."""
    head = {key: value for key, value in content.items() if key in HEADS}
    shared = {key: value for key, value in content.items() if key not in (*HEADS, "stages")}
    stages = content.get("stages", {ONLY_STAGE: {}})
    return {**head, "stages": {name: _merged(shared, own or {}) for name, own in stages.items()}}


def _merged(shared: Mapping[str, Any], own: Any) -> Any:
    """`own` over `shared`, entry by entry."""
    if not isinstance(own, dict):
        return own
    both = {key: _merged(shared[key], own[key]) for key in shared.keys() & own.keys() if isinstance(shared[key], dict)}
    return {**shared, **own, **both}


def _flat(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting under its dotted key."""
    if isinstance(settings, dict) and settings:
        for key, value in settings.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix.removeprefix("stages.").removeprefix(f"{ONLY_STAGE}."), settings


def _one_line(error: ValidationError) -> str:
    """The first thing that is wrong, as KEY=VALUE and what was expected."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]).removeprefix("stages.").removeprefix(f"{ONLY_STAGE}.")
    message = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{key}.{message}".removeprefix(".").removeprefix(f"{ONLY_STAGE}.")
    if first["type"] == "missing":
        return f"{key}: missing; give it a value"
    if first["type"] == "unexpected_keyword_argument":
        return f"{key}: unknown key; did you mean '{nearest(key, [*HEADS, *known_keys()])}'?"
    if found := re.match(r"(.*\b(?:options|clouds)\.[^.]+)\.", key):
        # pydantic tries one kind after the other, and names each
        key, message = found[1], "a number, a word or [low, high]"
    return f"{key}={first['input']!r}; expected {message}"
