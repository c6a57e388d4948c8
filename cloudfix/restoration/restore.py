"""`restore`: a cloudy scene in, a lazy Dataset of the clear one out."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

import cloudfix
from cloudfix.errors import CloudfixWarning, ModelError, UsageError
from cloudfix.models import registry
from cloudfix.models.weights import read_card
from cloudfix.raster.fingerprint import fingerprint
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.sar import open_sar
from cloudfix.restoration import masking
from cloudfix.restoration.graph import assemble
from cloudfix.restoration.network import plan_network
from cloudfix.restoration.synthesis import Job, composite, synthesise
from cloudfix.restoration.tiles import TileGrid, Window, chunk_windows, cover

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cloudfix.models.cards import Card


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
    info = SceneInfo.of(scene)
    name = model or registry.default_for(info.slots)
    card = read_card(name)
    radar = open_sar(sar, scene) if sar is not None and not isinstance(sar, xr.DataArray) else sar
    classes, mask_source = masking.cloud_classes(scene, mask)
    weight = _weight(classes, buffer, replace_all=replace_all)
    job = Job(
        info=info,
        plan=plan_network(name, card, device=device, precision=precision, batch_size=batch_size),
        grid=TileGrid(
            *scene.shape[1:],
            tile=tile or card.tile,
            overlap=card.overlap if overlap is None else overlap,
        ),
        bands=_restored_bands(scene, info, card),
        sar=_polarisations(radar, card),
        blanked=_blanked(scene, info, card, unknown_bands),
    )
    bands = _restored(scene.data, weight, None if radar is None or not job.sar else radar.data, job)
    attrs = {"provenance": _provenance(scene, card, job, mask_source, buffer=buffer, replace_all=replace_all)}
    return xr.Dataset(
        {
            "bands": scene.copy(data=bands),
            "mask": (("y", "x"), classes),
            "synthesised": (("y", "x"), weight),
        },
        attrs=attrs,
    )


def _weight(classes: da.Array, buffer: int, *, replace_all: bool) -> da.Array:
    if not replace_all:
        return masking.synthesis_weight(classes, buffer)
    return da.where(classes == masking.NODATA, 0, masking.FULL_WEIGHT).astype(np.uint8)


def _restored(scene: da.Array, weight: da.Array, radar: da.Array | None, job: Job) -> da.Array:
    """Every tile is computed by the one chunk in which it begins, and handed to the chunks that it reaches into."""
    chunks = scene.chunks[1:]
    run = dask.delayed(synthesise, pure=True)
    frames: list[Window] = []
    parts: list[Any] = []
    for _, chunk in chunk_windows(*chunks):
        if tiles := job.grid.owned(chunk):
            frame = cover(tiles)
            frames.append(frame)
            guide = None if radar is None else radar[:, *frame.slices]
            parts.append(run(scene[:, *frame.slices], weight[frame.slices], guide, tiles, job))
    put = dask.delayed(composite, pure=True)

    def make(chunk: Window) -> Any:
        reaching = [k for k, frame in enumerate(frames) if chunk.intersection(frame)]
        return put(
            scene[:, *chunk.slices],
            weight[chunk.slices],
            chunk,
            [frames[k] for k in reaching],
            [parts[k] for k in reaching],
            job,
        )

    return assemble(chunks, make, scene.dtype, bands=scene.shape[0])


def _restored_bands(scene: xr.DataArray, info: SceneInfo, card: Card) -> tuple[tuple[int, int], ...]:
    missing = [slot for slot in card.required if slot not in info.slots]
    if missing:
        raise ModelError(
            f"{card.name}: needs {', '.join(card.required)}, and the bands {', '.join(scene.band.values)} hold no "
            f"{', '.join(missing)}; choose another --model, or name the bands with --bands"
        )
    return tuple(
        (band, card.slots.index(slot)) for band, slot in enumerate(info.slots) if slot in card.slots
    )


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
    scene: xr.DataArray, card: Card, job: Job, mask_source: str, *, buffer: int, replace_all: bool
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
    }
