"""`restore`: a cloudy scene in, a lazy Dataset of the clear one out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import xarray as xr

from cloudfix.models import registry
from cloudfix.models.weights import read_card
from cloudfix.raster.info import SceneInfo
from cloudfix.restoration import agreement, masking, provenance
from cloudfix.restoration.ground import ground_of_scene
from cloudfix.restoration.licence import tell_licence
from cloudfix.restoration.network import plan_network
from cloudfix.restoration.synthesis import Job
from cloudfix.restoration.tiled import restored
from cloudfix.restoration.tiles import tile_grid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
    scene = scene.transpose("band", "y", "x")
    scene = scene.chunk({"band": -1} if scene.chunks else {"band": -1, "y": CHUNK, "x": CHUNK})
    info = SceneInfo.of(scene)
    weights = registry.default_for(info.slots) if model is None else registry.portable(model)
    card = read_card(weights)
    bands = agreement.restored_bands(scene, info, card)
    tell_licence(card)
    grid = tile_grid(card, scene.sizes["y"], scene.sizes["x"], tile=tile, overlap=overlap)
    tiles = len(grid.rows) * len(grid.columns)
    plan_for = partial(plan_network, device=device, precision=precision, batch_size=batch_size, tiles=tiles)
    plan = plan_for(weights, card)
    blanked = agreement.blanked_bands(scene, info, card, unknown_bands)
    radar = agreement.usable_radar(sar, scene, card)
    classified = masking.classify(scene, mask, buffer, replace_all=replace_all, plan_for=plan_for)
    asked = card.takes_ground and not classified.source.blind
    ground = ground_of_scene(scene, info, classified.source, card.slots) if asked else None
    job = Job(info, plan, grid, bands, () if radar is None else tuple(radar.band.values.tolist()), blanked, ground)
    options: dict[str, int | bool | str] = {
        "buffer": buffer,
        "replace_all": replace_all,
        "unknown_bands": unknown_bands,
    }
    pixels = restored(scene.data, classified.weight, None if radar is None else radar.data, job)
    return xr.Dataset(
        {
            "bands": scene.copy(data=pixels),
            "mask": (("y", "x"), classified.classes),
            "synthesised": (("y", "x"), classified.weight),
        },
        attrs={
            "provenance": provenance.tags(scene, radar, card, job, classified, options),
            "inputs": [*classified.source.files, *([] if radar is None else radar.attrs.get("source", [])), weights],
        },
    )
