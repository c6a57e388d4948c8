"""From a VRT of scratch files to a COG, and the proof that the COG is whole."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import rasterio
import rasterio.shutil

from cloudfix.errors import UsageError
from cloudfix.raster.complete import block_extents
from cloudfix.raster.header import opened
from cloudfix.raster.store import BLOCK

if TYPE_CHECKING:
    from pathlib import Path

_PREDICTED = ("DEFLATE", "ZSTD", "LZW")
COMPRESSIONS = (*_PREDICTED, "LERC", "LERC_DEFLATE", "LERC_ZSTD", "LZMA", "NONE")
"""Lossless codecs, by the names of GDAL's COG driver."""

_DEFLATE_LEVEL = 1
"""A quarter of the time of GDAL's default, 6. After the predictor it costs no space: Sentinel-2 and Landsat images even
get 1 to 2 % smaller."""


def codec(name: str) -> str:
    """A codec's name as GDAL writes it.

    Raises:
        UsageError: it is none of `COMPRESSIONS`.
    """
    if name.upper() not in COMPRESSIONS:
        raise UsageError(f"--compress {name}: unknown or lossy; use one of {', '.join(COMPRESSIONS)}")
    return name.upper()


def encode(vrt: Path, out: Path, compress: str) -> None:
    """Copy a VRT with overviews to a COG, and check that nothing of it was lost.

    Raises:
        OSError: the disk is full or fails.
        rasterio.errors.RasterioError: GDAL fails.
    """
    options = {
        "compress": compress, "blocksize": BLOCK, "bigtiff": "IF_SAFER", "num_threads": "ALL_CPUS",
        "overviews": "FORCE_USE_EXISTING",
    }  # fmt: skip
    if compress in _PREDICTED:
        options["predictor"] = "YES"
    if compress == "DEFLATE":
        options["level"] = _DEFLATE_LEVEL
    # Without PAM, so that no .aux.xml is written beside the output.
    with rasterio.Env(GDAL_PAM_ENABLED=False):
        rasterio.shutil.copy(vrt, out, driver="COG", **options)
    _check_whole(out)


def _check_whole(path: Path) -> None:
    """GDAL may notice a full disk as late as on closing, and keep it to itself."""
    size = path.stat().st_size
    with opened(path) as dataset:
        extents = list(block_extents(dataset))
    if any(offset == 0 or offset + length > size for offset, length in extents):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
