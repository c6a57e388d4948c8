"""Notes that come up far from whoever prints them."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloudfix.errors import CloudfixWarning

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def collected_notes() -> Iterator[list[str]]:
    """Collects what is said in a `CloudfixWarning`; other warnings are not the user's business."""
    notes: list[str] = []

    def keep(message: Warning | str, category: type[Warning], *_args: object, **_kwargs: object) -> None:
        if issubclass(category, CloudfixWarning):
            notes.append(" ".join(str(message).split()))

    with warnings.catch_warnings():
        warnings.simplefilter("always", CloudfixWarning)
        warnings.showwarning = keep
        yield notes
