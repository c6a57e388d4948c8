"""Which pixels are restored: what decides it, and how far its rim reaches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from dask.base import tokenize
from scipy import ndimage

from cloudfix.clouds import plugins, quality, spectral
from cloudfix.clouds.buffer import feather
from cloudfix.clouds.classes import CLEAR, CLOUD, NODATA, SHADOW
from cloudfix.errors import MaskError, ModelError, UsageError
from cloudfix.models import registry
from cloudfix.models.weights import read_card
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.mask import open_mask
from cloudfix.restoration.graph import Call, as_array, tasks, windows
from cloudfix.restoration.licence import tell_licence
from cloudfix.restoration.pixels import any_valid, reflectance_by_slot
from cloudfix.restoration.sampling import sample_blocks
from cloudfix.restoration.synthesis import Job
from cloudfix.restoration.tiled import thickness
from cloudfix.restoration.tiles import TileGrid

if TYPE_CHECKING:
    from collections.abc import Callable

    import dask.array as da
    from numpy.typing import NDArray

    from cloudfix.models.cards import Card
    from cloudfix.restoration.graph import Mosaic
    from cloudfix.restoration.network import NetworkPlan
    from cloudfix.restoration.tiles import Window

    Pixels = NDArray[Any] | Mosaic
    PlanFor = Callable[[str, Card], NetworkPlan]

SPECTRAL_RULES = "spectral rules after DSen2-CR"
FULL_WEIGHT = 255
MAX_BUFFER = 200
SHADOW_REACH = 64
"""Pixels between a cloud and what the spectral rules may call its shadow; dark land further off is dark land."""
CLOUD_THICKNESS = 0.5
"""Thickness from which the thickness network's answer counts as cloud."""
CASTER_SIDE = 9
"""Pixels that a cloud needs each way to cast such a shadow: roofs and beaches are smaller."""


@dataclass(frozen=True)
class MaskSource:
    """What decides the classes.

    Attributes:
        name: for the provenance.
        classify: (DN, *extra) of a window to its uint8 classes.
        halo: pixels of context that `classify` needs.
        extra: further arrays (y, x) on the scene's grid.
        files: files that were read for it.
        blind: nothing tells cloud from clear sky.
    """

    name: str
    classify: Callable[..., NDArray[np.uint8]]
    halo: int = 0
    extra: tuple[da.Array, ...] = ()
    files: tuple[str, ...] = ()
    blind: bool = False


@dataclass(frozen=True)
class Classified:
    """Class and weight of every pixel, lazily.

    Attributes:
        classes: (y, x), `cloudfix.clouds.classes`.
        weight: (y, x), how much of the network's output a pixel takes: 255 on cloud and shadow, falling to 0 at the end
            of the buffer, 0 on nodata.
        source: what decided the classes.
    """

    classes: da.Array
    weight: da.Array
    source: MaskSource


def classify(
    scene: xr.DataArray,
    mask: str | Path | xr.DataArray | None,
    buffer: int,
    *,
    replace_all: bool,
    plan_for: PlanFor | None = None,
) -> Classified:
    """Class and weight of every pixel, lazily.

    The classes come from the mask that was given (an array, a file, a plug-in's name, thickness weights), else the
    product's own quality band, else the spectral rules of DSen2-CR, else the thickness network.

    Args:
        scene: from `open_scene`.
        mask: what was given, or None.
        buffer: pixels around cloud and shadow over which the weight falls.
        replace_all: give full weight to every pixel that has data.
        plan_for: settles where a thickness network runs; without it none does.

    Raises:
        MaskError: the mask does not fit the scene, or nothing can make one.
        UsageError: a buffer that is negative or too wide.
    """
    if not 0 <= buffer <= MAX_BUFFER:
        raise UsageError(f"--buffer {buffer}: expected 0 to {MAX_BUFFER} pixels")
    info = SceneInfo.of(scene)
    source = choose(scene, info, mask, needed=not replace_all, plan_for=plan_for)
    rim = None if replace_all else buffer
    function = partial(_classes_and_weight, source.classify, info, rim)
    arrays = (scene.data, *source.extra)
    chunks = scene.data.chunks[1:]
    calls = {}
    for index, window in windows(chunks).items():
        grown = window.grow(source.halo + (rim or 0), *scene.shape[1:])
        pieces = tuple((array, grown) for array in arrays)
        calls[0, *index] = Call(partial(function, window.within(grown)), pieces, lazy=True)
    name = f"classify-{tokenize([array.name for array in arrays], function)}"
    both = as_array(name, tasks(name, calls), chunks, np.dtype(np.uint8), bands=2)
    return Classified(both[0], both[1], source)


def choose(
    scene: xr.DataArray,
    info: SceneInfo,
    mask: str | Path | xr.DataArray | None,
    *,
    needed: bool = True,
    plan_for: PlanFor | None = None,
) -> MaskSource:
    """What decides the classes of `scene`; where nothing can and no mask is `needed`, all of it is clear.

    Raises:
        MaskError: the mask does not fit the scene, or nothing can make one that is needed.
    """
    if mask is not None:
        return _given(scene, info, mask, plan_for)
    if info.quality_band is not None:
        index = scene.band.values.tolist().index(info.quality_band)
        return MaskSource(info.quality_band, partial(_from_quality_band, info.quality_band, index))
    missing = spectral.missing_slots([slot for slot in info.slots if slot])
    if not missing:
        halo = spectral.HALO + CASTER_SIDE // 2 + SHADOW_REACH
        rules = partial(_from_spectral_rules, info, _shadow_thresholds(scene, info))
        return MaskSource(SPECTRAL_RULES, rules, halo)
    if not needed:
        return MaskSource("none", _all_clear, blind=True)
    weights = registry.thickness_for(info.slots)
    if weights and plan_for:
        return _thickness_network(scene, info, weights, plan_for)
    raise MaskError(
        f"no cloud mask: the bands {', '.join(scene.band.values)} hold no SCL, QA_PIXEL or BQA, and the spectral "
        f"rules also need {', '.join(missing)}; give one with --mask FILE, or --replace-all to do without"
    )


def _given(
    scene: xr.DataArray, info: SceneInfo, mask: str | Path | xr.DataArray, plan_for: PlanFor | None
) -> MaskSource:
    chunks = scene.data.chunks[1:]
    if isinstance(mask, xr.DataArray):
        if set(mask.dims) != {"y", "x"} or (mask.sizes["y"], mask.sizes["x"]) != scene.shape[1:]:
            raise MaskError(f"mask: {dict(mask.sizes)}, expected the scene's y {scene.shape[1]}, x {scene.shape[2]}")
        values = mask.transpose("y", "x").chunk({"y": chunks[0], "x": chunks[1]}).data
        return MaskSource("array", partial(_from_values, NODATA), extra=(values,))
    if plan_for and registry.names_weights(mask):
        return _thickness_network(scene, info, str(mask), plan_for)
    if isinstance(mask, str) and not Path(mask).is_file() and (mask in plugins.names() or not Path(mask).suffix):
        detector = plugins.find(mask)
        return MaskSource(f"plug-in {mask}", partial(_from_detector, info, detector), plugins.halo(detector))
    opened = open_mask(mask, scene)
    rule = partial(_from_values, opened.attrs["unknown"])
    return MaskSource(f"file {Path(mask).name}", rule, extra=(opened.data,), files=(str(Path(mask).resolve()),))


def thickness_map(scene: xr.DataArray, info: SceneInfo, weights: str, plan_for: PlanFor) -> da.Array:
    """Thickness of the cloud (y, x) by a thickness network, lazily: 0…1, NaN where there is no data.

    Raises:
        MaskError: there are no such weights, they map no thickness, or the scene lacks bands that they need.
    """
    try:
        card = read_card(weights)
    except ModelError as error:
        raise MaskError(f"--mask: {error}") from error
    if card.role != "thickness":
        raise MaskError(f"--mask {weights}: these weights {card.role}; expected thickness weights, such as scpm's")
    missing = [slot for slot in card.required if slot not in info.slots]
    if missing:
        raise MaskError(f"--mask {weights}: the scene has no {', '.join(missing)}; give a mask file")
    grid = TileGrid(scene.sizes["y"], scene.sizes["x"], card.tile, card.overlap)
    job = Job(info, plan_for(registry.portable(weights), card), grid, ((0, 0),), (), ())
    return thickness(scene.data, job)


def _thickness_network(scene: xr.DataArray, info: SceneInfo, weights: str, plan_for: PlanFor) -> MaskSource:
    mapped = thickness_map(scene, info, weights, plan_for)
    card = read_card(weights)
    tell_licence(card)
    return MaskSource(f"thickness by {card.name} {card.checksum[:12]}", _from_thickness, extra=(mapped,))


def _classes_and_weight(
    function: Callable[..., NDArray[np.uint8]],
    info: SceneInfo,
    rim: int | None,
    core: Window,
    dn: Pixels,
    *extra: NDArray[Any],
) -> NDArray[np.uint8]:
    """Classes and weights (2, height, width) of the window `core` of a block; without a rim, full weight everywhere."""
    empty = ~any_valid(dn, info)
    classes = function(dn, *extra)
    classes = np.where(empty, np.uint8(NODATA), np.where(classes == NODATA, np.uint8(CLEAR), classes))
    if rim is None:
        weight = np.full(classes.shape, FULL_WEIGHT, np.uint8)
    else:
        near = core.grow(rim, *classes.shape)
        wanted = (classes[near.slices] == CLOUD) | (classes[near.slices] == SHADOW)
        weight = np.zeros(classes.shape, np.uint8)
        weight[near.slices] = np.ceil(feather(wanted, rim) * FULL_WEIGHT)
    weight[empty] = 0
    return np.stack([plane[core.slices] for plane in (classes, weight)])


def _all_clear(dn: Pixels) -> NDArray[np.uint8]:
    return np.full(dn.shape[1:], CLEAR, np.uint8)


def _from_values(unknown: float | None, _dn: Pixels, values: NDArray[Any]) -> NDArray[np.uint8]:
    """0 is clear, 2 is shadow, every other value is cloud; what is unknown counts as clear."""
    classes = np.where(values == CLEAR, np.uint8(CLEAR), np.uint8(CLOUD))
    classes[values == SHADOW] = SHADOW
    classes[~np.isfinite(values)] = CLEAR
    if unknown is not None:
        classes[values == unknown] = CLEAR
    return classes


def _from_thickness(_dn: Pixels, thickness: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.where(thickness >= CLOUD_THICKNESS, np.uint8(CLOUD), np.uint8(CLEAR))


def _from_quality_band(name: str, index: int, dn: Pixels) -> NDArray[np.uint8]:
    return quality.classes_from(name, dn[index])


def _from_detector(info: SceneInfo, detector: plugins.Detector, dn: Pixels) -> NDArray[np.uint8]:
    return detector(*reflectance_by_slot(dn, info))


def _from_spectral_rules(info: SceneInfo, thresholds: spectral.ShadowThresholds, dn: Pixels) -> NDArray[np.uint8]:
    reflectance, valid = reflectance_by_slot(dn, info, spectral.SLOTS)
    if not spectral.any_cloud(reflectance, valid):
        return _all_clear(dn)
    classes = spectral.classes(reflectance, thresholds, valid)
    shadow = classes == SHADOW
    if shadow.any():
        casters = _eroded(classes == CLOUD)
        far = feather(casters, SHADOW_REACH) == 0
        classes[shadow & far] = CLEAR
    return classes


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Erosion by a square, one side after the other: a fifth of the comparisons."""
    rows = ndimage.binary_erosion(mask, np.ones((CASTER_SIDE, 1), bool))
    eroded: NDArray[np.bool_] = ndimage.binary_erosion(rows, np.ones((1, CASTER_SIDE), bool))
    return eroded


def _shadow_thresholds(scene: xr.DataArray, info: SceneInfo) -> spectral.ShadowThresholds:
    """Thresholds from the scene's cloud-free pixels.

    The published rule takes all pixels. Cloud raises the means by so much that dark land counts as shadow: over a third
    of the Sentinel-2 sample.
    """
    parts = []
    for block in sample_blocks(scene):
        reflectance, valid = reflectance_by_slot(block, info, spectral.SLOTS)
        if spectral.any_cloud(reflectance, valid):
            valid &= spectral.cloud_score(reflectance, valid) < spectral.THRESHOLD
        parts.append(spectral.shadow_statistics(reflectance, valid))
    return spectral.shadow_thresholds(parts)
