"""What clear ground looks like in a scene, place by place: for tiles in which cloud hides all or most of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import dask.base as dask
import numpy as np

from cloudfix.clouds.buffer import feather
from cloudfix.clouds.classes import CLEAR
from cloudfix.restoration.pixels import reflectance_by_slot
from cloudfix.restoration.sampling import spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from cloudfix.raster.info import SceneInfo
    from cloudfix.restoration.masking import MaskSource
    from cloudfix.restoration.tiles import Window

_WINDOWS, _SIDE = 8, 128
"""At most so many windows each way are looked at, of so many pixels a side: all of a scene of up to 1024."""

_FEW = 4
"""Of so many windows a tile shows most by itself."""

_RIM = 3
"""Pixels next to cloud and shadow that are not taken for clear: thin edges that the mask misses."""

_LEAST = 0.25
"""Share of a window that has to be clear: where it is less, haze is over most of that, too."""

_REACH = 2.0
"""Distances between windows over which the colours of the ground fade, as the deviation of a Gaussian."""

_NEAR = 0.5
"""The same for how much is hidden."""


class Patch(NamedTuple):
    """One window.

    Attributes:
        row: of its centre.
        column: of its centre.
        clear: share of it that is clear.
        reflectance: median of the clear pixels, by slot of the network; NaN for a slot that the scene lacks, and where
            too little is clear.
    """

    row: float
    column: float
    clear: float
    reflectance: tuple[float, ...]


@dataclass(frozen=True)
class Ground:
    """Clear ground all over a scene.

    Attributes:
        patches: the windows that were looked at.
        apart: pixels from one to the next.
    """

    patches: tuple[Patch, ...]
    apart: float

    def around(self, tile: Window) -> NDArray[np.float32]:
        """Reflectance by slot of the clear ground around a tile, and last the share that is hidden there, 0…1.

        The nearer a patch and the more of it is clear, the more it counts: a Gaussian, but that the nearest counts
        however far it is.
        """
        rows, columns, clear, reflectance = (np.array(values, float) for values in zip(*self.patches, strict=True))
        down, across = (tile.top + tile.bottom) / 2 - rows, (tile.left + tile.right) / 2 - columns
        far = (down**2 + across**2) / (2 * self.apart**2)
        shown = clear >= _LEAST
        weight = clear[shown] * _gaussian(far[shown] / _REACH**2)
        hidden = 1 - clear @ _gaussian(far / _NEAR**2)
        return np.array([*(weight @ reflectance[shown] / weight.sum()), hidden], np.float32)


def ground_of_scene(scene: xr.DataArray, info: SceneInfo, source: MaskSource, slots: Sequence[str]) -> Ground | None:
    """Look at windows of a scene, which are read at once; None if they show no clear ground or it is too small.

    They depend on the scene's size alone.

    Args:
        scene: from `open_scene`.
        info: of the scene.
        source: what decides the classes of its pixels.
        slots: of the network, in order.
    """
    windows = _windows(*scene.shape[1:])
    if not windows:
        return None
    arrays = (scene.data, *source.extra)
    blocks = dask.compute([[array[(..., *window.slices)] for array in arrays] for window in windows])[0]  # type: ignore[no-untyped-call]
    patches = []
    for window, (dn, *extra) in zip(windows, blocks, strict=True):
        planes, valid = reflectance_by_slot(dn, info)
        patches.append(_patch(window, planes, valid & (source.classify(dn, *extra) == CLEAR), slots))
    return _ground(patches, windows)


def ground_of_image(
    planes: Mapping[str, NDArray[np.float32]], hidden: NDArray[np.bool_], slots: Sequence[str]
) -> Ground | None:
    """As `ground_of_scene`, of an image in memory.

    Args:
        planes: reflectance (H, W) by slot.
        hidden: (H, W), where cloud or shadow is.
        slots: of the network, in order.
    """
    windows = _windows(*hidden.shape)
    patches = []
    for window in windows:
        parts = {slot: plane[window.slices] for slot, plane in planes.items()}
        patches.append(_patch(window, parts, ~hidden[window.slices], slots))
    return _ground(patches, windows)


def _windows(height: int, width: int) -> list[Window]:
    """Where to look; nowhere in a scene so small that there is nothing around a tile."""
    windows = spread(height, width, _WINDOWS, _SIDE)
    return windows if len(windows) > _FEW else []


def _patch(
    window: Window, planes: Mapping[str, NDArray[np.float32]], clear: NDArray[np.bool_], slots: Sequence[str]
) -> Patch:
    seen = (feather(~clear, _RIM) == 0) & np.all([np.isfinite(plane) for plane in planes.values()], axis=0)
    share = float(seen.mean())
    shown = planes if share >= _LEAST else {}
    medians = (float(np.median(shown[slot][seen])) if slot in shown else float("nan") for slot in slots)
    return Patch((window.top + window.bottom) / 2, (window.left + window.right) / 2, share, tuple(medians))


def _ground(patches: Sequence[Patch], windows: Sequence[Window]) -> Ground | None:
    if max((patch.clear for patch in patches), default=0) < _LEAST:
        return None
    starts = (sorted({window.top for window in windows}), sorted({window.left for window in windows}))
    apart = max(int(np.diff([*found[:2]])[0]) if len(found) > 1 else _SIDE for found in starts)
    return Ground(tuple(patches), apart)


def _gaussian(far: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights that sum to one, of half the squares of distances in deviations."""
    weight: NDArray[np.float64] = np.exp(far.min() - far)
    weight /= weight.sum()
    return weight
