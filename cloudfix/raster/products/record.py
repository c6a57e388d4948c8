"""What a product's reader finds: which file holds which band, and what the metadata say of the values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cloudfix.errors import SceneError
from cloudfix.raster.names import band_name, in_sensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudfix.errors import CloudfixError
    from cloudfix.sensors import Sensor


@dataclass(frozen=True)
class ProductFile:
    """One raster of a product.

    Attributes:
        path: as GDAL opens it.
        bands: names of its bands in order; none where the file itself has to tell.
        pixel: side of a pixel in metres, as far as the product says it.
    """

    path: str
    bands: tuple[str, ...] = ()
    pixel: float | None = None


@dataclass(frozen=True)
class Product:
    """A product before any of its rasters is opened.

    Attributes:
        name: the product's own name, such as that of its `.SAFE` folder.
        files: in the order of the bands; the same band may be there at several resolutions.
        sensor: what took it, or None where that is to be recognised.
        radiometry: by band name scale and offset, reflectance = DN * scale + offset, sun correction included;
            empty where the metadata do not say.
        tags: what else the metadata say, for the output's tags.
        sources: what on disk or on the network it is: a folder, an archive, an item, or the loose rasters.
    """

    name: str
    files: tuple[ProductFile, ...]
    sensor: Sensor | None = None
    radiometry: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    @property
    def named(self) -> bool:
        """Whether it is a product, and not just loose rasters whose bands are to be recognised."""
        return all(file.bands for file in self.files)

    def at(self, resolution: float | None) -> tuple[ProductFile, ...]:
        """One file for each band: the coarsest that still shows `resolution`, else the finest there is.

        So a product's own 20 m version of a 10 m band is taken for 20 m, and 20 m bands are what 10 m are made of.
        None stands for the finest.
        """
        chosen: dict[tuple[str, ...], ProductFile] = {}
        for file in self.files:
            other = chosen.get(file.bands)
            if other is None or _suits(file, resolution) > _suits(other, resolution):
                chosen[file.bands] = file
        return tuple(chosen.values())


def printable(product: Product) -> Product:
    """The same without characters in its texts that no message or tag can hold, such as half of a surrogate pair."""
    tags = {key: _printable(text) for key, text in product.tags.items()}
    return replace(product, name=_printable(product.name), tags=tags)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _suits(file: ProductFile, resolution: float | None) -> tuple[bool, float]:
    pixel = math.inf if file.pixel is None else file.pixel
    shows = resolution is not None and pixel <= resolution
    return shows, pixel if shows else -pixel


def select(product: Product, bands: Sequence[str], resolution: float | None) -> tuple[ProductFile, ...]:
    """The files of some bands, in their order.

    Raises:
        SceneError: the product has no such band.
    """
    by_name = {file.bands[0]: file for file in product.at(resolution) if len(file.bands) == 1}
    wanted = [in_sensor(band_name(band) or band, product.sensor) for band in bands]
    found = []
    for asked, (name, slot) in zip(bands, wanted, strict=True):
        file = by_name.get(name) or next((f for n, f in by_name.items() if slot and _slot(n, product) == slot), None)
        if file is None:
            raise SceneError(f"{product.name}: no band {asked}; it has {', '.join(by_name)}")
        found.append(file)
    return tuple(found)


def _slot(name: str, product: Product) -> str:
    return in_sensor(band_name(name) or name, product.sensor)[1]


def finite(text: object, name: str, title: str, error: type[CloudfixError]) -> float:
    """A number out of metadata.

    Raises:
        CloudfixError: as `error`: it is none, or not finite.
    """
    try:
        value = float(str(text))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise error(f"{title}: {name} is {str(text)[:40]!r}, where a number was expected; download the metadata again")
    return value


def of_sensor(names: Iterable[str], sensor: Sensor) -> tuple[str, ...]:
    """Those bands that fill a slot or hold the product's classes, in the sensor's order."""
    present = set(names)
    return tuple(name for name in (*sensor.slots, *sensor.quality_bands) if name in present)
