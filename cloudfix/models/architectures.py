"""The architectures by name, and how one is built."""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from cloudfix.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

_MODULES = ("ac_attention", "aca_crnet", "dsen2_cr", "scpm", "thiefcloud", "unet")
_registered: dict[str, type[nn.Module]] = {}

_Network = TypeVar("_Network", bound="type[nn.Module]")


def register(name: str) -> Callable[[_Network], _Network]:
    """Class decorator: `create(name)` builds the class, whose constructor arguments are its options."""

    def add(network: _Network) -> _Network:
        _registered[name] = network
        return network

    return add


def architectures() -> tuple[str, ...]:
    """The names that `create` takes, sorted."""
    for module in _MODULES:
        importlib.import_module(f"cloudfix.models.{module}")
    return tuple(sorted(_registered))


def create(name: str, **options: Any) -> nn.Module:
    """Build the network `name` with fresh weights, in training mode as PyTorch does.

    Args:
        name: one of `architectures()`.
        options: the network's own, see its class; what is left out is as published.

    Raises:
        ModelError: there is no such network, or it cannot be built with these options.
    """
    known = architectures()
    if name not in known:
        raise ModelError(f"architecture '{name}': unknown; {suggest(name, known)}")
    _check_options(name, _registered[name], options)
    return _registered[name](**options)


def suggest(name: str, known: Iterable[str]) -> str:
    """What to use in place of `name`: the nearest of the `known` names, or all of them."""
    choices = tuple(known)
    near = difflib.get_close_matches(name, choices, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"use one of {', '.join(choices)}" if choices else "there are none"


def _check_options(name: str, network: type[nn.Module], options: dict[str, Any]) -> None:
    parameters = {key: p for key, p in inspect.signature(network).parameters.items() if key != "self"}
    types = get_type_hints(network.__init__)
    for option, value in options.items():
        if option not in parameters:
            raise ModelError(f"architecture '{name}': unknown option '{option}'; {suggest(option, parameters)}")
        valid, expected = _judge(value, types[option])
        if not valid:
            raise ModelError(f"architecture '{name}': {option}={value!r}; expected {expected}")
    missing = [key for key, p in parameters.items() if p.default is p.empty and key not in options]
    if missing:
        raise ModelError(f"architecture '{name}': option '{missing[0]}' is missing; give it a value")


def _judge(value: Any, annotation: Any) -> tuple[bool, str]:
    """Whether an option's value is what its annotation (int, float or Literal) asks for, and what that is."""
    if choices := get_args(annotation):
        return value in choices, f"one of {', '.join(choices)}"
    if annotation is int:
        return type(value) is int and value > 0, "a whole number above 0"
    return isinstance(value, int | float) and math.isfinite(value), "a finite number"
