"""A VRT without pixels, with all that a dataset says of itself, for GDAL's COG driver to copy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from rasterio.enums import ColorInterp

from cloudfix.raster.header import opened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cloudfix.raster.grid import Grid

_GDAL_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32",
    "int32": "Int32", "uint64": "UInt64", "int64": "Int64", "float32": "Float32", "float64": "Float64",
}  # fmt: skip


@dataclass(frozen=True)
class VrtBand:
    """What one band says of itself."""

    description: str = ""
    colorinterp: str = "undefined"
    scale: float = 1.0
    offset: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict)


def write_vrt(
    path: Path,
    grid: Grid,
    dtype: str,
    bands: Sequence[VrtBand],
    *,
    sides: Sequence[tuple[int, int]],
    nodata: float | None,
    tags: Mapping[str, str],
) -> None:
    """Write a VRT, and one beside it for each of its overviews, whose rows and columns are `sides`."""
    overviews = [path.with_name(f"{path.stem}-{number}.vrt") for number in range(len(sides))]
    for overview, (height, width) in zip(overviews, sides, strict=True):
        overview.write_bytes(_empty(height, width, dtype, len(bands)))
    path.write_bytes(_empty(grid.height, grid.width, dtype, len(bands), overviews))
    with opened(path, "r+") as dataset:
        _describe(dataset, grid, bands)
        dataset.nodata = nodata
        # Without a reference system GDAL would make up a local one to hold this.
        dataset.update_tags(**{key: text for key, text in tags.items() if grid.crs or key != "AREA_OR_POINT"})


def _empty(height: int, width: int, dtype: str, count: int, overviews: Sequence[Path] = ()) -> bytes:
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    for band in range(1, count + 1):
        element = ET.SubElement(root, "VRTRasterBand", dataType=_GDAL_TYPES[dtype], band=str(band))
        for overview in overviews:
            source = ET.SubElement(element, "Overview")
            ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = overview.name
            ET.SubElement(source, "SourceBand").text = str(band)
    return ET.tostring(root)


def _describe(dataset: Any, grid: Grid, bands: Sequence[VrtBand]) -> None:
    if grid.georeferenced:
        dataset.transform = grid.transform
    if grid.crs is not None:
        dataset.crs = grid.crs
    dataset.colorinterp = [ColorInterp[band.colorinterp] for band in bands]
    dataset.scales = [band.scale for band in bands]
    dataset.offsets = [band.offset for band in bands]
    for position, band in enumerate(bands, start=1):
        if band.description:
            dataset.set_band_description(position, band.description)
        dataset.update_tags(position, **band.tags)
