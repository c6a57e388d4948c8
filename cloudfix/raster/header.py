"""One raster file's header: all that is known of it before a pixel is read."""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError

from cloudfix.errors import CloudfixError, SceneError
from cloudfix.raster.checks import check_blocks, check_path, check_shape
from cloudfix.raster.complete import check_complete
from cloudfix.raster.grid import Grid
from cloudfix.raster.location import absolute, is_virtual, on_disk, over_network, shown
from cloudfix.raster.vrt_sources import is_vrt, sources_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasterio.crs import CRS

_DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG", "HFA", "ENVI")
"""Formats of images that hold their pixels themselves. Others of GDAL's fetch, unpack or interpret something."""

_NETWORK = {
    # Else it would list the whole folder, for files beside the raster.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
}

UNREADABLE = (RasterioError, CRSError, CPLE_BaseError)
"""What rasterio raises about a damaged file: of GDAL's own errors some, at places, come through as they are."""

_QUIET = threading.Lock()


@dataclass(frozen=True)
class Header:
    """What a file says of itself. Per-band tuples are in band order; an empty string stands for no text.

    A path is as `location.gdal_name` gives it, a block (rows, columns), a stamp the size in bytes and the time of
    modification of the file on disk, zeros for a remote one.
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
    in_radar_geometry: bool = False
    """Whether only ground control points, and no grid, tell where it lies."""

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)

    @property
    def title(self) -> str:
        """What messages call the file."""
        return shown(self.path)


@contextmanager
def opened(path: str | Path, mode: str = "r", *, georeferenced: bool = False, **options: Any) -> Iterator[Any]:
    """Open a file, without rasterio's own warning about files that lie nowhere.

    Args:
        path: as `location.gdal_name` gives it.
        mode: as `rasterio.open` takes it.
        georeferenced: whether it is known to lie somewhere; then no warning has to be held back.
        options: for `rasterio.open`.
    """
    # An absolute name is a file's to GDAL, never one that a driver of its own answers to ("NETCDF:…").
    name = absolute(str(path))
    with rasterio.Env(**_NETWORK) if over_network(name) else nullcontext():
        if georeferenced:
            dataset = rasterio.open(name, mode, **options)
        else:
            # `catch_warnings` swaps the process's filters: two threads at once could leave the wrong ones behind.
            with _QUIET, warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                dataset = rasterio.open(name, mode, **options)
        with dataset:
            yield dataset


def read_header(source: str | Path, error: type[CloudfixError] = SceneError, *, allow_remote: bool = False) -> Header:
    """Read and check a file's header.

    Args:
        source: a raster, as `location.gdal_name` gives it.
        error: what is raised about it.
        allow_remote: whether it, or what a VRT is made of, may be on the network.

    Raises:
        CloudfixError: as `error`: no such file, not a raster, truncated, or nothing that can be a scene.
    """
    name = str(source)
    if not is_virtual(name):
        check_path(Path(name), error)
    elif on_disk(name) is None and not allow_remote:
        raise error(f"{shown(name)}: is not a file on disk; --allow-remote (allow_remote=True) reads from the network")
    driver = "VRT" if is_vrt(name) else _driver_of(name)
    if driver == "VRT":
        _check_sources(name, error, allow_remote=allow_remote)
    try:
        with opened(name, driver=driver) as dataset:
            check_shape(shown(name), dataset.width, dataset.height, dataset.dtypes, error)
            check_blocks(name, dataset, error)
            check_complete(name, dataset, error)
            if dataset.transform.is_degenerate:
                raise error(f"{shown(name)}: its pixels have no area on the ground; the file is damaged")
            return _header(name, dataset)
    except UNREADABLE as reason:
        raise error(f"{shown(name)}: {_unreadable(name, reason)}") from None


def _driver_of(name: str) -> str:
    """The format of a file by its content; the first of all where it is none of them, so that opening says why."""
    for driver in _DRIVERS:
        try:
            with opened(name, driver=driver):
                return driver
        except UNREADABLE:
            continue
    return _DRIVERS[0]


def _check_sources(vrt: str, error: type[CloudfixError], *, allow_remote: bool) -> None:
    """Refuse a VRT of anything but rasters that could be given themselves."""
    for source in sources_of(Path(vrt), error, allow_remote=allow_remote):
        try:
            with opened(source, driver=_driver_of(source)):
                pass
        except UNREADABLE:
            raise error(
                f"{vrt}: is made of {shown(source)[:200]}, which is no GeoTIFF or JPEG2000 on its own; make it of those"
            ) from None


def _unreadable(name: str, reason: Exception) -> str:
    path = Path(name)
    if is_virtual(name):
        return f"cannot be opened as a GeoTIFF, COG or JPEG2000 ({' '.join(str(reason).split())[:200]})"
    with path.open("rb") as file:
        magic = file.read(4)
    if magic in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return "damaged or truncated TIFF (its directory cannot be read); download or copy the file again"
    return "not a raster that GDAL can read; a GeoTIFF, COG, VRT or JPEG2000 was expected"


def _on_earth(crs: CRS | None) -> CRS | None:
    """None for the local, unnamed systems that GDAL makes of files which only say what a pixel means."""
    return crs if crs is not None and (crs.is_geographic or crs.is_projected) else None


def _stamp(name: str) -> tuple[int, int]:
    path = on_disk(name)
    if path is None:
        return 0, 0
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _header(name: str, dataset: Any) -> Header:
    grid = Grid(_on_earth(dataset.crs), dataset.transform, dataset.height, dataset.width)
    return Header(
        path=name,
        driver=dataset.driver,
        grid=grid,
        block=tuple(dataset.block_shapes[0]),
        stamp=_stamp(name),
        dtypes=tuple(dataset.dtypes),
        nodata=tuple(dataset.nodatavals),
        scales=tuple(dataset.scales),
        offsets=tuple(dataset.offsets),
        descriptions=tuple(text or "" for text in dataset.descriptions),
        colorinterp=tuple(interp.name for interp in dataset.colorinterp),
        tags=dict(dataset.tags()),
        band_tags=tuple(dict(dataset.tags(index)) for index in dataset.indexes),
        masked=not {MaskFlags.all_valid, MaskFlags.nodata} & set(dataset.mask_flag_enums[0]),
        in_radar_geometry=bool(dataset.gcps[0]) and not grid.georeferenced,
    )
