"""A VRT that makes scratch files one dataset with all its metadata, for GDAL's COG driver to copy."""

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
    """One band: the scratch file and its band (from 1) that hold the pixels, and what it says of itself."""

    path: Path
    index: int
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
    nodata: float | None,
    tags: Mapping[str, str],
) -> None:
    """Write a VRT beside the files it refers to; their overviews become its own."""
    root = ET.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    for position, band in enumerate(bands, start=1):
        element = ET.SubElement(root, "VRTRasterBand", dataType=_GDAL_TYPES[dtype], band=str(position))
        source = ET.SubElement(element, "SimpleSource")
        ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = band.path.name
        ET.SubElement(source, "SourceBand").text = str(band.index)
    path.write_bytes(ET.tostring(root))
    with opened(path, "r+") as dataset:
        _describe(dataset, grid, bands)
        dataset.nodata = nodata
        # Without a reference system GDAL would make up a local one to hold this.
        dataset.update_tags(**{key: text for key, text in tags.items() if grid.crs or key != "AREA_OR_POINT"})


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
