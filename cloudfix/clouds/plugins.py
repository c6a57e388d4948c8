"""Cloud detectors from other packages, found by name.

A detector is a function `f(reflectance, valid) -> classes`: reflectance in `(H, W)` arrays by slot, `valid`
False on nodata, classes as in `cloudfix.clouds.classes`. It is declared as an entry point of the group
`cloudfix.masks`, and may carry an integer attribute `halo`: how many pixels of context one pixel of its
answer needs.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, cast

from cloudfix.errors import MaskError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

GROUP = "cloudfix.masks"
DEFAULT_HALO = 32


class Detector(Protocol):
    """What an entry point of `GROUP` has to be."""

    def __call__(
        self, reflectance: Mapping[str, NDArray[np.floating[Any]]], valid: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """The classes of each pixel, `(H, W)`."""
        ...


def names() -> tuple[str, ...]:
    """The detectors that are installed, sorted."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def find(name: str) -> Detector:
    """The detector declared under `name`.

    Raises:
        MaskError: none is, or it cannot be imported.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        known = ", ".join(names()) or "none"
        raise MaskError(f"--mask {name}: no such file, and no detector of that name is installed (there is {known})")
    entry = next(iter(found))
    try:
        return cast("Detector", entry.load())
    except (ImportError, AttributeError) as error:
        raise MaskError(f"--mask {name}: {entry.value} cannot be loaded ({error}); reinstall its package") from error


def halo(detector: Detector) -> int:
    """Pixels of context that `detector` needs."""
    return int(getattr(detector, "halo", DEFAULT_HALO))
