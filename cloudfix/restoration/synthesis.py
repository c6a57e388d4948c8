"""From pixels to restored pixels: the tiles of one chunk, and their compositing into the scene.

These are the tasks of the Dask graph: pure functions of arrays and of a small record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudfix.restoration.network import NetworkPlan, network
from cloudfix.restoration.pixels import any_valid, reflectance_by_slot, storable, valid_pixels
from cloudfix.restoration.tiles import FIXED_POINT, TileGrid, Window, cover

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cloudfix.raster.info import SceneInfo
    from cloudfix.restoration.graph import Mosaic
    from cloudfix.restoration.ground import Ground
    from cloudfix.restoration.network import Planes, Tiles


_FEW = 0.1
"""Share of a chunk's pixels up to which the restored ones are picked out of it."""


@dataclass(frozen=True)
class Job:
    """What the tasks of one restoration share.

    Attributes:
        info: radiometry, slots and nodata of the scene.
        plan: the network to run.
        grid: its tiles.
        bands: index in the scene and index in the network's output of each band that is restored; of a thickness
            network, its one output.
        sar: polarisations of the SAR image, in order.
        blanked: indices of the bands set to nodata under cloud.
        ground: clear ground all over the scene, in the order of the network's slots; None where it is not known, or
            the network does not ask.
    """

    info: SceneInfo
    plan: NetworkPlan
    grid: TileGrid
    bands: tuple[tuple[int, int], ...]
    sar: tuple[str, ...]
    blanked: tuple[int, ...]
    ground: Ground | None = None


def synthesise(
    job: Job,
    tiles: list[Window],
    dn: NDArray[np.generic] | Mosaic,
    weight: NDArray[np.uint8] | None = None,
    sar: NDArray[np.float32] | None = None,
) -> NDArray[np.int32] | None:
    """Run the network over those of `tiles` that are needed and add them up, weighted, in fixed point.

    Args:
        job: the shared record.
        tiles: windows on the scene.
        dn: the scene under `cover(tiles)`, (bands, height, width).
        weight: how much of the network's output is wanted, (height, width); tiles where it is 0 are skipped. None wants
            all of it.
        sar: dB on the same pixels, (polarisations, height, width).

    Returns:
        Reflectance in `FIXED_POINT` units, (restored bands, height, width); None if no tile was needed.
    """
    frame = cover(tiles)
    needed = [tile for tile in tiles if weight is None or weight[tile.within(frame).slices].any()]
    if not needed:
        return None
    total = np.zeros((len(job.bands), *frame.shape), np.int32)
    outputs = [output for _, output in job.bands]
    size = job.plan.batch_size
    groups = [needed[i : i + size] for i in range(0, len(needed), size)]

    def batch(group: list[Window]) -> Tiles:
        around = None if job.ground is None else np.stack([job.ground.around(tile) for tile in group])
        return *_planes(dn, sar, [tile.within(frame) for tile in group], job), around

    for group, restored in zip(groups, network(job.plan).map(batch, groups), strict=True):
        for tile, values in zip(group, restored, strict=True):
            height, width = tile.shape
            blended = values[outputs, :height, :width] * (job.grid.weight(tile) * FIXED_POINT)
            # Large arrays come from the system page by page: in place it takes a tenth of the time.
            np.rint(blended, out=blended)
            total[:, *tile.within(frame).slices] += blended.astype(np.int32)
    return total


def _planes(
    dn: NDArray[np.generic] | Mosaic, sar: NDArray[np.float32] | None, windows: list[Window], job: Job
) -> tuple[Planes, Planes]:
    """Reflectance by slot and dB by polarisation under `windows`, each (windows, tile, tile)."""
    tiles = [_optical_tiles(dn[slice(None), *window.slices], job) for window in windows]
    optical = {slot: np.stack([tile[slot] for tile in tiles]) for slot in tiles[0]}
    radar = {
        name: np.stack([_mirrored(sar[k][w.slices], job.grid.tile) for w in windows])
        for k, name in enumerate(job.sar)
        if sar is not None
    }
    return optical, radar


def _optical_tiles(dn: NDArray[np.generic], job: Job) -> dict[str, NDArray[np.float32]]:
    """Reflectance of one tile by slot; what is empty gets the mean of what is not, so that nodata is no value."""
    planes, seen = reflectance_by_slot(dn, job.info)
    for plane in planes.values():
        empty = ~(seen & np.isfinite(plane))
        if empty.any():
            plane[empty] = 0 if empty.all() else plane[~empty].mean()
    return {slot: _mirrored(plane, job.grid.tile) for slot, plane in planes.items()}


def _mirrored(plane: NDArray[np.float32], tile: int) -> NDArray[np.float32]:
    height, width = plane.shape
    if plane.shape == (tile, tile):
        return plane
    return np.pad(plane, ((0, tile - height), (0, tile - width)), mode="symmetric")


def composite(
    job: Job,
    chunk: Window,
    frames: list[Window],
    dn: NDArray[np.generic],
    weight: NDArray[np.uint8],
    parts: list[NDArray[np.int32] | None],
) -> NDArray[np.generic]:
    """Put restored reflectance into the scene's DN, by `weight` / 255; where that is 0 not a bit changes.

    Args:
        job: the shared record.
        chunk: where on the scene the chunk lies.
        frames: where each of `parts` lies.
        dn: the chunk as it came, (bands, height, width).
        weight: 0 … 255, (height, width).
        parts: results of `synthesise` that reach into the chunk.

    Returns:
        DN, same shape and dtype.
    """
    wanted = weight > 0
    count = np.count_nonzero(wanted)
    if not count:
        return dn
    total = _gather(chunk, frames, parts, len(job.bands))
    # To pick pixels out and put them back takes longer than the arithmetic.
    looked = wanted if count < _FEW * wanted.size else ...
    dtype = np.result_type(dn.dtype, np.float32)
    alpha = weight[looked].astype(dtype) / 255
    result = dn.copy()
    for k, (band, _) in enumerate(job.bands):
        before = dn[band][looked]
        after = total[k][looked].astype(dtype)
        after /= FIXED_POINT
        after -= job.info.offset[band]
        after /= job.info.scale[band]
        after -= before
        after *= alpha
        after += before
        blended = storable(after, dn.dtype, job.info)
        result[band][looked] = np.where(wanted[looked] & valid_pixels(before, job.info.nodata), blended, before)
    for band in job.blanked:
        result[band][wanted] = job.info.nodata
    return result


def thickness_of(
    job: Job, chunk: Window, frames: list[Window], dn: NDArray[np.generic], parts: list[NDArray[np.int32] | None]
) -> NDArray[np.float32]:
    """Thickness (1, height, width) of a chunk, 0…1, NaN where `dn` is empty; arguments as in `composite`."""
    thickness = (_gather(chunk, frames, parts, 1) / FIXED_POINT).clip(0, 1).astype(np.float32)
    thickness[:, ~any_valid(dn, job.info)] = np.nan
    return thickness


def _gather(
    chunk: Window, frames: list[Window], parts: list[NDArray[np.int32] | None], bands: int
) -> NDArray[np.int32]:
    total = np.zeros((bands, *chunk.shape), np.int32)
    for frame, part in zip(frames, parts, strict=True):
        common = chunk.intersection(frame)
        if part is not None and common is not None:
            total[:, *common.within(chunk).slices] += part[:, *common.within(frame).slices]
    return total
