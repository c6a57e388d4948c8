"""Checkpoints of the published research code, brought to the names that the networks here use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cloudfix.errors import ModelError
from cloudfix.models import published_names
from cloudfix.models.architectures import architectures, create, suggest

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor, nn

    from cloudfix.models.published_names import Names

_TRUNKS = ("aca-crnet", "dsen2-cr")
_NAMES: dict[str, Names] = {
    "ac-attention": published_names.ATTENTION,
    "scpm": published_names.SCPM,
    "thiefcloud": published_names.THIEFCLOUD,
}
_WRAPPERS = ("state_dict", "model_state")

OWN_OPTIONS: Mapping[str, str] = MappingProxyType({"skip": "plain", "veil": "none"})
"""Options that the published code lacks, with the value at which a network is as published."""


def convert(name: str, state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict for `create(name, **infer(name, state_dict))`.

    Args:
        name: the architecture.
        state_dict: under the published names, tensors or NumPy arrays; it may be wrapped (`state_dict`,
            `model_state`) and its names may begin with `module.`.

    Raises:
        ModelError: entries are missing, unknown or of another shape.
    """
    import torch

    published = unwrap(state_dict)
    options = infer(name, published)
    names = _names(name, options.get("blocks", 0))
    with torch.device("meta"):
        module = create(name, **options)
    return rename(name, module, names, published)


def revert(name: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a network here, under the published names: what `convert` takes.

    Raises:
        ModelError: nothing like that architecture was published.
    """
    blocks = {key.split(".")[1] for key in state_dict if key.startswith("blocks.")}
    names = _names(name, len(blocks))
    return {published_names.published_name(key, names): tensor for key, tensor in state_dict.items()}


def infer(name: str, state_dict: Mapping[str, Any]) -> dict[str, int]:
    """The options for `create` that fit a published checkpoint, from its shapes; takes what `convert` takes.

    What leaves no trace in shapes (`alpha`) is as published.

    Raises:
        ModelError: there is no such architecture, or the checkpoint does not look like one.
    """
    if name not in architectures():
        raise ModelError(f"architecture '{name}': unknown; {suggest(name, architectures())}")
    published = unwrap(state_dict)
    if name in _TRUNKS:
        return _infer_trunk(name, published)
    if name == "ac-attention":
        return {"channels": _shape(name, published, "query.weight")[0]}
    return {}


def rename(name: str, module: nn.Module, names: Names, published: Mapping[str, Any]) -> dict[str, Tensor]:
    """A published state dict under the names of `module`, which may be any part of a network.

    Args:
        name: what errors call it.
        module: what the result is for; its tensors may be on the meta device.
        names: our names to the published ones.
        published: the published state dict, not wrapped.

    Raises:
        ModelError: entries are missing, unknown or of another shape.
    """
    import torch

    expected = {published_names.published_name(key, names): (key, t) for key, t in module.state_dict().items()}
    faults = [
        _fault("missing", expected.keys() - published.keys()),
        _fault("unknown", published.keys() - expected.keys()),
        _fault("of another shape", _misfits(expected, published)),
    ]
    if any(faults):
        found = "; ".join(filter(None, faults))
        raise ModelError(f"{name} checkpoint: {found}; expected the published state dict, take another --as or file")
    return {ours: torch.as_tensor(published[theirs]) for theirs, (ours, _) in expected.items()}


def unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict inside a checkpoint, without wrappers and without the `module.` of DataParallel.

    Raises:
        ModelError: there is none inside.
    """
    inner: Any = checkpoint
    while isinstance(inner, Mapping) and (wrapper := next((key for key in _WRAPPERS if key in inner), None)):
        inner = inner[wrapper]
    if not isinstance(inner, Mapping) or not all(isinstance(key, str) for key in inner):
        raise ModelError(f"checkpoint: holds a {type(inner).__name__}; expected a state dict, names to tensors")
    return {re.sub(r"^(module\.)+", "", key): value for key, value in inner.items()}


def _names(name: str, blocks: int) -> Names:
    """Our names to the published ones; `blocks` of those networks that are made of so many."""
    if name in _TRUNKS:
        return published_names.trunk(blocks)
    if name not in _NAMES:
        known = (*_TRUNKS, *_NAMES)
        raise ModelError(f"architecture '{name}': nobody published a checkpoint of it; {suggest(name, known)}")
    return _NAMES[name]


def _infer_trunk(name: str, published: Mapping[str, Any]) -> dict[str, int]:
    layers = [int(found[1]) for key in published if (found := re.fullmatch(r"net\.(\d{1,4})\.weight", key))]
    last = max(layers, default=0)
    features, in_channels = _shape(name, published, "net.0.weight")[:2]
    out_channels = _shape(name, published, f"net.{last}.weight")[0]
    blocks = last - 2
    if not 1 <= blocks < len(published) or out_channels > in_channels:
        raise ModelError(
            f"{name} checkpoint: {in_channels} → {out_channels} channels and a last layer net.{last}; "
            "expected stem, blocks and a last convolution to no more channels than go in"
        )
    return {"in_channels": in_channels, "out_channels": out_channels, "blocks": blocks, "features": features}


def _shape(name: str, published: Mapping[str, Any], key: str) -> tuple[int, ...]:
    shape = tuple(getattr(published.get(key), "shape", ()))
    if len(shape) != 4:
        found = f"begins with {_some(published)}" if key not in published else f"holds '{key}' of shape {shape}"
        raise ModelError(f"{name} checkpoint: {found}; expected '{key}', a convolution, take another --as or file")
    return shape


def _misfits(expected: Mapping[str, tuple[str, Tensor]], published: Mapping[str, Any]) -> list[str]:
    pairs = ((key, tuple(t.shape), getattr(published.get(key), "shape", None)) for key, (_, t) in expected.items())
    return [
        f"{key} ({'×'.join(map(str, found)) or 'a number'} for {'×'.join(map(str, shape)) or 'a number'})"
        for key, shape, found in pairs
        if found is not None and tuple(found) != shape
    ]


def _fault(kind: str, keys: Collection[str]) -> str:
    return f"{len(keys)} {kind}: {_some(sorted(keys))}" if keys else ""


def _some(keys: Collection[str]) -> str:
    return ", ".join(islice(keys, 3)) + (", …" if len(keys) > 3 else "")
