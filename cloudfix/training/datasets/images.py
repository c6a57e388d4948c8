"""Images of a data set as arrays: pictures in 0…1, multispectral files in reflectance, masks, thickness, radar."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudfix.errors import CloudfixWarning, DataError, SarError, SceneError
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.sar import open_sar
from cloudfix.raster.scene import open_scene
from cloudfix.restoration.pixels import reflectance_by_slot
from cloudfix.sensors import SAR_SLOTS, SLOTS
from cloudfix.training.datasets.reading import read_bands

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from numpy.typing import NDArray


RGB = ("red", "green", "blue")
"""The slots of a picture."""

PICTURES = (".png", ".jpg", ".jpeg")
"""Suffixes of files that hold grey values, not reflectance."""

CLASSES = (0, 1, 2, 128, 255)
"""What masks hold: 0 clear, 1 or 255 cloud, 2 or 128 shadow."""


@dataclass(frozen=True)
class Image:
    """One image.

    Attributes:
        slots: of its channels.
        values: (C, H, W), finite, not negative; 0 where there are no data.
        valid: (H, W), where there are data.
    """

    slots: tuple[str, ...]
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]


class Reader:
    """Reads images, and remembers how the DN of each file become reflectance: that takes longer than the pixels."""

    def __init__(self) -> None:
        self._known: dict[Path, SceneInfo] = {}

    def read(self, path: Path) -> Image:
        """A picture, or a multispectral file of any sensor.

        Raises:
            DataError: it cannot be read, or is not what its sensor's files are.
        """
        if path.suffix.lower() in PICTURES:
            values = read_picture(path)
            return Image(RGB, values, np.ones(values.shape[1:], bool))
        if path not in self._known:
            with quietly(), as_data_error():
                self._known[path] = SceneInfo.of(open_scene(path))
        return to_image(read_bands(path), self._known[path])


def slots_of(path: Path) -> tuple[str, ...]:
    """The slots that an image fills, in the order of `to_image`; what is assumed of a scene is said in a note.

    Raises:
        DataError: it cannot be read, or is not what its sensor's files are.
    """
    if path.suffix.lower() in PICTURES:
        return RGB
    with as_data_error():
        return ordered(SceneInfo.of(open_scene(path)).slots)


def ordered(slots: Collection[str]) -> tuple[str, ...]:
    """Slots in the order of `SLOTS`; those of a picture in that of `RGB`."""
    order = RGB if set(slots) <= {*RGB, ""} else SLOTS
    return tuple(slot for slot in order if slot in slots)


def to_image(dn: NDArray[Any], info: SceneInfo) -> Image:
    """The DN (bands, H, W) of a scene as reflectance, channels as `ordered`."""
    planes, valid = reflectance_by_slot(dn, info)
    slots = ordered(planes)
    values = np.stack([planes[slot] for slot in slots])
    # A sum takes a fraction of the time that looking at each value does, and is finite only if they all are.
    if not np.isfinite(values.sum(dtype=np.float64)):
        valid = valid & np.isfinite(values).all(axis=0)
    np.maximum(values, 0, out=values)
    return Image(slots, blanked(values, valid), valid)


def blanked(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The values (C, H, W), 0 where `valid` (H, W) is not true."""
    return values if valid.all() else np.where(valid, values, np.float32(0))


def read_picture(path: Path) -> NDArray[np.float32]:
    """Red, green and blue, (3, H, W), of an 8-bit or 16-bit picture, in 0…1.

    Raises:
        DataError: it cannot be read, or has other values.
    """
    return _of_white(path, read_bands(path, (1, 2, 3)))


def read_thickness(path: Path) -> NDArray[np.float32]:
    """A map of thickness, (H, W), in 0…1; the greatest value of its 8 or 16 bits stands for 1.

    Raises:
        DataError: it cannot be read, or has other values.
    """
    return _of_white(path, read_bands(path, (1,))[0])


def read_mask(path: Path) -> NDArray[np.bool_]:
    """(H, W), True where a mask says cloud or shadow.

    Raises:
        DataError: it cannot be read, or holds other values than `CLASSES`.
    """
    values = read_bands(path, (1,))[0]
    other = np.unique(values[~np.isin(values, CLASSES)])
    if other.size:
        shown = ", ".join(f"{value:g}" for value in other[:4]) + (" …" if other.size > 4 else "")
        raise DataError(
            f"{path}: values {shown} in a mask; expected 0 clear, 128 shadow, 255 cloud (or 0, 2, 1): a lossy "
            "or smoothed copy needs a threshold first"
        )
    return np.asarray(values != 0)


def read_decibels(path: Path) -> NDArray[np.float32]:
    """VV and VH in dB, (2, H, W), of a file that holds just these; NaN where nothing was measured.

    Exact zeros are the sources' way to say so.

    Raises:
        DataError: it cannot be read.
    """
    values = read_bands(path, (1, 2)).astype(np.float32)
    values[(values == 0) | ~np.isfinite(values)] = np.nan
    return values


def read_sar(path: Path, scene: Path) -> NDArray[np.float32]:
    """VV and VH in dB, (2, H, W), on the pixels of `scene`, whatever grid and scale the file has; NaN where none.

    Raises:
        DataError: it cannot be read, or cannot be the radar image of this scene.
    """
    with quietly(), as_data_error():
        sar = open_sar(path, open_scene(scene)).compute(scheduler="synchronous")
    result = np.full((len(SAR_SLOTS), *sar.shape[1:]), np.nan, np.float32)
    result[[SAR_SLOTS.index(slot) for slot in sar.band.values.tolist()]] = sar.values
    return result


@contextmanager
def quietly() -> Iterator[None]:
    """Opens scenes without their notes: a thousand patches would say the same a thousand times."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CloudfixWarning)
        yield


@contextmanager
def as_data_error() -> Iterator[None]:
    """What is wrong with a scene or its radar image is wrong with the data set.

    Raises:
        DataError: for it.
    """
    try:
        yield
    except (SceneError, SarError) as reason:
        raise DataError(str(reason)) from None


def _of_white(path: Path, values: NDArray[Any]) -> NDArray[np.float32]:
    """Values as shares of the greatest one that their 8 or 16 bits can hold."""
    if values.dtype.kind != "u" or values.dtype.itemsize > 2:
        raise DataError(f"{path}: values of {values.dtype}; expected a picture of 8 or 16 bits")
    return np.asarray(np.divide(values, np.iinfo(values.dtype).max, dtype=np.float32))
