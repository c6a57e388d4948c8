"""Refusals before anything heavy: files that are no scene, are cut short, or hold values of another kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cloudfix.errors import CloudfixError, SceneError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cloudfix.raster.sample import ValueRange
    from cloudfix.sensors import Sensor

MAX_PIXELS = 200_000**2
"""More pixels than any one scene or mosaic has: a damaged or hostile header."""

_EIGHT_BIT = 255


def check_path(path: Path, error: type[CloudfixError] = SceneError) -> None:
    """Refuse what is not a file with something in it.

    Raises:
        CloudfixError: as `error`.
    """
    try:
        size = path.stat().st_size
    except OSError as reason:
        raise error(f"{path}: {reason.strerror.lower() if reason.strerror else reason}; check the name") from None
    if not path.is_file():
        raise error(f"{path}: is a folder; name the raster file in it")
    if size == 0:
        raise error(f"{path}: is empty (0 bytes); download or write it again")


def check_shape(
    path: Path, width: int, height: int, dtypes: Sequence[str], error: type[CloudfixError] = SceneError
) -> None:
    """Refuse rasters without bands, of an impossible size, or of complex numbers.

    Raises:
        CloudfixError: as `error`.
    """
    if not dtypes:
        raise error(f"{path}: has no bands of its own; name one of its subdatasets or band files instead")
    if width * height > MAX_PIXELS:
        raise error(
            f"{path}: claims {width} × {height} pixels, more than any scene has ({MAX_PIXELS:.0e}); the file is damaged"
        )
    if any(dtype.startswith("complex") for dtype in dtypes):
        raise error(f"{path}: holds complex numbers ({dtypes[0]}); detected amplitudes or DN were expected")


def check_complete(path: Path, dataset: Any, *, error: type[CloudfixError] = SceneError) -> None:
    """Refuse a TIFF whose blocks reach beyond the end of the file.

    Args:
        path: the file.
        dataset: the open rasterio dataset of it.
        error: what to raise.

    Raises:
        CloudfixError: as `error`.
    """
    size = path.stat().st_size
    end = max((offset + length for offset, length in block_extents(dataset)), default=0)
    if end > size:
        raise error(f"{path}: truncated, {size} bytes where its blocks need {end}; download or copy the file again")


def block_extents(dataset: Any) -> Iterator[tuple[int, int]]:
    """Offset and length in bytes of every block of a TIFF; (0, 0) for one that was never written."""
    if dataset.driver not in {"GTiff", "COG"}:
        return
    # A pixel-interleaved file keeps all bands of a block together, so that one band tells all.
    shared = str(getattr(dataset.interleaving, "value", "")).lower() == "pixel"
    for band in dataset.indexes[:1] if shared else dataset.indexes:
        block_height, block_width = dataset.block_shapes[band - 1]
        for row in range(-(-dataset.height // block_height)):
            for column in range(-(-dataset.width // block_width)):
                yield (
                    int(dataset.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=band) or 0),
                    int(dataset.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=band) or 0),
                )


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
