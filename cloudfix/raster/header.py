"""One raster file's header: all that is known of it before a pixel is read."""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from cloudfix.errors import CloudfixError, SceneError
from cloudfix.raster.checks import check_complete, check_path, check_shape
from cloudfix.raster.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasterio.crs import CRS

_QUIET = threading.Lock()


@dataclass(frozen=True)
class Header:
    """What a file says of itself. Per-band tuples are in band order; an empty string stands for no text.

    A block is (rows, columns), a stamp the size in bytes and the time of modification.
    """

    path: str
    driver: str
    grid: Grid
    block: tuple[int, int]
    stamp: tuple[int, int]
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    descriptions: tuple[str, ...]
    colorinterp: tuple[str, ...]
    tags: dict[str, str]
    band_tags: tuple[dict[str, str], ...]
    masked: bool
    """Whether a mask or an alpha band, not a value, tells where there is no data."""

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)


@contextmanager
def opened(path: str | Path, mode: str = "r", *, georeferenced: bool = False, **options: Any) -> Iterator[Any]:
    """Open a file, without rasterio's own warning about files that lie nowhere.

    Args:
        path: a local file.
        mode: as `rasterio.open` takes it.
        georeferenced: whether it is known to lie somewhere; then no warning has to be held back.
        options: for `rasterio.open`.
    """
    if georeferenced:
        dataset = rasterio.open(path, mode, **options)
    else:
        # `catch_warnings` swaps the process's filters: two threads at once could leave the wrong ones behind.
        with _QUIET, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(path, mode, **options)
    with dataset:
        yield dataset


def read_header(source: str | Path, error: type[CloudfixError] = SceneError) -> Header:
    """Read and check a file's header.

    Raises:
        CloudfixError: as `error`: no such file, not a raster, truncated, or nothing that can be a scene.
    """
    path = Path(source)
    check_path(path, error)
    try:
        with opened(str(path)) as dataset:
            check_shape(path, dataset.width, dataset.height, dataset.dtypes, error)
            check_complete(path, dataset, error=error)
            return _header(path, dataset)
    except RasterioIOError:
        raise error(f"{path}: {_unreadable(path)}") from None


def _unreadable(path: Path) -> str:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return "damaged or truncated TIFF (its directory cannot be read); download or copy the file again"
    return "not a raster that GDAL can read; a GeoTIFF, COG, VRT or JPEG2000 was expected"


def _on_earth(crs: CRS | None) -> CRS | None:
    """None for the local, unnamed systems that GDAL makes of files which only say what a pixel means."""
    return crs if crs is not None and (crs.is_geographic or crs.is_projected) else None


def _header(path: Path, dataset: Any) -> Header:
    stat = path.stat()
    return Header(
        path=str(path),
        driver=dataset.driver,
        grid=Grid(_on_earth(dataset.crs), dataset.transform, dataset.height, dataset.width),
        block=tuple(dataset.block_shapes[0]),
        stamp=(stat.st_size, stat.st_mtime_ns),
        dtypes=tuple(dataset.dtypes),
        nodata=tuple(dataset.nodatavals),
        scales=tuple(dataset.scales),
        offsets=tuple(dataset.offsets),
        descriptions=tuple(text or "" for text in dataset.descriptions),
        colorinterp=tuple(interp.name for interp in dataset.colorinterp),
        tags=dict(dataset.tags()),
        band_tags=tuple(dict(dataset.tags(index)) for index in dataset.indexes),
        masked=not {MaskFlags.all_valid, MaskFlags.nodata} & set(dataset.mask_flag_enums[0]),
    )
