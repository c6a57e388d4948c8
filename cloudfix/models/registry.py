"""Named sets of weights, `architecture.tag` as timm names them: the files that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from cloudfix.errors import ModelError
from cloudfix.models.architectures import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable

MULTISPECTRAL = "aca-crnet.multi"
"""The weights for Sentinel-2 and Landsat-8, with or without SAR."""

COLOUR = "aca-crnet.rgb"
"""The weights for 8-bit pictures in red, green and blue."""

THICKNESS = "scpm.rgb"
"""The weights that see how thick cloud is, in red, green and blue."""

_SUFFIX = ".safetensors"


def list_weights() -> tuple[str, ...]:
    """The names of the weights that come with the package, sorted."""
    return tuple(sorted(_files()))


def find(name_or_path: str | Path) -> Path:
    """The file that holds a named set of weights, or the file itself.

    Raises:
        ModelError: neither a name nor a file.
    """
    files = _files()
    if str(name_or_path) in files:
        return files[str(name_or_path)]
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.suffix == _SUFFIX or path.name != str(name_or_path):
        raise ModelError(f"model {name_or_path}: no such file; see `cloudfix models list` for the names")
    raise ModelError(
        f"model {name_or_path}: unknown name and no such file; {suggest(str(name_or_path), sorted(files))}"
    )


def portable(name_or_path: str | Path) -> str:
    """A name as it is, a file by its full path: a worker may run in another folder.

    Raises:
        ModelError: neither a name nor a file.
    """
    return str(name_or_path) if str(name_or_path) in _files() else str(find(name_or_path).resolve())


def default_for(slots: Iterable[str]) -> str:
    """The name of the weights to take for a scene that fills `slots`.

    Raises:
        ModelError: no weights come with the package for such a scene.
    """
    filled = {slot for slot in slots if slot}
    if {"nir", "nir08"} & filled:
        return MULTISPECTRAL
    if {"red", "green", "blue"} <= filled and COLOUR in _files():
        return COLOUR
    raise ModelError(
        f"no default model for a scene with {', '.join(sorted(filled)) or 'no known band'} only; "
        f"{MULTISPECTRAL} expects near infrared too, give weights for this scene with --model FILE"
    )


def thickness_for(slots: Iterable[str]) -> str | None:
    """The name of the weights that map the thickness of cloud in a scene that fills `slots`, if there are any."""
    return THICKNESS if THICKNESS in _files() and {"blue", "green", "red"} <= set(slots) else None


def names_weights(value: object) -> bool:
    """Whether `value` is a registered name, or the name of a weights file."""
    return isinstance(value, str | Path) and (str(value) in _files() or Path(value).suffix == _SUFFIX)


def _files() -> dict[str, Path]:
    folder = Path(str(resources.files("cloudfix.models"))) / "weights"
    return {path.name.removesuffix(_SUFFIX): path for path in folder.glob(f"*{_SUFFIX}")}
