"""From encoded tiles to a COG: GDAL writes its directories, without a tile, and the tiles move in behind them."""

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import rasterio
import rasterio.shutil
from dask.system import CPU_COUNT

from cloudfix.raster.pyramid import BLOCK
from cloudfix.raster.tiff import tile_indices

if TYPE_CHECKING:
    from pathlib import Path

    from cloudfix.raster.codec import Codec
    from cloudfix.raster.pyramid import Encoded, Pyramid

_SIZE = struct.Struct("<I")
_REPEATED = 4
"""GDAL's COGs say that each tile has its size before it and its last bytes once more behind it."""


def write_directories(vrt: Path, out: Path, codec: Codec) -> None:
    """Make a COG without tiles, with all that a VRT without pixels says of itself and with its overviews.

    Raises:
        OSError: the disk is full or fails.
        rasterio.errors.RasterioError: GDAL fails.
    """
    # Without PAM, so that no .aux.xml is written beside the output.
    with rasterio.Env(GDAL_PAM_ENABLED=False):
        rasterio.shutil.copy(
            vrt, out, driver="COG", blocksize=BLOCK, bigtiff="IF_SAFER", overviews="FORCE_USE_EXISTING",
            sparse_ok=True, **codec.cog_options,
        )  # fmt: skip


def add_tiles(pyramid: Pyramid, cog: Path) -> None:
    """Move the tiles into the COG whose directories are written: overviews first, the coarsest before the others.

    Raises:
        OSError: the disk is full or fails, or a tile was lost.
    """
    with cog.open("rb+") as file, ThreadPoolExecutor(CPU_COUNT) as threads:
        indices = tile_indices(file)
        end = file.seek(0, os.SEEK_END)
        for level, index in reversed(list(enumerate(indices))):
            tiles = pyramid.encoded(level)
            ends = list(accumulate((_SIZE.size + tile.size + _REPEATED for tile in tiles), initial=end))
            # A list, so that what goes wrong is raised.
            list(threads.map(partial(_move, cog), tiles, ends))
            index.offsets.write(file, [start + _SIZE.size for start in ends[:-1]])
            index.sizes.write(file, [tile.size for tile in tiles])
            end = ends[-1]


def _move(cog: Path, encoded: Encoded, position: int) -> None:
    tile = encoded.take()
    with cog.open("rb+") as file:
        file.seek(position)
        file.write(_SIZE.pack(len(tile)))
        file.write(tile)
        file.write(tile[-_REPEATED:])
