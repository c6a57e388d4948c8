"""Refusals before anything heavy: files that are no scene, are cut short, or hold values of another kind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudfix.errors import CloudfixError, SceneError
from cloudfix.raster.location import is_virtual, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudfix.raster.sample import ValueRange
    from cloudfix.sensors import Sensor

MAX_PIXELS = 200_000**2
"""More pixels than any one scene or mosaic has: a damaged or hostile header."""

MAX_BANDS = 2000

MAX_BLOCK = 2**30
"""Bytes of the largest block, which GDAL has to hold as a whole to read any pixel of it."""

_BYTES_A_BLOCK = 2
"""The least that a TIFF takes to say where a block is."""

_EIGHT_BIT = 255


def check_path(path: Path, error: type[CloudfixError] = SceneError) -> None:
    """Refuse what is not a file with something in it.

    Raises:
        CloudfixError: as `error`.
    """
    try:
        # GDAL takes no other names.
        str(path).encode()
        size = path.stat().st_size
    except (OSError, ValueError) as reason:
        strerror = getattr(reason, "strerror", None) or str(reason)
        raise error(f"{path}: {strerror.lower()}; check the name") from None
    if path.is_dir():
        raise error(f"{path}: is a folder; name the raster file in it")
    if not path.is_file():
        raise error(f"{path}: is a pipe or a device; write a file first")
    if not os.access(path, os.R_OK):
        raise error(f"{path}: no permission to read it; ask its owner, or copy it")
    if size == 0:
        raise error(f"{path}: is empty (0 bytes); download or write it again")


def check_shape(
    path: Path | str, width: int, height: int, dtypes: Sequence[str], error: type[CloudfixError] = SceneError
) -> None:
    """Refuse rasters without bands or with thousands, of an impossible size, or of complex numbers.

    Raises:
        CloudfixError: as `error`.
    """
    if not dtypes:
        raise error(f"{path}: has no bands of its own; name one of its subdatasets or band files instead")
    if len(dtypes) > MAX_BANDS:
        raise error(f"{path}: claims {len(dtypes)} bands, more than any scene has ({MAX_BANDS}); the file is damaged")
    if width * height > MAX_PIXELS:
        raise error(
            f"{path}: claims {width} × {height} pixels, more than any scene has ({MAX_PIXELS:.0e}); the file is damaged"
        )
    if any(dtype.startswith("complex") for dtype in dtypes):
        raise error(f"{path}: holds complex numbers ({dtypes[0]}); detected amplitudes or DN were expected")


def check_blocks(name: str, dataset: Any, error: type[CloudfixError] = SceneError) -> None:
    """Refuse a raster that has to be read in blocks of more memory than a scene should take, or lists too many.

    Args:
        name: the file, as `location.gdal_name` gives it.
        dataset: the open rasterio dataset of it.
        error: what to raise.

    Raises:
        CloudfixError: as `error`.
    """
    rows, columns = dataset.block_shapes[0]
    together = dataset.count if str(getattr(dataset.interleaving, "value", "")).lower() == "pixel" else 1
    size = rows * columns * together * np.dtype(dataset.dtypes[0]).itemsize
    if size > MAX_BLOCK:
        raise error(
            f"{shown(name)}: in blocks of {columns} × {rows} pixels, {size / 1e9:.1f} GB each; write it in tiles "
            "first: gdal_translate -co TILED=YES IN OUT"
        )
    blocks = -(-dataset.height // rows) * -(-dataset.width // columns)
    if dataset.driver == "GTiff" and not is_virtual(name) and blocks * _BYTES_A_BLOCK > Path(name).stat().st_size:
        raise error(f"{name}: claims {blocks} blocks, more than its size can list; the file is damaged")


def check_values(
    name: str, sensor: Sensor, dtype: np.dtype[Any], found: ValueRange, spectral: Sequence[int]
) -> str | None:
    """Refuse 8-bit values where a sensor's DN or reflectance were expected.

    A 16-bit scene that is merely dark (open water, L2A) has infrared bands far below 255; an 8-bit picture
    stretches most of its bands over 0–255. So the median of the bands' maxima decides.

    Args:
        name: the file, for the message.
        sensor: what the scene is declared or recognised as.
        dtype: of the scene.
        found: the range of a sample of the valid values, per band.
        spectral: indices of the bands with a slot.

    Returns:
        A note where the values are suspicious but possible, else None.

    Raises:
        SceneError: the values are not this sensor's.
    """
    highs = np.asarray(found.high)[list(spectral)]
    lows = np.asarray(found.low)[list(spectral)]
    if not found.valid or not np.isfinite(highs).any():
        return None
    low, high = float(np.nanmin(lows)), float(np.nanmax(highs))
    if sensor.name == "rgb":
        if high > _EIGHT_BIT:
            raise SceneError(f"{name}: values up to {high:g}, where 8-bit RGB ends at 255; say another --sensor")
        return None
    if high > _EIGHT_BIT or is_reflectance(dtype, high):
        return None
    wide = dtype.itemsize > 1 and dtype.kind in "iu"
    if wide and sensor.name.startswith("sentinel-2") and np.nanmedian(highs) < 100:
        return f"{name}: very dark, no sampled DN above {high:g}; is it really {sensor.title}?"
    raise SceneError(
        f"{name}: values {low:g} to {high:g}, where {sensor.title} has DN of up to 10000 and more; "
        "give the unscaled product, or --sensor rgb for an 8-bit picture"
    )


def is_reflectance(dtype: np.dtype[Any], high: float) -> bool:
    """Whether floating-point values up to `high` are reflectances rather than DN.

    Snow, cloud and glint exceed 1 and single pixels even 6 (saturation), while a DN of 10 is black.
    """
    return dtype.kind == "f" and high <= 10
