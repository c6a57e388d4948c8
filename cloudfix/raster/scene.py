"""`open_scene`: a lazy DataArray in the file's own DN, with what is needed to turn it into reflectance."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cloudfix import sensors
from cloudfix.errors import CloudfixWarning, SceneError, UsageError
from cloudfix.raster.assembly import Assembly, assemble
from cloudfix.raster.checks import check_values
from cloudfix.raster.chunks import natural_chunks
from cloudfix.raster.contradiction import check_product, check_tags
from cloudfix.raster.grid import place
from cloudfix.raster.header import Header, read_header
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.location import absolute, gdal_name
from cloudfix.raster.products import Product, find_scene, select
from cloudfix.raster.radiometry import Radiometry, radiometry
from cloudfix.raster.recognise import Recognised, recognise, title_of
from cloudfix.raster.sample import ValueRange, probe_windows, sample_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudfix.raster.source import FileArray


def open_scene(
    source: str | Path | Sequence[str | Path],
    *,
    sensor: str | None = None,
    bands: Sequence[str] | None = None,
    chunks: int | None = None,
    resolution: float | None = None,
    allow_remote: bool = False,
) -> xr.DataArray:
    """Open a scene lazily, recognise its sensor and bands, and check that it can be what it seems.

    Of a product, the metadata say what it is. Sensor and bands of loose rasters are taken from `sensor` and `bands`,
    else from tags, names and descriptions, and only then from the number of bands. What is assumed is said in a
    `CloudfixWarning`.

    Args:
        source: a product: a Sentinel-2 `.SAFE` or a Landsat Collection 2 folder, a `.zip` or `.tar` of one, the
            metadata file in it, or a STAC item, file or URL. Or a multi-band raster (GeoTIFF, COG, VRT, JPEG2000), or
            the files of its bands.
        sensor: one of `sensors.SENSORS`, where nothing tells it.
        bands: the names of a raster's bands in order ("B02", "SR_B2", "red", …), where they are not to be recognised;
            of a product, the bands to take.
        chunks: rows and columns of a dask chunk; default about 512 each, in whole blocks of the file, and strips as
            wide as the scene for a file in strips.
        resolution: side of a pixel in map units; default that of the finest band with a slot. Finer bands are averaged,
            coarser ones interpolated, classes take the nearest value.
        allow_remote: read what is not on disk: https://, s3://, gs://, az:// and GDAL's /vsi….

    Returns:
        DN (band, y, x) in the file's dtype, with the coordinates `band` (names), `y`, `x` and `spatial_ref`,
        and the attributes of `SceneInfo` besides those that `write_cog` needs to keep the file's metadata. Attribute
        "source" holds what was named, "files" the rasters that are read, and "product" the product's name or None.

    Raises:
        SceneError: the files cannot be read, do not fit together, or are not what they should be.
        UsageError: `sensor` is unknown, or `chunks` or `resolution` is not positive.
    """
    if chunks is not None and chunks < 1:
        raise UsageError(f"chunks {chunks}: expected a positive number of pixels")
    if resolution is not None and not 0 < resolution < math.inf:
        raise UsageError(f"--resolution {resolution:g}: expected a positive side of a pixel, in metres or map units")
    if sensor is not None:
        sensors.get(sensor)
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    if not sources:
        raise SceneError("no files given; name a raster, a product, or the files of its bands")
    product = find_scene(sources, allow_remote=allow_remote)
    parts = _read_parts(product, sensor, bands, resolution, allow_remote=allow_remote)
    scene = _describe(parts, assemble(parts.headers, parts.found, parts.title, resolution), chunks)
    scene.attrs["resolution"] = resolution
    for note in scene.attrs["notes"]:
        warnings.warn(note, CloudfixWarning, stacklevel=2)
    return scene


def scenes_of(files: Sequence[str | Path], *, allow_remote: bool = False) -> list[list[str | Path]]:
    """Sort files into scenes: those of a single band are one scene together, any other is one by itself.

    A file that cannot be read is a scene by itself too, so that opening it says why.
    """
    single = [file for file in files if _band_count(file, allow_remote=allow_remote) == 1]
    together = [single] if single else []
    return together + [[file] for file in files if file not in single]


def _band_count(file: str | Path, *, allow_remote: bool) -> int:
    try:
        name = gdal_name(file, SceneError, allow_remote=allow_remote)
        return read_header(name, allow_remote=allow_remote).count
    except SceneError:
        return 0


def reopen(scene: xr.DataArray, chunks: tuple[int, int]) -> xr.DataArray:
    """The files that a scene was made from, as it was opened, without saying anything twice.

    Args:
        scene: made of the result of `open_scene`.
        chunks: rows and columns of a dask chunk.

    Raises:
        SceneError: the scene is not from files, or they are gone.
    """
    attrs = scene.attrs
    if not attrs.get("files"):
        raise SceneError("scene: not opened from files, so that nothing tells its input; pass that as before=")
    # What was opened once was allowed to be.
    headers = [read_header(item, allow_remote=True) for item in attrs["files"]]
    sensor = sensors.get(attrs["sensor"]) if attrs["sensor"] else None
    found = Recognised(sensor, tuple(attrs["bands"]), tuple(attrs["slots"]), attrs["quality_band"], ())
    array = assemble(headers, found, title_of(headers), attrs["resolution"]).array
    return _data_array(array, attrs, chunks)


@dataclass(frozen=True)
class _Parts:
    """A scene's files, and what they are."""

    product: Product
    headers: tuple[Header, ...]
    found: Recognised

    @property
    def title(self) -> str:
        return self.product.name if self.product.named else title_of(self.headers)

    def radiometry(self) -> Radiometry | None:
        """What the product's metadata say, if they say it of all bands."""
        stated, found = self.product.radiometry, self.found
        bands = list(zip(found.names, found.slots, strict=True))
        if any(slot and name not in stated for name, slot in bands):
            return None
        scale, offset = zip(*(stated[name] if slot else (1.0, 0.0) for name, slot in bands), strict=True)
        return Radiometry(scale, offset)


def _read_parts(
    product: Product,
    sensor: str | None,
    bands: Sequence[str] | None,
    resolution: float | None,
    *,
    allow_remote: bool,
) -> _Parts:
    if not product.named:
        headers = [read_header(file.path, allow_remote=allow_remote) for file in product.files]
        if sensor:
            check_tags(title_of(headers), sensor, headers[0])
        return _Parts(product, tuple(headers), recognise(headers, sensor, bands))
    files = product.at(resolution) if bands is None else select(product, bands, resolution)
    headers = [read_header(file.path, allow_remote=allow_remote) for file in files]
    for file, header in zip(files, headers, strict=True):
        if len(file.bands) != header.count:
            raise SceneError(
                f"{header.title}: {header.count} bands, where {product.name} has {', '.join(file.bands)} in it; "
                "download it again"
            )
    names = [name for file in files for name in file.bands]
    own = product.sensor.name if product.sensor else None
    if sensor and own:
        check_product(product.name, sensor, own)
    known = sensor or own
    return _Parts(product, tuple(headers), recognise(headers, known, names))


def _describe(parts: _Parts, made: Assembly, chunks: int | None) -> xr.DataArray:
    found, array = parts.found, made.array
    known = parts.radiometry()
    sampled = _sample(array, found, made.nodata, offset_known=known is not None)
    notes = [*found.notes, *made.notes]
    if found.sensor is not None:
        spectral = [index for index, slot in enumerate(found.slots) if slot]
        dark = check_values(parts.title, found.sensor, array.dtype, sampled, spectral)
        notes += [dark] if dark else []
    values = known or radiometry(parts.headers, found, sampled)
    info = SceneInfo(
        sensor=found.sensor.name if found.sensor else None,
        slots=found.slots,
        scale=values.scale,
        offset=values.offset,
        nodata=made.nodata,
        saturated=_saturated(found, array.dtype),
        quality_band=found.quality_band,
        notes=(*notes, *values.notes),
    )
    shape = natural_chunks(made.block, array.grid.width) if chunks is None else (chunks, chunks)
    return _data_array(array, info.to_attrs() | _file_attrs(parts, made), shape)


def _sample(array: FileArray, found: Recognised, nodata: float | None, *, offset_known: bool) -> ValueRange:
    """Look at values until neither 8-bit data, reflectance nor an unstated offset of +1000 are possible any more."""
    spectral = [index for index, slot in enumerate(found.slots) if slot]

    def settled(seen: ValueRange) -> bool:
        highs, lows = np.array(seen.high)[spectral], np.array(seen.low)[spectral]
        return bool((np.nan_to_num(highs) > 255).any() and (offset_known or (lows < 900).any()))

    return sample_range(array.read, probe_windows(*array.shape[1:]), nodata, settled)


def _saturated(found: Recognised, dtype: np.dtype[Any]) -> float | None:
    value = found.sensor.saturated if found.sensor else None
    return float(value) if value is not None and dtype.kind in "iu" and value <= np.iinfo(dtype).max else None


def _data_array(array: FileArray, attrs: dict[str, Any], chunks: tuple[int, int]) -> xr.DataArray:
    lazy = array.lazy((-1, *chunks))
    scene = xr.DataArray(lazy, dims=("band", "y", "x"), coords={"band": attrs["bands"]}, attrs=attrs, name="scene")
    return place(scene, array.grid)


def _file_attrs(parts: _Parts, made: Assembly) -> dict[str, Any]:
    """What the files and the product say of themselves, for `write_cog` to keep."""
    headers, product = parts.headers, parts.product
    descriptions = [text for header in headers for text in header.descriptions]
    if product.named or len(headers) > 1:
        descriptions = [text or name for text, name in zip(descriptions, parts.found.names, strict=True)]
    declared = [value for header in headers for value in header.nodata]
    stated = next((value for value in declared if value is not None), None)
    colours = [name for header in headers for name in header.colorinterp]
    # An alpha band comes along and says it anew, a mask does not.
    unsaid = any(file.hidden is not None for file in made.array.files) and "alpha" not in colours
    own = {"CLOUDFIX_PRODUCT": product.name} if product.named else {}
    return {
        "bands": list(parts.found.names),
        "tags": headers[0].tags | product.tags | own,
        "band_tags": [dict(tags) for header in headers for tags in header.band_tags],
        "descriptions": descriptions,
        "colorinterp": colours,
        "file_nodata": made.nodata if stated is None and unsaid else stated,
        "file_scales": [value for header in headers for value in header.scales],
        "file_offsets": [value for header in headers for value in header.offsets],
        "files": [absolute(header.path) for header in headers],
        "source": list(product.sources),
        "product": product.name if product.named else None,
    }
