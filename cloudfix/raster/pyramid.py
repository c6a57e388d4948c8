"""The encoded tiles of a raster and of its overviews, as they come: a scratch GeoTIFF each."""

from __future__ import annotations

import errno
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from dask.system import CPU_COUNT
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from cloudfix.raster.header import opened
from cloudfix.raster.tiff import tile_indices

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.enums import Resampling

    from cloudfix.raster.codec import Codec

BLOCK = 512
"""Rows and columns of a tile."""

CHUNK = 2 * BLOCK
"""Rows and columns of what is written at a time: at half the size it is one tile of the first overview."""

_SOMEWHERE = Affine.translation(1, 1)
"""Scratch files lie nowhere, which rasterio would warn of."""


class Encoded(NamedTuple):
    """A tile in its scratch file.

    Attributes:
        path: of the file.
        offset: of the tile in it, in bytes.
        size: of the tile, in bytes.
    """

    path: Path
    offset: int
    size: int

    @classmethod
    def of(cls, path: Path) -> Encoded:
        """The one tile of `path`.

        Raises:
            OSError: there is none.
        """
        with path.open("rb") as file:
            (index,) = tile_indices(file)
            return cls(path, int(index.offsets.read(file)[0]), int(index.sizes.read(file)[0]))

    def take(self) -> bytes:
        """The tile, which leaves the disk, so that a copy takes no more room.

        Raises:
            OSError: it is not there, or not all of it.
        """
        with self.path.open("rb") as file:
            file.seek(self.offset)
            tile = file.read(self.size)
        # GDAL may notice a full disk as late as on closing, and keep it to itself.
        if not self.offset or len(tile) < self.size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.path.unlink()
        return tile


@dataclass(frozen=True)
class Pyramid:
    """A raster that is encoded while it is written, with overviews of half the size each down to one tile.

    Attributes:
        folder: of its own, where the scratch files go.
        shape: bands, rows and columns.
        dtype: of the values.
        codec: how tiles are compressed.
        resampling: of each band's overviews.
        nodata: the value that overviews leave out.
    """

    folder: Path
    shape: tuple[int, int, int]
    dtype: str
    codec: Codec
    resampling: tuple[Resampling, ...]
    nodata: float | None = None

    @cached_property
    def sides(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each level, the raster itself first."""
        _, height, width = self.shape
        sides = [(height, width)]
        while max(sides[-1]) > BLOCK:
            height, width = sides[-1]
            sides.append((-(-height // 2), -(-width // 2)))
        return tuple(sides)

    @property
    def size(self) -> int:
        """Bytes of all tiles before compression: whole tiles, however small the raster is."""
        tiles = sum(math.prod(self._grid(level)) for level in range(len(self.sides)))
        return int(tiles * self.shape[0] * BLOCK**2 * np.dtype(self.dtype).itemsize)

    def write(self, top: int, left: int, block: NDArray[Any]) -> None:
        """Encode a chunk, and its tile of the first overview; any thread or process may do so, in any order.

        Args:
            top: first row, a multiple of `CHUNK`.
            left: first column, likewise.
            block: (bands, rows, columns), `CHUNK` of either but at the raster's edges.

        Raises:
            OSError: the disk is full or fails.
            rasterio.errors.RasterioError: GDAL fails.
        """
        _, height, width = block.shape
        for y, x in product(range(0, height, BLOCK), range(0, width, BLOCK)):
            self._encode(0, (top + y) // BLOCK, (left + x) // BLOCK, block[:, y : y + BLOCK, x : x + BLOCK])
        if len(self.sides) > 1:
            self._encode(1, top // CHUNK, left // CHUNK, self._halved(block))

    def finish(self) -> None:
        """Encode the other overviews, each made of the one before.

        Raises:
            OSError: the disk is full or fails.
            rasterio.errors.RasterioError: GDAL fails.
        """
        with ThreadPoolExecutor(CPU_COUNT) as threads:
            for level in range(2, len(self.sides)):
                # A list, so that a level is done before the next, and what goes wrong is raised.
                list(threads.map(partial(self._overview, level), self._places(level)))

    def encoded(self, level: int) -> list[Encoded]:
        """The encoded tiles of a level, row by row.

        Raises:
            OSError: one of them is not there.
        """
        return [Encoded.of(self._path(level, row, column)) for row, column in self._places(level)]

    def _path(self, level: int, row: int, column: int) -> Path:
        return self.folder / f"{level}-{row}-{column}.tif"

    def _grid(self, level: int) -> tuple[int, int]:
        """Rows and columns of tiles."""
        height, width = self.sides[level]
        return -(-height // BLOCK), -(-width // BLOCK)

    def _places(self, level: int) -> Iterator[tuple[int, int]]:
        rows, columns = self._grid(level)
        return product(range(rows), range(columns))

    def _encode(self, level: int, row: int, column: int, block: NDArray[Any]) -> None:
        tiling = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "interleave": "pixel"}
        options = self._profile(block) | tiling | self.codec.tile_options(self.dtype)
        with opened(self._path(level, row, column), "w", georeferenced=True, **options) as dataset:
            dataset.write(block)

    def _overview(self, level: int, place: tuple[int, int]) -> None:
        self._encode(level, *place, self._halved(self._below(level, *place)))

    def _below(self, level: int, row: int, column: int) -> NDArray[Any]:
        """Up to four tiles of the level before, which one of this level shows."""
        rows, columns = self._grid(level - 1)
        tiles = [
            [self._decode(level - 1, y, x) for x in range(2 * column, min(2 * column + 2, columns))]
            for y in range(2 * row, min(2 * row + 2, rows))
        ]
        return np.block(tiles)

    def _decode(self, level: int, row: int, column: int) -> NDArray[Any]:
        with opened(self._path(level, row, column), georeferenced=True) as dataset:
            pixels: NDArray[Any] = dataset.read()
        return pixels

    def _halved(self, block: NDArray[Any]) -> NDArray[Any]:
        odd = tuple(side % 2 for side in block.shape[1:])
        if any(odd):
            # GDAL would spread an odd number of pixels evenly over the half, so that none lay where four are.
            block = np.pad(block, [(0, 0), *((0, more) for more in odd)], mode="edge")
        count, height, width = block.shape
        half = np.empty((count, height // 2, width // 2), block.dtype)
        with MemoryFile() as file, file.open(**self._profile(block)) as dataset:
            dataset.write(block)
            for resampling in set(self.resampling):
                bands = [band for band, chosen in enumerate(self.resampling) if chosen is resampling]
                shape = len(bands), *half.shape[1:]
                half[bands] = dataset.read([band + 1 for band in bands], out_shape=shape, resampling=resampling)
        return half

    def _profile(self, block: NDArray[Any]) -> dict[str, Any]:
        count, height, width = block.shape
        return {
            "driver": "GTiff", "count": count, "height": height, "width": width, "dtype": self.dtype,
            "nodata": self.nodata, "transform": _SOMEWHERE,
        }  # fmt: skip
