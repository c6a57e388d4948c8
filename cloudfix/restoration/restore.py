"""`restore`: a cloudy scene in, a lazy Dataset of the clear one out."""

from __future__ import annotations

import json
import warnings
from functools import partial
from typing import TYPE_CHECKING

import xarray as xr
from dask.base import tokenize

import cloudfix
from cloudfix.errors import CloudfixWarning, ModelError, SarError, UsageError
from cloudfix.models import registry
from cloudfix.models.weights import read_card
from cloudfix.raster.fingerprint import fingerprint
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.sar import open_sar
from cloudfix.restoration import masking
from cloudfix.restoration.graph import Call, as_array, tasks, windows
from cloudfix.restoration.network import plan_network
from cloudfix.restoration.synthesis import Job, composite, synthesise
from cloudfix.restoration.tiles import TileGrid, cover

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import dask.array as da

    from cloudfix.models.cards import Card

CHUNK = 512
"""Rows and columns of a chunk of a scene that came without any."""


def restore(
    scene: xr.DataArray,
    *,
    sar: str | Path | Sequence[str] | xr.DataArray | None = None,
    mask: str | Path | xr.DataArray | None = None,
    model: str | None = None,
    buffer: int = 10,
    replace_all: bool = False,
    unknown_bands: str = "keep",
    tile: int | None = None,
    overlap: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> xr.Dataset:
    """Restore what cloud and shadow hide; lazy, for any Dask scheduler.

    Args:
        scene: from `open_scene`: (band, y, x), file DN.
        sar: a Sentinel-1 image to guide the network: a path, paths of VV and VH, or an array from `open_sar`.
        mask: a mask file, a plug-in's name or (y, x) classes; default the product's own, else spectral rules.
        model: a registered name or a weights file; default the one that suits the scene's slots.
        buffer: pixels around the mask over which the output blends into the untouched scene.
        replace_all: take the network's output everywhere.
        unknown_bands: "keep" or "blank" (nodata under cloud) the bands that the model does not know.
        tile: side of the tiles, pixels; default the model's.
        overlap: pixels that tiles share; default the model's.
        batch_size: tiles per call; default by device.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.

    Returns:
        Dataset of `bands` (band, y, x: DN, as `scene`), `mask` (y, x: 0 clear, 1 cloud, 2 shadow, 255 nodata) and
        `synthesised` (y, x: 0 kept … 255 the network's); attribute `provenance` holds the tags for the file.

    Raises:
        CloudfixError: options, bands, mask, SAR or weights that do not go together.
    """
    scene = scene.chunk({"band": -1} if scene.chunks else {"band": -1, "y": CHUNK, "x": CHUNK})
    info = SceneInfo.of(scene)
    name = model or registry.default_for(info.slots)
    card = read_card(name)
    radar = None if sar is None else _radar(sar, scene)
    job = Job(
        info=info,
        plan=plan_network(name, card, device=device, precision=precision, batch_size=batch_size),
        grid=TileGrid(
            height=scene.sizes["y"],
            width=scene.sizes["x"],
            tile=tile or card.tile,
            overlap=card.overlap if overlap is None else overlap,
        ),
        bands=_restored_bands(scene, info, card),
        sar=_polarisations(radar, card),
        blanked=_blanked(scene, info, card, unknown_bands),
    )
    classes, weight, mask_source = masking.classify(scene, mask, buffer, replace_all=replace_all)
    bands = _restored(scene.data, weight, None if radar is None or not job.sar else radar.data, job)
    attrs = {"provenance": _provenance(scene, radar, card, job, mask_source, buffer=buffer, replace_all=replace_all)}
    return xr.Dataset(
        {
            "bands": scene.copy(data=bands),
            "mask": (("y", "x"), classes),
            "synthesised": (("y", "x"), weight),
        },
        attrs=attrs,
    )


def _radar(sar: str | Path | Sequence[str] | xr.DataArray, scene: xr.DataArray) -> xr.DataArray:
    if not isinstance(sar, xr.DataArray):
        return open_sar(sar, scene)
    if sar.shape[1:] != scene.shape[1:]:
        raise SarError(f"sar: shape {sar.shape[1:]}, expected the scene's {scene.shape[1:]}; use open_sar(path, scene)")
    return sar.chunk({"band": -1})


def _restored(scene: da.Array, weight: da.Array, radar: da.Array | None, job: Job) -> da.Array:
    """Every tile is computed by the one chunk in which it begins, and handed to the chunks that it reaches into."""
    chunks = windows(scene.chunks[1:])
    token = tokenize(scene.name, weight.name, radar.name if radar is not None else None, job)
    owned = {index: job.grid.owned(chunk) for index, chunk in chunks.items()}
    frames = {index: cover(tiles) for index, tiles in owned.items() if tiles}
    guides = () if radar is None else (radar,)
    syntheses = {
        index: Call(partial(synthesise, job, owned[index]), tuple((a, frame) for a in (scene, weight, *guides)))
        for index, frame in frames.items()
    }
    parts = f"synthesise-{token}"
    outputs = {}
    for index, chunk in chunks.items():
        reaching = [near for near in frames if chunk.intersection(frames[near])]
        outputs[0, *index] = Call(
            partial(composite, job, chunk, [frames[near] for near in reaching]),
            ((scene, chunk), (weight, chunk)),
            tuple((parts, *near) for near in reaching),
        )
    name = f"restore-{token}"
    return as_array(
        name,
        tasks(name, outputs, tasks(parts, syntheses)),
        scene.chunks[1:],
        scene.dtype,
        bands=scene.shape[0],
    )


def _restored_bands(scene: xr.DataArray, info: SceneInfo, card: Card) -> tuple[tuple[int, int], ...]:
    missing = [slot for slot in card.required if slot not in info.slots]
    if missing:
        raise ModelError(
            f"{card.name}: needs {', '.join(card.required)}, and the bands {', '.join(scene.band.values)} hold no "
            f"{', '.join(missing)}; choose another --model, or name the bands with --bands"
        )
    return tuple((band, card.slots.index(slot)) for band, slot in enumerate(info.slots) if slot in card.slots)


def _blanked(scene: xr.DataArray, info: SceneInfo, card: Card, unknown_bands: str) -> tuple[int, ...]:
    unknown = [
        band
        for band, (name, slot) in enumerate(zip(scene.band.values, info.slots, strict=True))
        if slot not in card.slots and name != info.quality_band
    ]
    names = ", ".join(scene.band.values[band] for band in unknown)
    if unknown_bands not in {"keep", "blank"}:
        raise UsageError(f"--unknown-bands {unknown_bands}: expected keep or blank")
    if unknown and unknown_bands == "keep":
        warnings.warn(
            f"{card.name} does not know {names}: kept as they are, cloud included; --unknown-bands blank sets them "
            "to nodata there",
            CloudfixWarning,
            stacklevel=3,
        )
        return ()
    if unknown and info.nodata is None:
        raise UsageError(f"--unknown-bands blank: the scene declares no nodata value for {names}; use keep")
    return tuple(unknown)


def _polarisations(radar: xr.DataArray | None, card: Card) -> tuple[str, ...]:
    if radar is None:
        return ()
    known = tuple(source.slot for source in card.sar)
    if not known:
        warnings.warn(f"{card.name} takes no SAR: --sar is not used", CloudfixWarning, stacklevel=3)
        return ()
    return tuple(str(name) for name in radar.band.values)


def _provenance(
    scene: xr.DataArray,
    radar: xr.DataArray | None,
    card: Card,
    job: Job,
    mask_source: str,
    *,
    buffer: int,
    replace_all: bool,
) -> dict[str, str]:
    parameters = {
        "buffer": buffer,
        "replace_all": replace_all,
        "tile": job.grid.tile,
        "overlap": job.grid.overlap,
        "precision": job.plan.precision,
        "sar": list(job.sar),
    }
    return {
        "CLOUDFIX_VERSION": cloudfix.__version__,
        "CLOUDFIX_MODEL": card.name,
        "CLOUDFIX_MODEL_SHA256": card.checksum,
        "CLOUDFIX_MASK": mask_source,
        "CLOUDFIX_PARAMETERS": json.dumps(parameters, sort_keys=True),
        "CLOUDFIX_INPUT": fingerprint(scene),
    } | ({} if radar is None else {"CLOUDFIX_SAR": fingerprint(radar)})
