"""Arrays as pictures that an HTML page can hold in itself."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rasterio.io import MemoryFile

from cloudfix.clouds.classes import CLEAR, CLOUD, NODATA, SHADOW

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cloudfix.report.overview import Overview, Planes

_TRUE_COLOUR = ("red", "green", "blue")
_STRETCH = (2, 98)
_COLOURS = {CLOUD: (255, 96, 32), SHADOW: (64, 96, 255)}
_OPACITY = 120
_CHANGE = 0.4
"""Change of NDVI that is shown in full colour."""

_LOSS, _GAIN = np.array([140, 81, 10]), np.array([1, 133, 113])
"""Brown and green of ColorBrewer's BrBG, which colour-blind people tell apart."""


@dataclass(frozen=True)
class Stretch:
    """Reflectance shown as black and as white, by channel."""

    slots: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, view: Overview) -> Stretch:
        """That of the clear pixels before; of all that have data, if none is clear."""
        slots = _TRUE_COLOUR if set(_TRUE_COLOUR) <= set(view.before) else (next(iter(view.before)),) * 3
        planes = np.stack([view.before[slot] for slot in slots])
        valid = np.isfinite(planes).all(axis=0)
        clear = valid & (view.classes == CLEAR)
        values = planes[:, clear if clear.any() else valid]
        if not values.size:
            return cls(slots, (0.0,) * 3, (1.0,) * 3)
        low, high = np.percentile(values, _STRETCH, axis=1)
        return cls(slots, tuple(low.tolist()), tuple(np.maximum(high, low + 1e-3).tolist()))

    def colours(self, planes: Planes) -> NDArray[np.uint8]:
        """RGB (3, height, width); what has no data is grey."""
        channels = []
        for slot, low, high in zip(self.slots, self.low, self.high, strict=True):
            level = np.clip((planes[slot] - low) / (high - low), 0, 1) * 255
            channels.append(np.where(np.isfinite(level), level, 128).round().astype(np.uint8))
        return np.stack(channels)


def mask_overlay(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA (4, height, width): cloud orange, shadow blue, all else transparent."""
    picture = np.zeros((4, *classes.shape), np.uint8)
    for value, colour in _COLOURS.items():
        picture[:, classes == value] = np.array([*colour, _OPACITY], np.uint8)[:, None]
    return picture


def change_overlay(change: NDArray[np.float32], classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA (4, height, width) of a change of NDVI: loss brown, gain green, none transparent."""
    strength = np.clip(np.abs(np.nan_to_num(change)) / _CHANGE, 0, 1)
    strength[classes == NODATA] = 0
    colour = np.where(change[None] < 0, _LOSS[:, None, None], _GAIN[:, None, None])
    return np.concatenate([colour, (strength * 230)[None]]).round().astype(np.uint8)


def thumbnail(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Every n-th pixel of a picture (bands, height, width), such that no side exceeds `side`."""
    step = max(1, -(-max(picture.shape[1:]) // side))
    return picture[:, ::step, ::step]


def data_uri(picture: NDArray[np.uint8]) -> str:
    """A picture as text: JPEG of three bands, PNG of four."""
    bands, height, width = picture.shape
    driver, kind, options = ("PNG", "png", {}) if bands == 4 else ("JPEG", "jpeg", {"quality": 85})
    with MemoryFile() as memory:
        with memory.open(driver=driver, width=width, height=height, count=bands, dtype="uint8", **options) as dataset:
            dataset.write(picture)
        encoded = base64.b64encode(memory.read()).decode("ascii")
    return f"data:image/{kind};base64,{encoded}"
