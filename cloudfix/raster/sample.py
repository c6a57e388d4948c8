"""A cheap look at a raster's values: a few windows on a fixed lattice that depends on its size alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

Window = tuple[slice, slice]
"""Rows and columns."""


def probe_windows(height: int, width: int, *, per_side: int = 4, size: int = 64) -> tuple[Window, ...]:
    """At most per_side² windows of size², spread evenly over a raster; all of it if it is small.

    Returns:
        Windows (rows, columns), none beyond the raster, no two overlapping.
    """
    return tuple(
        (rows, columns) for rows in _spans(height, per_side, size) for columns in _spans(width, per_side, size)
    )


def _spans(length: int, per_side: int, size: int) -> list[slice]:
    if length <= per_side * size:
        return [slice(0, length)]
    centres = [(2 * i + 1) * length // (2 * per_side) for i in range(per_side)]
    return [slice(centre - size // 2, centre - size // 2 + size) for centre in centres]


@dataclass(frozen=True)
class ValueRange:
    """Least and greatest valid value per band of what was sampled; NaN for a band without a valid value."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    valid: int

    def __or__(self, other: ValueRange) -> ValueRange:
        return ValueRange(
            tuple(np.fmin(self.low, other.low).tolist()),
            tuple(np.fmax(self.high, other.high).tolist()),
            self.valid + other.valid,
        )


def value_range(block: NDArray[Any], nodata: float | None) -> ValueRange:
    """The range of the valid values of a block (band, y, x)."""
    values = block.reshape(len(block), -1)
    invalid = ~np.isfinite(values)
    if nodata is not None:
        invalid |= values == nodata
    shown = np.ma.masked_array(values, mask=invalid)
    low, high = shown.min(axis=1).astype(float), shown.max(axis=1).astype(float)
    return ValueRange(tuple(low.filled(np.nan).tolist()), tuple(high.filled(np.nan).tolist()), int((~invalid).sum()))


def sample_range(
    read: Callable[[slice, slice], NDArray[Any]],
    windows: Iterable[Window],
    nodata: float | None,
    settled: Callable[[ValueRange], bool] = lambda _: False,
) -> ValueRange:
    """The range over several windows, read one by one until `settled` has seen enough."""
    found: ValueRange | None = None
    for rows, columns in windows:
        block = value_range(read(rows, columns), nodata)
        found = block if found is None else found | block
        if settled(found):
            break
    return found or ValueRange((), (), 0)
