"""`restore`: a cloudy scene in, a lazy Dataset of the clear one out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import xarray as xr
from dask.base import tokenize

from cloudfix.models import registry
from cloudfix.models.weights import read_card
from cloudfix.raster.info import SceneInfo
from cloudfix.restoration import agreement, masking, provenance
from cloudfix.restoration.graph import Call, as_array, tasks, windows
from cloudfix.restoration.network import plan_network
from cloudfix.restoration.synthesis import Job, composite, synthesise
from cloudfix.restoration.tiles import TileGrid, cover

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import dask.array as da

    from cloudfix.models.cards import Card
    from cloudfix.restoration.graph import Key
    from cloudfix.restoration.tiles import Window

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
    weights = registry.default_for(info.slots) if model is None else _portable(model)
    card = read_card(weights)
    bands = agreement.restored_bands(scene, info, card)
    grid = _grid(scene, card, tile, overlap)
    plan = plan_network(weights, card, device=device, precision=precision, batch_size=batch_size)
    blanked = agreement.blanked_bands(scene, info, card, unknown_bands)
    radar = agreement.usable_radar(sar, scene, card)
    job = Job(info, plan, grid, bands, () if radar is None else tuple(radar.band.values.tolist()), blanked)
    classified = masking.classify(scene, mask, buffer, replace_all=replace_all)
    options: dict[str, int | bool | str] = {
        "buffer": buffer,
        "replace_all": replace_all,
        "unknown_bands": unknown_bands,
    }
    pixels = _restored(scene.data, classified.weight, None if radar is None else radar.data, job)
    return xr.Dataset(
        {
            "bands": scene.copy(data=pixels),
            "mask": (("y", "x"), classified.classes),
            "synthesised": (("y", "x"), classified.weight),
        },
        attrs={
            "provenance": provenance.tags(scene, radar, card, job, classified, options),
            "inputs": [*classified.files, *([] if radar is None else radar.attrs.get("source", [])), weights],
        },
    )


def _portable(model: str) -> str:
    """A name as it is, a file by its full path: a worker may run in another folder."""
    return model if model in registry.list_weights() else str(registry.find(model).resolve())


def _grid(scene: xr.DataArray, card: Card, tile: int | None, overlap: int | None) -> TileGrid:
    side = card.tile if tile is None else tile
    if overlap is None:
        overlap = card.overlap if tile is None else min(card.overlap, side // 4)
    return TileGrid(scene.sizes["y"], scene.sizes["x"], side, overlap)


def _restored(scene: da.Array, weight: da.Array, radar: da.Array | None, job: Job) -> da.Array:
    """Every tile is computed by the one chunk in which it begins, and handed to the chunks that it reaches into."""
    chunks = windows(scene.chunks[1:])
    guides = () if radar is None else (radar,)
    token = tokenize(job, *(array.name for array in (scene, weight, *guides)))
    owned = {index: tiles for index, chunk in chunks.items() if (tiles := job.grid.owned(chunk))}
    frames = {index: cover(tiles) for index, tiles in owned.items()}
    parts = f"synthesise-{token}"
    syntheses = {
        index: Call(
            partial(synthesise, job, owned[index]),
            tuple((array, frame) for array in (scene, weight, *guides)),
        )
        for index, frame in frames.items()
    }
    outputs = {}
    for index, near in _reaching(chunks, frames).items():
        outputs[0, *index] = Call(
            partial(composite, job, chunks[index], [frames[k] for k in near]),
            ((scene, chunks[index]), (weight, chunks[index])),
            tuple((parts, *k) for k in near),
        )
    graph = tasks(f"restore-{token}", outputs, tasks(parts, syntheses))
    return as_array(f"restore-{token}", graph, scene.chunks[1:], scene.dtype, bands=scene.shape[0])


def _reaching(chunks: dict[Key, Window], frames: dict[Key, Window]) -> dict[Key, list[Key]]:
    """Which frames reach into each chunk. Rows and columns are asked apart: a mosaic has many thousand chunks."""
    rows = {i: frame[:2] for (i, _), frame in frames.items()}
    columns = {j: frame[2:] for (_, j), frame in frames.items()}

    def near(spans: dict[Any, tuple[int, int]], start: int, stop: int) -> list[int]:
        return [k for k, (low, high) in spans.items() if low < stop and high > start]

    down = {i: near(rows, chunk.top, chunk.bottom) for (i, _), chunk in chunks.items()}
    across = {j: near(columns, chunk.left, chunk.right) for (_, j), chunk in chunks.items()}
    return {(i, j): [(k, m) for k in down[i] for m in across[j]] for i, j in chunks}
