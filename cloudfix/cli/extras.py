"""Packages that only some commands need, asked for before anything is done."""

from __future__ import annotations

import importlib.util

from cloudfix.errors import UsageError

_TRAIN = ("lightning", "pydantic", "tensorboard", "yaml")


def require_training(asker: str) -> None:
    """Say how to install what `cloudfix[train]` brings, where it is not there.

    Args:
        asker: the command or option that needs it.

    Raises:
        UsageError: it is not there.
    """
    for package in _TRAIN:
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"{asker}: {package} is not installed; pip install 'cloudfix[train]'")
