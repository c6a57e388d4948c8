"""Miniature products with the real folders, names and metadata, from which GDAL's own drivers read them too."""

from __future__ import annotations

import json
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.transform import from_origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
S2_NATIVE = dict.fromkeys(("B02", "B03", "B04", "B08"), 10) | dict.fromkeys(("B01", "B09", "B10"), 60)
S2_RESOLUTIONS = {band: S2_NATIVE.get(band, 20) for band in S2_BANDS}
L2A_FILES = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12", "SCL"),
    60: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12", "SCL"),
}

S2_L1C = "S2A_MSIL1C_20200527T100031_N0209_R122_T33UUB_20200527T120716"
S2_L2A = "S2B_MSIL2A_20230818T100029_N0509_R122_T33UUB_20230818T131153"
S2_TILE = "T33UUB"
S2_CRS = "EPSG:32633"
S2_CORNER = (300_000.0, 5_700_000.0)

L8_L1 = "LC08_L1TP_191025_20230818_20230826_02_T1"
L8_L2 = "LC08_L2SP_191025_20230818_20230826_02_T1"
L8_SUN = 48.51326012
L8_CORNER = (299_985.0, 5_700_015.0)

S1_RTC = "S1A_IW_20230817T165923_DVP_RTC30_G_gpuned_4F2B"
S1_GRD = "S1A_IW_GRDH_1SDV_20230817T165923_20230817T165948_049917_060129_3A5F"


def ground(band: int, pixel: float, height: int, width: int) -> NDArray[np.uint16]:
    """DN of a plane that rises to the east and falls to the south: any resolution shows the same ground."""
    row, column = ((np.arange(length) + 0.5) * pixel / 10 for length in (height, width))
    return np.round(1500 + 100 * band + 2 * column[None] - row[:, None]).astype("uint16")


def sentinel2(
    folder: Path, *, level: str = "L1C", offset: int | None = None, side: int = 20, bands: Iterable[str] = S2_BANDS
) -> Path:
    """A `.SAFE` folder.

    Args:
        folder: where it comes to lie.
        level: L1C or L2A.
        offset: RADIO_ADD_OFFSET or BOA_ADD_OFFSET of all bands; None is a product from before baseline 04.00.
        side: of the scene in pixels of 60 m.
        bands: those that are there.
    """
    product = S2_L1C if level == "L1C" else S2_L2A
    baseline = "N0209" if offset is None else "N0509"
    product = product.replace(product.split("_")[3], baseline)
    safe = folder / f"{product}.SAFE"
    start = product.split("_")[2]
    granule = safe / "GRANULE" / f"{level}_{S2_TILE}_A025743_{start}"
    names = []
    for resolution, band in _images(level, bands):
        suffix = f"_{resolution}m" if level == "L2A" else ""
        home = granule / "IMG_DATA" / (f"R{resolution}m" if level == "L2A" else "")
        path = home / f"{S2_TILE}_{start}_{band}{suffix}.jp2"
        _jpeg2000(path, _sentinel2_values(band, resolution, side), resolution)
        names.append(str(path.relative_to(safe).with_suffix("")))
    (safe / f"MTD_MSI{level}.xml").write_text(_product_xml(product, level, baseline, offset, names, granule.name))
    (granule / "MTD_TL.xml").write_text(_tile_xml(level, side))
    (safe / "manifest.safe").write_text('<?xml version="1.0" encoding="UTF-8"?>\n<xfdu:XFDU xmlns:xfdu="urn:x"/>\n')
    return safe


def _images(level: str, bands: Iterable[str]) -> list[tuple[int, str]]:
    if level == "L1C":
        return [(S2_RESOLUTIONS[band], band) for band in S2_BANDS if band in set(bands)]
    wanted = {*bands, "SCL"}
    return [(resolution, band) for resolution, found in L2A_FILES.items() for band in found if band in wanted]


def _sentinel2_values(band: str, resolution: int, side: int) -> NDArray[Any]:
    pixels = side * 60 // resolution
    if band != "SCL":
        return ground(S2_BANDS.index(band), resolution, pixels, pixels)
    classes = np.full((pixels, pixels), 4, "uint8")
    classes[: pixels // 4, : pixels // 4] = 9
    return classes


def _jpeg2000(path: Path, values: NDArray[Any], pixel: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    profile = {
        "driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES", "BLOCKXSIZE": 1024, "BLOCKYSIZE": 1024,
        "crs": S2_CRS, "transform": from_origin(*S2_CORNER, pixel, pixel), "dtype": values.dtype.name,
    }  # fmt: skip
    with rasterio.open(path, "w", count=1, height=height, width=width, **profile) as out:
        out.write(values, 1)


def _product_xml(product: str, level: str, baseline: str, offset: int | None, names: list[str], granule: str) -> str:
    number = f"{baseline[1:3]}.{baseline[3:]}"
    files = "".join(f"<IMAGE_FILE>{name}</IMAGE_FILE>" for name in names)
    prefix = "RADIO" if level == "L1C" else "BOA"
    holder = "Radiometric_Offset_List" if level == "L1C" else "BOA_ADD_OFFSET_VALUES_LIST"
    offsets = "".join(
        f'<{prefix}_ADD_OFFSET band_id="{index}">{offset}</{prefix}_ADD_OFFSET>' for index in range(len(S2_BANDS))
    )
    quantification = (
        '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>'
        if level == "L1C"
        else '<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>'
        '<AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>'
    )
    physical = "".join(
        f'<Spectral_Information bandId="{index}" physicalBand="{band.replace("B0", "B")}">'
        f"<RESOLUTION>{S2_RESOLUTIONS[band]}</RESOLUTION></Spectral_Information>"
        for index, band in enumerate(S2_BANDS)
    )
    start = product.split("_")[2]
    time = f"{start[:4]}-{start[4:6]}-{start[6:8]}T{start[9:11]}:{start[11:13]}:{start[13:]}.024Z"
    root = f"n1:Level-{level[1:]}_User_Product"
    kind = f"https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level[1:]}.xsd"
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<{root} xmlns:n1="{kind}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="{kind}">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>{time}</PRODUCT_START_TIME>
      <PRODUCT_STOP_TIME>{time}</PRODUCT_STOP_TIME>
      <PRODUCT_URI>{product}.SAFE</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-{level[1:]}</PROCESSING_LEVEL>
      <PRODUCT_TYPE>S2MSI{level[1:]}</PRODUCT_TYPE>
      <PROCESSING_BASELINE>{number}</PROCESSING_BASELINE>
      <Datatake datatakeIdentifier="G{product[:3]}_{start}_025743_{baseline[0]}{number}">
        <SPACECRAFT_NAME>Sentinel-2{product[2]}</SPACECRAFT_NAME>
        <SENSING_ORBIT_NUMBER>122</SENSING_ORBIT_NUMBER>
      </Datatake>
      <Query_Options completeSingleTile="true"><PRODUCT_FORMAT>SAFE_COMPACT</PRODUCT_FORMAT></Query_Options>
      <Product_Organisation><Granule_List>
        <Granule datastripIdentifier="S2_DS" granuleIdentifier="{granule}" imageFormat="JPEG2000">{files}</Granule>
      </Granule_List></Product_Organisation>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
      </Special_Values>
      <Special_Values>
        <SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX>
      </Special_Values>
      {quantification}
      {"" if offset is None else f"<{holder}>{offsets}</{holder}>"}
      <Reflectance_Conversion><U>0.97</U></Reflectance_Conversion>
      <Spectral_Information_List>{physical}</Spectral_Information_List>
    </Product_Image_Characteristics>
  </n1:General_Info>
  <n1:Quality_Indicators_Info>
    <Cloud_Coverage_Assessment>6.25</Cloud_Coverage_Assessment>
  </n1:Quality_Indicators_Info>
</{root}>
"""


def _tile_xml(level: str, side: int) -> str:
    sizes = "".join(
        f'<Size resolution="{r}"><NROWS>{side * 60 // r}</NROWS><NCOLS>{side * 60 // r}</NCOLS></Size>'
        f'<Geoposition resolution="{r}"><ULX>{S2_CORNER[0]:.0f}</ULX><ULY>{S2_CORNER[1]:.0f}</ULY>'
        f"<XDIM>{r}</XDIM><YDIM>-{r}</YDIM></Geoposition>"
        for r in (10, 20, 60)
    )
    root = f"n1:Level-{level[1:]}_Tile_ID"
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<{root} xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-{level[1:]}_Tile_Metadata.xsd">
  <n1:Geometric_Info>
    <Tile_Geocoding metadataLevel="Brief">
      <HORIZONTAL_CS_NAME>WGS84 / UTM zone 33N</HORIZONTAL_CS_NAME>
      <HORIZONTAL_CS_CODE>{S2_CRS}</HORIZONTAL_CS_CODE>
      {sizes}
    </Tile_Geocoding>
  </n1:Geometric_Info>
</{root}>
"""


def landsat(folder: Path, *, level: int = 1, mtl: Iterable[str] = ("txt",), height: int = 60, width: int = 80) -> Path:
    """A folder of a Landsat-8 Collection 2 product, with the bands of real ones, and its MTL in some formats."""
    product = L8_L1 if level == 1 else L8_L2
    home = folder / product
    home.mkdir(parents=True)
    names = (
        [f"B{n}" for n in (*range(1, 8), 9, 10, 11)] if level == 1 else [f"SR_B{n}" for n in range(1, 8)] + ["ST_B10"]
    )
    for position, name in enumerate(names):
        _landsat_tif(home / f"{product}_{name}.TIF", ground(position, 30, height, width) + 7000, 30)
    quality = np.full((height, width), 21824, "uint16")
    quality[:10, :15] = 22280
    _landsat_tif(home / f"{product}_QA_PIXEL.TIF", quality, 30, nodata=1)
    _landsat_tif(home / f"{product}_QA_RADSAT.TIF", np.zeros((height, width), "uint16"), 30, nodata=None)
    if level == 1:
        _landsat_tif(home / f"{product}_B8.TIF", ground(7, 15, 2 * height, 2 * width) + 7000, 15)
    for form in mtl:
        (home / f"{product}_MTL.{form}").write_text(mtl_text(level, form))
    return home


def _landsat_tif(path: Path, values: NDArray[Any], pixel: float, nodata: int | None = 0) -> None:
    height, width = values.shape
    profile = {
        "driver": "GTiff", "crs": S2_CRS, "transform": from_origin(*L8_CORNER, pixel, pixel), "nodata": nodata,
        "dtype": "uint16", "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", count=1, height=height, width=width, **profile) as out:
        out.write(values.astype("uint16"), 1)
        out.update_tags(AREA_OR_POINT="Point")


def mtl_groups(level: int) -> dict[str, dict[str, str]]:
    """The groups of an MTL file that matter, in the order of real ones."""
    product = L8_L1 if level == 1 else L8_L2
    bands = (*range(1, 8), 9)
    level1 = {f"REFLECTANCE_MULT_BAND_{n}": "2.0000E-05" for n in bands}
    level1 |= {f"REFLECTANCE_ADD_BAND_{n}": "-0.100000" for n in bands}
    level2 = {f"REFLECTANCE_MULT_BAND_{n}": "2.75e-05" for n in range(1, 8)}
    level2 |= {f"REFLECTANCE_ADD_BAND_{n}": "-0.2" for n in range(1, 8)}
    groups = {
        "PRODUCT_CONTENTS": {
            "ORIGIN": "Image courtesy of the U.S. Geological Survey",
            "LANDSAT_PRODUCT_ID": product,
            "PROCESSING_LEVEL": "L1TP" if level == 1 else "L2SP",
            "COLLECTION_NUMBER": "02",
        },
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": "LANDSAT_8",
            "SENSOR_ID": "OLI_TIRS",
            "DATE_ACQUIRED": "2023-08-18",
            "SCENE_CENTER_TIME": "09:58:21.8452840Z",
            "CLOUD_COVER": "31.94",
            "SUN_ELEVATION": f"{L8_SUN:.8f}",
        },
    }
    if level == 2:
        groups["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"] = level2
    return groups | {"LEVEL1_RADIOMETRIC_RESCALING": level1}


def mtl_text(level: int, form: str) -> str:
    """An MTL file as txt, json or xml."""
    groups = mtl_groups(level)
    if form == "json":
        return json.dumps({"LANDSAT_METADATA_FILE": groups}, indent=2)
    if form == "xml":
        inner = "".join(
            f"  <{name}>\n" + "".join(f"    <{k}>{v}</{k}>\n" for k, v in group.items()) + f"  </{name}>\n"
            for name, group in groups.items()
        )
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<LANDSAT_METADATA_FILE>\n{inner}</LANDSAT_METADATA_FILE>\n'
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for name, group in groups.items():
        lines.append(f"  GROUP = {name}")
        lines += [f"    {key} = {_odl(value)}" for key, value in group.items()]
        lines.append(f"  END_GROUP = {name}")
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])


def _odl(value: str) -> str:
    plain = value.replace(".", "").replace("-", "").replace("e", "").replace("E", "").isdigit()
    return value if plain else f'"{value}"'


def sentinel1_rtc(folder: Path, *, pixel: float = 30, height: int = 60, width: int = 80) -> Path:
    """A folder as ASF HyP3 delivers terrain-corrected gamma nought in linear power."""
    home = folder / S1_RTC
    home.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for name, level in (("VV", 0.1), ("VH", 0.02), ("inc_map", 0.7), ("dem", 250.0)):
        values = (level * rng.gamma(4, 0.25, (height, width))).astype("float32")
        profile = {
            "driver": "GTiff", "crs": S2_CRS, "transform": from_origin(*S2_CORNER, pixel, pixel),
            "dtype": "float32", "nodata": 0,
        }  # fmt: skip
        with rasterio.open(home / f"{S1_RTC}_{name}.tif", "w", count=1, height=height, width=width, **profile) as out:
            out.write(values, 1)
    (home / f"{S1_RTC}.README.md.txt").write_text("ASF RTC data package\n")
    return home


def sentinel1_grd(folder: Path) -> Path:
    """A `.SAFE` folder of a GRD as ESA delivers it: DN in radar geometry, with ground control points only."""
    safe = folder / f"{S1_GRD}.SAFE"
    measurement = safe / "measurement"
    measurement.mkdir(parents=True)
    (safe / "manifest.safe").write_text('<?xml version="1.0" encoding="UTF-8"?>\n<xfdu:XFDU xmlns:xfdu="urn:x"/>\n')
    points = [GroundControlPoint(r, c, 12 + c / 1e3, 51 - r / 1e3, 200) for r in (0, 30, 60) for c in (0, 40, 80)]
    for name in ("vv", "vh"):
        path = measurement / f"s1a-iw-grd-{name}-20230817t165923-20230817t165948-049917-060129-001.tiff"
        profile = {"driver": "GTiff", "dtype": "uint16", "gcps": points, "crs": "EPSG:4326"}
        with rasterio.open(path, "w", count=1, height=60, width=80, **profile) as out:
            out.write(np.random.default_rng(2).integers(20, 900, (60, 80)).astype("uint16"), 1)
    return safe


def stac_item(path: Path, assets: Mapping[str, Mapping[str, Any]], properties: Mapping[str, Any], **more: Any) -> Path:
    """A STAC item with these assets."""
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": path.stem, "geometry": None, "links": [],
        "properties": {"datetime": "2023-08-18T10:00:29Z", **properties}, "assets": assets,
    }  # fmt: skip
    path.write_text(json.dumps(item | more))
    return path


def zipped(folder: Path) -> Path:
    """The folder as Copernicus hands it out: one `.zip` with the folder in it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return path


def tarred(folder: Path) -> Path:
    """The folder as the USGS hands it out: a `.tar` of its files."""
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)
    return path
