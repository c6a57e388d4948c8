"""`simulate_scene`: a clear scene in, a lazy Dataset of the same scene under simulated cloud out.

The sky is a pure function of the seed and of the scene's coordinates. It is computed in blocks of one size on one grid
from the scene's origin, and in double precision: so neither chunks nor schedulers change a pixel.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from dask.base import tokenize

import cloudfix
from cloudfix.clouds.classes import CLEAR, CLOUD, NODATA, SHADOW
from cloudfix.clouds.simulation import CLOUD_FROM, Grid, Sky
from cloudfix.errors import CloudfixWarning, UsageError
from cloudfix.raster.fingerprint import fingerprint
from cloudfix.raster.info import SceneInfo
from cloudfix.restoration.graph import Call, as_array, tasks, windows
from cloudfix.restoration.pixels import any_valid, reflectance_by_slot, storable, valid_pixels
from cloudfix.restoration.sampling import sample_blocks
from cloudfix.restoration.weather import scene_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    import dask.array as da
    from numpy.typing import NDArray

    from cloudfix.clouds.simulation import CloudRecipe
    from cloudfix.restoration.tiles import Window

BLOCK = 512
"""Rows and columns of sky that are computed at once."""

CHUNK = 512
"""Rows and columns of a chunk of a scene that came without any."""

_MAPS = 2
"""Planes of a block of sky besides gain and light of each band: thickness and shadow."""


@dataclass(frozen=True)
class _Job:
    """What the tasks share.

    Attributes:
        info: radiometry and nodata of the scene.
        bands: indices of its bands that have a slot, C of them.
        sky: over the scene.
        ground: (1, C, 1, 1) their mean reflectance.
    """

    info: SceneInfo
    bands: tuple[int, ...]
    sky: Sky
    ground: torch.Tensor


def simulate_scene(
    scene: xr.DataArray,
    *,
    seed: int = 0,
    kind: str = "all",
    cover: float | None = None,
    cloud_height: float | None = None,
    sun_azimuth: float | None = None,
    sun_elevation: float | None = None,
) -> xr.Dataset:
    """Lay simulated cloud and its shadow over a clear scene; lazy, for any Dask scheduler.

    Args:
        scene: from `open_scene`: (band, y, x), file DN.
        seed: the same one gives the same cloud.
        kind: "thin" veils the whole scene and leaves the ground in sight, "thick" hides parts of it, "all" does either.
        cover: share of the scene under dense cloud; default by the seed.
        cloud_height: above the ground in metres; default by the seed.
        sun_azimuth: degrees from north over east; default the scene's, if its tags tell, else by the seed.
        sun_elevation: degrees above the horizon; default the same.

    Returns:
        Dataset of `bands` (band, y, x: DN, as `scene`), `mask` (y, x: 0 clear, 1 cloud, 2 shadow, 255 nodata),
        `thickness` (y, x: 1 − t at 550 nm, 0…1, NaN on nodata) and `shadow` (y, x: share of the light that is taken
        away, 0…1, NaN on nodata); attribute `provenance` holds the tags for the files.

    Raises:
        UsageError: an option is out of bounds.
        SceneError: the scene does not say what its bands are.
    """
    if not 0 <= seed < 2**62:
        raise UsageError(f"--seed {seed}: expected 0 to 2**62 − 1")
    scene = scene.transpose("band", "y", "x")
    scene = scene.chunk({"band": -1} if scene.chunks else {"band": -1, "y": CHUNK, "x": CHUNK})
    info = SceneInfo.of(scene)
    sun = {"sun_azimuth": sun_azimuth, "sun_elevation": sun_elevation}
    recipe = scene_recipe(scene, kind, cover=cover, cloud_height=cloud_height, **sun)
    job = _job(scene, info, recipe, seed)
    veil = _veil(job, scene.sizes["y"], scene.sizes["x"], tokenize(seed, asdict(recipe), info.slots))
    if info.quality_band is not None:
        note = f"{info.quality_band}: left as it was, so it does not know the simulated cloud; the mask output does"
        warnings.warn(note, CloudfixWarning, stacklevel=2)
    planes = _mapped(_planes, job, scene.data, veil, np.dtype(np.float32), _MAPS)
    classes = _mapped(_classes, job, scene.data, veil, np.dtype(np.uint8), 1)
    read = {key: scene.attrs[key] for key in ("source", "files") if key in scene.attrs}
    return xr.Dataset(
        {
            "bands": scene.copy(data=_mapped(_bands, job, scene.data, veil, scene.dtype, scene.shape[0])),
            "mask": (("y", "x"), classes[0], read),
            "thickness": (("y", "x"), planes[0], read),
            "shadow": (("y", "x"), planes[1], read),
        },
        attrs={"provenance": _tags(scene, recipe, seed)},
    )


def _job(scene: xr.DataArray, info: SceneInfo, recipe: CloudRecipe, seed: int) -> _Job:
    bands = tuple(k for k, slot in enumerate(info.slots) if slot)
    slots = [info.slots[k] for k in bands]
    _, height, width = scene.shape
    sky = Sky.draw(torch.tensor([seed]), slots, recipe, (height, width), torch.float64)
    return _Job(info, bands, sky, torch.tensor(_mean_ground(scene, info, slots), dtype=torch.float64).view(1, -1, 1, 1))


def _mean_ground(scene: xr.DataArray, info: SceneInfo, slots: list[str]) -> list[float]:
    """Mean reflectance of each slot over samples of the scene: what lights clouds from below."""
    totals, counts = np.zeros(len(slots)), np.zeros(len(slots))
    for block in sample_blocks(scene):
        reflectance, valid = reflectance_by_slot(block, info)
        for k, slot in enumerate(slots):
            seen = reflectance[slot][valid & np.isfinite(reflectance[slot])]
            totals[k] += seen.sum(dtype=np.float64)
            counts[k] += seen.size
    means: list[float] = (totals / np.maximum(counts, 1)).tolist()
    return means


def _tags(scene: xr.DataArray, recipe: CloudRecipe, seed: int) -> dict[str, str]:
    return {
        "CLOUDFIX_VERSION": cloudfix.__version__,
        "CLOUDFIX_SIMULATED": "cloud and cloud shadow, not observed",
        "CLOUDFIX_SEED": str(seed),
        "CLOUDFIX_CLOUDS": json.dumps(asdict(recipe), sort_keys=True),
        "CLOUDFIX_INPUT": fingerprint(scene.attrs.get("source", [])),
    }


def _veil(job: _Job, height: int, width: int, token: str) -> da.Array:
    """(2·C + `_MAPS`, y, x): gain of each band, light of each band, thickness, shadow."""
    chunks = _blocks(height), _blocks(width)
    calls = {(0, *index): Call(partial(_block, job, window), ()) for index, window in windows(chunks).items()}
    name = f"sky-{tokenize(token, chunks)}"
    return as_array(name, tasks(name, calls), chunks, np.dtype(np.float32), bands=2 * len(job.bands) + _MAPS)


def _blocks(length: int) -> tuple[int, ...]:
    whole, rest = divmod(length, BLOCK)
    return (BLOCK,) * whole + ((rest,) if rest else ())


def _block(job: _Job, window: Window) -> NDArray[np.float32]:
    """A block of sky; one at the scene's far edges is computed whole and then cut, as sizes may change a rounding."""
    grid = Grid.window(window.top, window.left, BLOCK, BLOCK, like=job.ground)
    veil = job.sky.veil(grid, job.ground)
    planes = torch.cat([veil.gain[0], veil.light[0], veil.thickness[0], veil.shadow[0]])
    height, width = window.shape
    block: NDArray[np.float32] = planes[:, :height, :width].float().numpy()
    return np.ascontiguousarray(block)


def _mapped(
    function: Callable[[_Job, NDArray[Any], NDArray[np.float32]], NDArray[Any]],
    job: _Job,
    scene: da.Array,
    veil: da.Array,
    dtype: np.dtype[Any],
    bands: int,
) -> da.Array:
    """(bands, y, x) of `function` called on each chunk of the scene and the sky over it."""
    chunks = scene.chunks[1:]
    calls = {
        (0, *index): Call(partial(function, job), ((scene, window), (veil, window)))
        for index, window in windows(chunks).items()
    }
    name = f"simulate{function.__name__}-{tokenize(scene.name, veil.name)}"
    return as_array(name, tasks(name, calls), chunks, dtype, bands)


def _bands(job: _Job, dn: NDArray[Any], veil: NDArray[np.float32]) -> NDArray[Any]:
    """The DN under cloud; where there is neither cloud nor shadow, and where there is no data, not a bit changes."""
    touched = veil[-_MAPS:].any(axis=0) & any_valid(dn, job.info)
    if not touched.any():
        return dn
    result = dn.copy()
    count = len(job.bands)
    for k, band in enumerate(job.bands):
        before = dn[band][touched]
        gain, light = (planes[touched].astype(np.float64) for planes in (veil[k], veil[count + k]))
        scale, offset = job.info.scale[band], job.info.offset[band]
        after = storable(before * gain + (offset * (gain - 1) + light) / scale, dn.dtype, job.info)
        measured = valid_pixels(before, None if job.info.nodata == 0 else job.info.nodata)
        result[band][touched] = np.where(measured, after, before)
    return result


def _planes(job: _Job, dn: NDArray[Any], veil: NDArray[np.float32]) -> NDArray[np.float32]:
    """Thickness and shadow, NaN on nodata."""
    return np.where(any_valid(dn, job.info), veil[-_MAPS:], np.float32(np.nan))


def _classes(job: _Job, dn: NDArray[Any], veil: NDArray[np.float32]) -> NDArray[np.uint8]:
    thickness, shadow = veil[-_MAPS:]
    classes = np.full(thickness.shape, CLEAR, np.uint8)
    classes[shadow > CLOUD_FROM] = SHADOW
    classes[thickness > CLOUD_FROM] = CLOUD
    classes[~any_valid(dn, job.info)] = NODATA
    return classes[None]
