"""The tile grid and the blending of tiles: pure arithmetic on windows, no pixels of any file.

Tiles lie on one grid anchored at the scene's origin, so which chunk computes a tile never changes the tile. Windows
are half-open pixel ranges (rows, then columns). Blended tiles are accumulated in fixed point: integer addition is
associative, so neither the order of the sums nor their grouping into chunks can change a bit.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cloudfix.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cloudfix.models.cards import Card

FIXED_POINT = 1 << 24
"""One unit of reflectance in the accumulators: ±127 fit an int32, at a resolution of 6e-8."""


class Window(NamedTuple):
    """Rows `top` to `bottom` and columns `left` to `right`, the ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """To index (y, x)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grow(self, halo: int, height: int, width: int) -> Window:
        """`halo` more pixels on each side, as far as a `height` × `width` image has them."""
        return Window(
            max(self.top - halo, 0),
            min(self.bottom + halo, height),
            max(self.left - halo, 0),
            min(self.right + halo, width),
        )

    def intersection(self, other: Window) -> Window | None:
        """What both cover, or None."""
        both = Window(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )
        return both if both.top < both.bottom and both.left < both.right else None

    def within(self, outer: Window) -> Window:
        """The same pixels counted from the corner of `outer`."""
        return Window(self.top - outer.top, self.bottom - outer.top, self.left - outer.left, self.right - outer.left)


def origins(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    """Where tiles begin along an axis of `length` pixels; the last one is moved inwards to end with it.

    An axis shorter than a tile has the one origin 0: its tile reaches past the end.
    """
    stride = tile - overlap
    last = max(length - tile, 0)
    return (*range(0, last, stride), last)


def blend_weights(length: int, tile: int, overlap: int) -> NDArray[np.float64]:
    """Weights of every tile along an axis, (tiles, tile), that sum to one at every pixel of the axis.

    A raised cosine over `overlap` pixels on each side that has a neighbour. Past the end of a short axis they are 0.
    """
    starts = origins(length, tile, overlap)
    ramp = np.sin(np.pi / 2 * (np.arange(overlap) + 0.5) / max(overlap, 1)) ** 2
    weights = np.ones((len(starts), tile))
    if overlap:
        weights[1:, :overlap] *= ramp
        weights[:-1, tile - overlap :] *= ramp[::-1]
    total = np.zeros(max(length, tile))
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + tile] += weight
    weights /= np.stack([total[start : start + tile] for start in starts])
    weights[:, length:] = 0
    return weights


@dataclass(frozen=True)
class TileGrid:
    """Square tiles over a scene of `height` × `width` pixels.

    Attributes:
        height: of the scene, pixels.
        width: of the scene, pixels.
        tile: side of a tile, pixels.
        overlap: pixels that neighbouring tiles share.

    Raises:
        UsageError: the overlap is negative or more than half a tile, or the tile is empty or odd.
    """

    height: int
    width: int
    tile: int
    overlap: int

    def __post_init__(self) -> None:
        if self.tile < 8 or self.tile % 8:
            raise UsageError(f"--tile {self.tile}: expected a multiple of 8, at least 8")
        if not 0 <= self.overlap <= self.tile // 2:
            raise UsageError(f"--overlap {self.overlap}: expected 0 to half the tile ({self.tile // 2})")

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """First row of each row of tiles."""
        return origins(self.height, self.tile, self.overlap)

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """First column of each column of tiles."""
        return origins(self.width, self.tile, self.overlap)

    @cached_property
    def _row_weights(self) -> NDArray[np.float64]:
        return blend_weights(self.height, self.tile, self.overlap)

    @cached_property
    def _column_weights(self) -> NDArray[np.float64]:
        return blend_weights(self.width, self.tile, self.overlap)

    def window(self, top: int, left: int) -> Window:
        """The pixels of the scene under the tile that begins at (`top`, `left`)."""
        return Window(top, min(top + self.tile, self.height), left, min(left + self.tile, self.width))

    def owned(self, chunk: Window) -> list[Window]:
        """Tiles that begin inside `chunk`, row by row: every tile belongs to exactly one chunk of a partition."""
        rows = self.rows[bisect_left(self.rows, chunk.top) : bisect_left(self.rows, chunk.bottom)]
        columns = self.columns[bisect_left(self.columns, chunk.left) : bisect_left(self.columns, chunk.right)]
        return [self.window(top, left) for top in rows for left in columns]

    def weight(self, window: Window) -> NDArray[np.float64]:
        """Blending weights of the tile at `window`, (height, width) of the window."""
        height, width = window.shape
        down = self._row_weights[self.rows.index(window.top), :height]
        across = self._column_weights[self.columns.index(window.left), :width]
        return np.multiply.outer(down, across)


def tile_grid(card: Card, height: int, width: int, *, tile: int | None = None, overlap: int | None = None) -> TileGrid:
    """The tiles of an image: as asked for, else as the card says; tiles of another size overlap by a quarter at most.

    Raises:
        UsageError: as `TileGrid`.
    """
    side = card.tile if tile is None else tile
    if overlap is None:
        overlap = card.overlap if tile is None else min(card.overlap, side // 4)
    return TileGrid(height, width, side, overlap)


def cover(windows: list[Window]) -> Window:
    """The smallest window that holds all `windows`."""
    tops, bottoms, lefts, rights = zip(*windows, strict=True)
    return Window(min(tops), max(bottoms), min(lefts), max(rights))


def chunk_windows(rows: tuple[int, ...], columns: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], Window]]:
    """Index and window of each chunk of an array cut into `rows` and `columns` (Dask's chunk sizes)."""
    top = 0
    for i, height in enumerate(rows):
        left = 0
        for j, width in enumerate(columns):
            yield (i, j), Window(top, top + height, left, left + width)
            left += width
        top += height
