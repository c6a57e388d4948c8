"""A published checkpoint to a weight file with a card."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudfix.errors import ModelError
from cloudfix.models import published
from cloudfix.models.cards import Card, SarInput
from cloudfix.models.weights import save_tensors
from cloudfix.sensors import SLOTS

if TYPE_CHECKING:
    from collections.abc import Mapping

_RGB = ("red", "green", "blue")

_PUBLISHED_SAR = (
    SarInput("vv", (-25, 0), 2 / 25, 0.0, missing=-2.0),
    SarInput("vh", (-35, 0), 2 / 35, 0.0, missing=-2.0),
)
"""The published PyTorch port of DSen2-CR maps SAR to −2…0; without radar its networks see the darkest of it."""

_PUBLISHED_SCALE = 5.0
"""Multispectral input is DN / 2000 there, that is reflectance times 5."""


def import_checkpoint(source: str | Path, name: str, destination: str | Path) -> Card:
    """Turn a checkpoint of the published code into a weight file that `load` takes.

    Args:
        source: .pth file, or .safetensors with the published names.
        name: architecture, or architecture and tag ("aca-crnet.rice").
        destination: .safetensors file to write.

    Returns:
        The card as written.

    Raises:
        ModelError: the checkpoint cannot be read without unpickling, or does not fit the architecture.
        OutputError: `destination` cannot be written.
    """
    architecture = name.split(".", maxsplit=1)[0]
    checkpoint = _read(Path(source))
    try:
        options = published.infer(architecture, checkpoint)
        tensors = published.convert(architecture, checkpoint)
        card = _card(name, architecture, options, Path(source).name)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from error
    return save_tensors(destination, tensors, card)


def _read(path: Path) -> Mapping[str, Any]:
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            # Old pickle protocols and storages: advice to whoever wrote the file, not to whoever imports it.
            warnings.simplefilter("ignore")
            checkpoint: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: not a checkpoint, or one that holds more than tensors and could run code when loaded; "
            "expected a state dict saved alone by torch.save, or .safetensors"
        ) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); expected a .pth or .safetensors file") from error
    except Exception as error:  # on damaged files torch.load raises nearly anything
        raise ModelError(f"{path}: damaged, or not a checkpoint; expected a .pth or .safetensors file") from error
    return checkpoint


def _card(name: str, architecture: str, options: Mapping[str, int], source: str) -> Card:
    return Card(
        name=name,
        architecture=architecture,
        options=options,
        **_inputs(architecture, options),
        licence="unknown: as the checkpoint's source",
        training_data="unknown: as the checkpoint's source",
        recipe="unknown: as the checkpoint's source",
        source=f"imported from {source}",
    )


def _inputs(architecture: str, options: Mapping[str, int]) -> dict[str, Any]:
    """What the published code feeds such a network, as far as its channels tell."""
    if architecture == "scpm":
        return {"slots": _RGB, "role": "thickness"}
    if architecture == "thiefcloud":
        return {"slots": _RGB}
    channels = options.get("in_channels"), options.get("out_channels")
    # A published network has never been trained with bands missing; cirrus is the one that L2A products lack.
    multispectral = {
        "slots": SLOTS,
        "scale": _PUBLISHED_SCALE,
        "required": tuple(slot for slot in SLOTS if slot != "cirrus"),
    }
    if channels == (3, 3):
        return {"slots": _RGB, "scale": 2.0, "offset": -1.0, "activation": "tanh"}
    if channels == (13, 13):
        return multispectral
    if channels == (15, 13):
        return {**multispectral, "sar": _PUBLISHED_SAR}
    if None in channels:
        raise ModelError(f"{architecture}: a part of a network, it restores nothing alone; import the whole network")
    raise ModelError(
        f"{architecture}: {channels[0]} channels to {channels[1]}; which bands they are is known for 3 to 3 "
        "(RGB), 13 to 13 and 15 to 13 (SAR and Sentinel-2), make another card with cloudfix.models.save"
    )
