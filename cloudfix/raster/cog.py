"""`write_cog`: a lazy scene to a cloud-optimised GeoTIFF, in one streaming pass."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import xarray as xr
from rasterio.enums import Resampling

from cloudfix.errors import OutputError, SceneError
from cloudfix.raster.atomic import staging, writing
from cloudfix.raster.codec import Codec
from cloudfix.raster.grid import Grid, grid_of
from cloudfix.raster.info import SceneInfo, band_attrs
from cloudfix.raster.layout import add_tiles, write_directories
from cloudfix.raster.location import is_remote
from cloudfix.raster.names import CLASS_BANDS
from cloudfix.raster.pyramid import CHUNK, Pyramid
from cloudfix.raster.quicklook import write_quicklook
from cloudfix.raster.scene import reopen
from cloudfix.raster.space import require_space
from cloudfix.raster.store import Layer, store
from cloudfix.raster.vrt import VrtBand, write_vrt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloudfix.raster.atomic import Stage

_CACHE = 64 * 2**20
_MASK_NODATA = 255
_MASK_TAGS = {"CLOUDFIX_CLASSES": "0=clear,1=cloud,2=shadow,255=nodata"}
_STEP = 0.02
"""Of the time that the chunks take, what each later step is shown as."""

_TRUE_COLOUR = ("red", "green", "blue")


@dataclass(frozen=True)
class _Job:
    """What is to be written: arrays of the scene's grid, and the tags of the outputs."""

    bands: xr.DataArray
    mask: xr.DataArray | None
    before: xr.DataArray | None
    info: SceneInfo
    grid: Grid
    provenance: dict[str, str]
    codec: Codec


def write_cog(
    restored: xr.Dataset | xr.DataArray,
    path: str | Path,
    *,
    mask_path: str | Path | None = None,
    quicklook: str | Path | None = None,
    before: xr.DataArray | None = None,
    compress: str = "DEFLATE",
    tags: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Compute a scene chunk by chunk on dask's current scheduler and write it as a COG.

    Values, grid, dtype, nodata, scales, names and tags are the scene's. Memory does not grow with the scene.
    Outputs appear when all of them are complete; the same input gives the same bytes.

    Args:
        restored: variable "bands" (band, y, x) with the attributes of `open_scene`, and for the other two
            outputs "mask" (y, x): 0 clear, 1 cloud, 2 shadow, 255 no data; its attribute "provenance" holds
            tags for the outputs, and "inputs" files besides the scene's own that must not be overwritten.
            Or the bands alone.
        path: the COG; its folder has to be there.
        mask_path: where the mask goes as a COG of its own, if anywhere.
        quicklook: where a PNG with before, mask and after goes, if anywhere.
        before: the input scene, for the quicklook; else the scene's files are opened again.
        compress: one of `codec.COMPRESSIONS`; all are lossless.
        tags: more tags for the outputs.
        progress: called with the numbers of done and of all steps: chunks, then putting each output together.

    Returns:
        The COG's path.

    Raises:
        OutputError: an output cannot be written there.
        SceneError: the scene lacks what is asked for, or a file of it cannot be read any more.
        UsageError: `compress` is unknown.
    """
    final = Path(path)
    extras = {"mask": mask_path, "quicklook": quicklook}
    paths = {"bands": final} | {kind: Path(value) for kind, value in extras.items() if value is not None}
    job = _job(restored, paths, before, Codec.named(compress), tags or {})
    _check_names(list(paths.values()), [*_sources(job.bands), *restored.attrs.get("inputs", [])])
    with rasterio.Env(GDAL_CACHEMAX=_CACHE), ExitStack() as stack:
        stages = {kind: stack.enter_context(staging(item)) for kind, item in paths.items()}
        _make(job, stages, progress)
        for stage in reversed(stages.values()):
            with writing(stage.final):
                stage.publish()
    return final


def _job(
    restored: xr.Dataset | xr.DataArray,
    paths: Mapping[str, Path],
    before: xr.DataArray | None,
    codec: Codec,
    tags: Mapping[str, str],
) -> _Job:
    dataset = restored.to_dataset(name="bands") if isinstance(restored, xr.DataArray) else restored
    bands, mask = dataset["bands"], dataset.get("mask")
    if mask is None and len(paths) > 1:
        raise SceneError(f"{paths['bands']}: no mask to write; give a Dataset with the variables bands and mask")
    bands = _chunked(bands)
    if mask is not None:
        mask = _chunked(mask.astype(np.uint8).expand_dims("band"))
    info = SceneInfo.of(bands)
    if "quicklook" in paths:
        if before is None:
            before = reopen(bands, (bands.chunksizes["y"][0], bands.chunksizes["x"][0]))
        before = _true_colour(before, bands)
    provenance = {**dataset.attrs.get("provenance", {}), **tags}
    return _Job(bands, mask, before, info, grid_of(bands), provenance, codec)


def _chunked(bands: xr.DataArray) -> xr.DataArray:
    bands = bands.transpose("band", "y", "x")
    return bands.chunk({"band": -1} if bands.chunks else {"band": -1, "y": CHUNK, "x": CHUNK})


def _true_colour(before: xr.DataArray, bands: xr.DataArray) -> xr.DataArray:
    slots, after = (SceneInfo.of(scene).slots for scene in (before, bands))
    missing = [slot for slot in _TRUE_COLOUR if slot not in slots or slot not in after]
    if missing:
        raise SceneError(f"scene: no {', '.join(missing)} band for the quicklook; leave the quicklook out")
    if before.sizes["y"] != bands.sizes["y"] or before.sizes["x"] != bands.sizes["x"]:
        raise SceneError(
            f"scene: {bands.sizes['x']} × {bands.sizes['y']} pixels, but the input for the quicklook has "
            f"{before.sizes['x']} × {before.sizes['y']}; pass the matching input as `before`"
        )
    return _chunked(before.isel(band=[slots.index(slot) for slot in _TRUE_COLOUR]))


def _sources(bands: xr.DataArray) -> list[str]:
    """What was named as the scene, and what of it is read."""
    return [*bands.attrs.get("source", []), *bands.attrs.get("files", [])]


def _check_names(paths: Sequence[Path], read: Sequence[str]) -> None:
    seen: set[Path] = set()
    inputs = {Path(source).resolve() for source in read if not is_remote(source)}
    products = {source for source in inputs if source.is_dir()}
    for path in paths:
        resolved = path.resolve()
        if resolved in inputs:
            raise OutputError(f"{path}: is an input of this very run; give another output name")
        if products & set(resolved.parents):
            raise OutputError(f"{path}: is in the folder of the product that is read; give an output elsewhere")
        if resolved in seen:
            raise OutputError(f"{path}: is to be two outputs at once; give each its own name")
        seen.add(resolved)


def _make(job: _Job, stages: Mapping[str, Stage], progress: Callable[[int, int], None] | None) -> None:
    main = stages["bands"]
    layers = _layers(job, main.scratch, stages)
    with writing(main.final):
        require_space(main.folder, sum(layer.pyramid.size for layer in layers.values()))
    cogs = {kind: stages[kind].file if kind in stages else main.scratch / f"{kind}.tif" for kind in layers}
    finals = {kind: stages.get(kind, main).final for kind in layers}
    for kind, layer in layers.items():
        with writing(finals[kind]):
            _write_directories(job, kind, layer.pyramid, cogs[kind])
    chunks = layers["bands"].array.npartitions
    step = math.ceil(chunks * _STEP)
    total = chunks + step * (len(layers) + ("quicklook" in stages))

    def advance(done: int) -> None:
        if progress is not None:
            progress(done, total)

    store(list(layers.values()), main.final, advance)
    for position, (kind, layer) in enumerate(layers.items(), start=1):
        with writing(finals[kind]):
            layer.pyramid.finish()
            add_tiles(layer.pyramid, cogs[kind])
        advance(chunks + step * position)
    if quicklook := stages.get("quicklook"):
        with writing(quicklook.final):
            _draw(job, cogs, quicklook.file)
        advance(total)


def _layers(job: _Job, folder: Path, wanted: Mapping[str, Stage]) -> dict[str, Layer]:
    """What is computed, and where its tiles are kept; classes have overviews that are not averaged."""
    nodata = job.info.nodata
    if nodata is None and job.bands.dtype.kind == "f":
        nodata = np.nan
    resampling = [
        Resampling.nearest if name in CLASS_BANDS else Resampling.average for name in job.bands["band"].values.tolist()
    ]
    arrays = {"bands": (job.bands, resampling, nodata)}
    if job.mask is not None and len(wanted) > 1:
        arrays["mask"] = job.mask, [Resampling.nearest], _MASK_NODATA
    if job.before is not None:
        arrays["before"] = job.before, [Resampling.average] * len(_TRUE_COLOUR), nodata
    return {
        kind: Layer(
            array.data,
            Pyramid(
                folder / kind,
                (len(resampling), job.grid.height, job.grid.width),
                array.dtype.name,
                job.codec,
                tuple(resampling),
                nodata,
            ),
        )
        for kind, (array, resampling, nodata) in arrays.items()
    }


def _write_directories(job: _Job, kind: str, pyramid: Pyramid, cog: Path) -> None:
    bands, nodata, tags = _described(job) if kind == "bands" else _plain(job, kind, pyramid)
    vrt = pyramid.folder.with_suffix(".vrt")
    write_vrt(vrt, job.grid, pyramid.dtype, bands, sides=pyramid.sides[1:], nodata=nodata, tags=tags)
    write_directories(vrt, cog, job.codec)


def _described(job: _Job) -> tuple[list[VrtBand], float | None, dict[str, str]]:
    """The scene's bands, its value for no data, and its tags with our own."""
    attrs = _file_attrs(job.bands)
    bands = [
        VrtBand(
            description=attrs["descriptions"][index],
            colorinterp=attrs["colorinterp"][index],
            scale=attrs["file_scales"][index],
            offset=attrs["file_offsets"][index],
            tags=_still_true(attrs["band_tags"][index]),
        )
        for index in range(job.bands.sizes["band"])
    ]
    return bands, attrs["file_nodata"], {**_still_true(attrs["tags"]), **_own_tags(job), **job.provenance}


def _still_true(tags: Mapping[str, str]) -> dict[str, str]:
    """Without statistics, which were those of the pixels before."""
    return {key: value for key, value in tags.items() if not key.startswith("STATISTICS_")}


def _file_attrs(bands: xr.DataArray) -> dict[str, Any]:
    """What `open_scene` keeps of the files, and neutral values where a scene was made in memory."""
    count = bands.sizes["band"]
    plain = {
        "descriptions": bands["band"].values.tolist(),
        "colorinterp": ["undefined"] * count,
        "file_scales": [1.0] * count,
        "file_offsets": [0.0] * count,
        "band_tags": [{}] * count,
        "file_nodata": bands.attrs["nodata"],
        "tags": {},
    }
    return plain | band_attrs(bands)


def _own_tags(job: _Job) -> dict[str, str]:
    """What `open_scene` reads first, so that an output is the same scene again."""
    tags = {
        "CLOUDFIX_BANDS": ",".join(str(name).replace(",", " ") for name in job.bands["band"].values),
        "CLOUDFIX_SCALE": ",".join(map(repr, job.info.scale)),
        "CLOUDFIX_OFFSET": ",".join(map(repr, job.info.offset)),
    }
    return tags | ({"CLOUDFIX_SENSOR": job.info.sensor} if job.info.sensor else {})


def _plain(job: _Job, kind: str, pyramid: Pyramid) -> tuple[list[VrtBand], float | None, dict[str, str]]:
    """The same of the mask, and of what only the quicklook sees."""
    bands = [VrtBand(description=kind, colorinterp="gray")] * pyramid.shape[0]
    return bands, pyramid.nodata, {**_MASK_TAGS, **job.provenance} if kind == "mask" else {}


def _draw(job: _Job, cogs: Mapping[str, Path], out: Path) -> None:
    red, green, blue = (job.info.slots.index(slot) + 1 for slot in _TRUE_COLOUR)
    write_quicklook(out, before=cogs["before"], after=cogs["bands"], mask=cogs["mask"], rgb=(red, green, blue))
