"""Weight files: safetensors with a card in the header and a checksum. Nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import struct
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudfix.errors import CloudfixError, ModelError, OutputError
from cloudfix.models.architectures import create
from cloudfix.models.cards import Card
from cloudfix.models.registry import find

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import nn

_LONGEST_HEADER = 16 * 2**20
_REMEDY = "expected a .safetensors file; turn a checkpoint into one with `cloudfix models import`"


def read_card(name_or_path: str | Path) -> Card:
    """The card of a named set of weights or of a file; reads no more than the file's header, and no torch.

    Raises:
        ModelError: there are no such weights, or the file is not one that `save` made.
    """
    path = find(name_or_path)
    try:
        return Card.from_metadata(_header(path).get("__metadata__", {}))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def load(name_or_path: str | Path, *, device: str | torch.device = "cpu") -> tuple[nn.Module, Card]:
    """The network with its weights, in evaluation mode and float32, and its card.

    Args:
        name_or_path: a name out of `list_weights`, or a .safetensors file.
        device: where the network is put.

    Raises:
        ModelError: there are no such weights, they are damaged, or they do not fit their architecture.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = find(name_or_path)
    card = read_card(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: damaged ({_one_line(error)}); fetch or import it again") from error
    found = checksum(tensors)
    if found != card.checksum:
        raise ModelError(
            f"{path}: damaged, its tensors have checksum {found[:12]}…, its card says {card.checksum[:12]}…; "
            "fetch or import it again"
        )
    # Building a million blocks, as a hostile card might ask for, takes hours even without memory.
    if isinstance(blocks := card.options.get("blocks"), int) and blocks > len(tensors):
        raise ModelError(f"{path}: the card says blocks={blocks}, but there are {len(tensors)} tensors; import it anew")
    try:
        with torch.device("meta"):
            module = create(card.architecture, **card.options)
        # The tensors of `load_file` are a view of the file: without a copy they change when it does.
        module.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)
    except (CloudfixError, RuntimeError, TypeError) as error:
        raise ModelError(f"{path}: weights and card do not agree ({_one_line(error)}); import it anew") from error
    return module.to(device).float().eval(), card


def save(path: str | Path, module: nn.Module, card: Card) -> Card:
    """Write the weights of `module` with its card, whole or not at all.

    Returns:
        The card as written, with its checksum.

    Raises:
        OutputError: the file cannot be written.
    """
    return save_tensors(path, module.state_dict(), card)


def save_tensors(path: str | Path, state_dict: Mapping[str, torch.Tensor], card: Card) -> Card:
    """As `save`, from the state dict alone."""
    import torch
    from safetensors.torch import save as serialise

    tensors = {key: t.detach().cpu().clone(memory_format=torch.contiguous_format) for key, t in state_dict.items()}
    complete = dataclasses.replace(card, checksum=checksum(tensors))
    write_whole(Path(path), serialise(tensors, metadata=complete.to_metadata()))
    return complete


def checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, sorted by name."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: eight bytes of length, then so much JSON."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            (length,) = struct.unpack("<Q", start) if len(start) == 8 else (0,)
            if not 2 <= length <= min(_LONGEST_HEADER, path.stat().st_size - 8):
                raise ModelError(f"not safetensors; {_REMEDY}")
            header = json.loads(file.read(length))
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror}); {_REMEDY}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"not safetensors; {_REMEDY}") from error
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise ModelError(f"not safetensors; {_REMEDY}")
    return header


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its final name, then rename it.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose a folder that exists") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        # mkstemp makes private files; weights get the rights that any new file gets.
        umask = os.umask(0)
        os.umask(umask)
        Path(partial).chmod(0o666 & ~umask)
        Path(partial).replace(path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from error
    finally:
        Path(partial).unlink(missing_ok=True)


def _one_line(error: Exception) -> str:
    return textwrap.shorten(str(error), 200, placeholder=" …")
