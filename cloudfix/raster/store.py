"""Streaming a lazy scene into scratch GeoTIFFs: one pass over the dask graph, on any scheduler."""

from __future__ import annotations

import errno
import math
import os
import shutil
import uuid
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise, product
from threading import Lock
from typing import TYPE_CHECKING, Any

import dask.array as da
import rasterio
from dask.highlevelgraph import HighLevelGraph
from rasterio.enums import Resampling
from rasterio.windows import Window

from cloudfix.raster.atomic import writing
from cloudfix.raster.header import opened
from cloudfix.raster.waves import run, scheduler_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cloudfix.raster.grid import Grid

BLOCK = 512
"""Rows and columns of a block, in scratch files and in COGs."""

_SPARE = 2**20

_STRIP = 5120
"""Columns that are read at a time.

Chunks wait in memory for their neighbours of the next row, so memory would grow with the width of a scene. What
reaches over the edge of a strip is computed twice: one column of tiles.
"""

_MARGIN = 1024
"""Columns of these that belong to the strip to the left, or to the right, and that masks and tiles look at."""


@dataclass(frozen=True)
class Layer:
    """An array (band, y, x) and the scratch file it goes to.

    Attributes:
        array: what to compute.
        path: the scratch GeoTIFF.
        resampling: of its overviews.
        nodata: the value that its overviews leave out.
        overviews: whether it needs any.
    """

    array: da.Array
    path: Path
    resampling: Resampling = Resampling.average
    nodata: float | None = None
    overviews: bool = True

    @property
    def size(self) -> int:
        """Bytes of the scratch file without overviews: whole blocks, however small the scene is."""
        bands, *sides = self.array.shape
        pixels = math.prod(-(-side // BLOCK) * BLOCK for side in sides)
        return int(bands * pixels * self.array.dtype.itemsize)


class RasterTarget:
    """Where dask stores chunks: a GeoTIFF opened anew for each one.

    So it works in worker processes that share the file system, too; dask's lock keeps them apart.
    """

    def __init__(
        self, path: Path, name: Path, *, georeferenced: bool, advance: Callable[[], None] | None = None
    ) -> None:
        self._path = path
        self._name = name
        self._georeferenced = georeferenced
        self._advance = advance
        self._token = uuid.uuid4().hex

    def __setitem__(self, key: tuple[slice, slice, slice], block: NDArray[Any]) -> None:
        _, rows, columns = key
        with writing(self._name):
            require_space(self._path.parent, block.nbytes)
            with opened(self._path, "r+", georeferenced=self._georeferenced, SPARSE_OK=True) as dataset:
                dataset.write(block, window=Window.from_slices(rows, columns))
        if self._advance is not None:
            self._advance()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_advance": None}

    def __dask_tokenize__(self) -> str:
        # A run must never be taken for an earlier one on the same output.
        return self._token


def store(layers: Sequence[Layer], grid: Grid, final: Path, progress: Callable[[int], None]) -> None:
    """Compute all layers in one pass, strip by strip, into their scratch files.

    Args:
        layers: what to compute; chunks cover all bands.
        grid: of all of them.
        final: the output that messages name.
        progress: called with the number of done chunks of the first layer. Worker processes cannot call it: then it is
            called once, in the end.

    Raises:
        OutputError: the disk is full or fails. What the computation itself raises comes through as it is.
    """
    total = layers[0].array.npartitions
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(done)

    with writing(final):
        for layer in layers:
            create(layer, grid)
    targets = [
        RasterTarget(
            layer.path,
            final,
            georeferenced=grid.georeferenced,
            advance=advance if layer is layers[0] else None,
        )
        for layer in layers
    ]
    for columns in _strips(layers[0].array.chunks[-1]):
        _store_strip([layer.array for layer in layers], targets, columns)
    if done < total:
        progress(total)


def _store_strip(arrays: Sequence[da.Array], targets: Sequence[RasterTarget], columns: slice) -> None:
    """Compute these columns of all arrays: chunk row after chunk row, where a scheduler in this process does it."""
    region = (slice(None), slice(None), columns)
    parts = [array[region] for array in arrays]
    get = scheduler_here(parts[0].__dask_scheduler__)
    if get is None:
        da.store(parts, targets, lock=True, regions=[region] * len(parts))  # type: ignore[arg-type]
        return
    name, lock = f"store-{uuid.uuid4().hex}", Lock()
    layer: dict[Any, Any] = {}
    waves: dict[int, list[Any]] = defaultdict(list)
    rows = [stop for _, stop in _spans(parts[0].chunks[-2])]
    for number, (part, target) in enumerate(zip(parts, targets, strict=True)):
        for (i, (top, bottom)), (j, (left, right)) in product(
            *(enumerate(_spans(sizes)) for sizes in part.chunks[-2:])
        ):
            window = slice(None), slice(top, bottom), slice(columns.start + left, columns.start + right)
            key = (name, number, i, j)
            layer[key] = (partial(_put, target, window, lock), (part.name, 0, i, j))
            waves[bisect_left(rows, bottom)].append(key)
    graph = HighLevelGraph.from_collections(name, layer, dependencies=parts)
    optimised: Mapping[Any, Any] = da.optimize(graph, list(layer))  # type: ignore[no-untyped-call]
    run(dict(optimised), [waves[row] for row in sorted(waves)], get)


def _put(target: RasterTarget, window: tuple[slice, slice, slice], lock: Lock, block: NDArray[Any]) -> None:
    with lock:
        target[window] = block


def _spans(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Start and end of each chunk along an axis."""
    return list(pairwise(accumulate(sizes, initial=0)))


def _strips(widths: Sequence[int]) -> Iterator[slice]:
    """Runs of whole chunks that make up, with their margins, about `_STRIP` columns."""
    total = sum(widths)
    start = stop = 0
    for width in widths:
        reached, left = stop + width, _MARGIN if start else 0
        ends_here = total - start + left <= _STRIP
        if stop > start and not ends_here and reached - start + left + _MARGIN > _STRIP:
            yield slice(start, stop)
            start = stop
        stop = reached
    yield slice(start, stop)


def create(layer: Layer, grid: Grid) -> None:
    """Make a layer's empty scratch GeoTIFF: tiled, by band.

    Not compressed: with noisy DN, ZSTD 1 took four times as long to write and ten times to build overviews. And space
    that is known beforehand can be checked beforehand.
    """
    profile = {
        "driver": "GTiff", "width": grid.width, "height": grid.height, "count": layer.array.shape[0],
        "dtype": layer.array.dtype.name, "nodata": layer.nodata, "crs": grid.crs, "interleave": "band",
        "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "BIGTIFF": "YES", "SPARSE_OK": True,
    }  # fmt: skip
    if grid.georeferenced:
        profile["transform"] = grid.transform
    with opened(layer.path, "w", georeferenced=grid.georeferenced, **profile):
        pass


def add_overviews(layer: Layer, width: int, height: int) -> None:
    """Build a scratch file's overviews, halving until one block holds the scene.

    Raises:
        OSError: the disk is full or fails.
        rasterio.errors.RasterioError: GDAL fails.
    """
    factors, factor = [], 1
    while max(width, height) > BLOCK * factor:
        factor *= 2
        factors.append(factor)
    if layer.overviews and factors:
        require_space(layer.path.parent, layer.size // 3)
        with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"), opened(layer.path, "r+") as dataset:
            dataset.build_overviews(factors, layer.resampling)


def require_space(folder: Path, size: int) -> None:
    """Notice a full disk before GDAL does, which also complains on stderr.

    Raises:
        OSError: less than `size` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE:
        text = f"{os.strerror(errno.ENOSPC)}: {(size + _SPARE) / 1e6:.1f} MB needed, {free / 1e6:.1f} MB free"
        raise OSError(errno.ENOSPC, text)
