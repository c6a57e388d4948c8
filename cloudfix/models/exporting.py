"""Weights for use elsewhere: as a file of their own, or as a checkpoint of the published code."""

from __future__ import annotations

import io
from pathlib import Path

from cloudfix.errors import ModelError, UsageError
from cloudfix.models import published
from cloudfix.models.weights import load, save, write_whole


def export_weights(name_or_path: str | Path, destination: str | Path) -> None:
    """Write a set of weights to `destination`, whole or not at all.

    A .safetensors file is what `load` takes, card included. A .pth file is the state dict alone under the names
    of the published code, which that code and `import_checkpoint` take.

    Args:
        name_or_path: a registered name, or a weights file.
        destination: the file to write; its suffix decides.

    Raises:
        UsageError: another suffix.
        ModelError: there are no such weights, they are damaged, or the published code has no such network.
        OutputError: `destination` cannot be written.
    """
    import torch

    path = Path(destination)
    if path.suffix not in (".safetensors", ".pth"):
        raise UsageError(f"--output {path}: expected a name that ends in .safetensors or .pth")
    network, card = load(name_or_path)
    if path.suffix == ".safetensors":
        save(path, network, card)
        return
    for option, plain in published.OWN_OPTIONS.items():
        if (own := card.options.get(option, plain)) != plain:
            raise ModelError(
                f"{card.name}: the published code has no {own} {option} and could not load it; "
                "export it as .safetensors"
            )
    content = io.BytesIO()
    torch.save(published.revert(card.architecture, network.state_dict()), content)
    write_whole(path, content.getvalue())
