"""Spectral slots, sensors and their radiometry: plain data and arithmetic, no I/O.

A *slot* is a band's role under its STAC common name, the same for every sensor. Models declare the slots that
they take; sensors say which of their bands fills which slot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from cloudfix.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOTS = (
    "coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078",
    "nir", "nir08", "nir09", "cirrus", "swir16", "swir22",
)  # fmt: skip
"""The multispectral slots in the order of Sentinel-2 L1C's 13 bands."""

SAR_SLOTS = ("vv", "vh")
"""The radar channels a model may take, in this order."""

STAND_INS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "coastal": ("blue",),
        "blue": ("green", "coastal"),
        "green": ("red", "blue"),
        "red": ("green",),
        "rededge071": ("red",),
        "rededge075": ("rededge078", "nir08", "nir"),
        "rededge078": ("nir08", "nir", "rededge075"),
        "nir": ("nir08", "rededge078"),
        "nir08": ("nir", "rededge078"),
        "nir09": ("nir08", "nir"),
        "cirrus": (),
        "swir16": ("swir22", "nir08", "nir"),
        "swir22": ("swir16", "nir08", "nir"),
    }
)
"""Spectrally nearest slots, nearest first: what a model is shown for a slot that the scene does not fill."""


@dataclass(frozen=True)
class Sensor:
    """One sensor at one processing level.

    Attributes:
        name: as `--sensor` takes it.
        title: as people write it.
        slots: band name to slot, in the order of the product's own stack; bands without a slot are absent.
        scale: reflectance = DN * scale + offset.
        offset: see `scale`.
        nodata: the DN that means "no data", or None.
        saturated: the DN that means "saturated", or None.
        quality_bands: names of bands that carry the product's own cloud classes.
        aliases: further names under which its bands are found, alias to band name.
        sun_corrected: False where reflectance still has to be divided by the sine of the sun elevation.
    """

    name: str
    title: str
    slots: Mapping[str, str]
    scale: float
    offset: float
    nodata: int | None
    saturated: int | None = None
    quality_bands: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    sun_corrected: bool = True


_S2_L1C = dict(
    zip(
        ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"),
        SLOTS,
        strict=True,
    )
)
_S2_L2A = {band: slot for band, slot in _S2_L1C.items() if band != "B10"}
_LANDSAT_SLOTS = {
    "B1": "coastal", "B2": "blue", "B3": "green", "B4": "red",
    "B5": "nir08", "B6": "swir16", "B7": "swir22",
}  # fmt: skip
_LANDSAT_L1 = {**_LANDSAT_SLOTS, "B9": "cirrus"}

SENTINEL_2_STACK_10 = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
"""The common stack of the 10 m and 20 m bands."""

SENSORS: Mapping[str, Sensor] = MappingProxyType(
    {
        sensor.name: sensor
        for sensor in (
            Sensor(
                "sentinel-2-l1c", "Sentinel-2 L1C", _S2_L1C, 1e-4, 0.0, nodata=0, saturated=65535,
            ),
            Sensor(
                "sentinel-2-l2a", "Sentinel-2 L2A", _S2_L2A, 1e-4, 0.0, nodata=0, saturated=65535,
                quality_bands=("SCL",),
            ),
            Sensor(
                "landsat-8-l1", "Landsat-8/9 Level-1", _LANDSAT_L1, 2e-5, -0.1, nodata=0,
                saturated=65535, quality_bands=("QA_PIXEL", "BQA"), sun_corrected=False,
            ),
            Sensor(
                "landsat-8-l2", "Landsat-8/9 Level-2", _LANDSAT_SLOTS, 2.75e-5, -0.2, nodata=0,
                saturated=65535, quality_bands=("QA_PIXEL",),
                aliases={f"SR_{band}": band for band in _LANDSAT_SLOTS},
            ),
            Sensor(
                "rgb", "8-bit RGB", {"red": "red", "green": "green", "blue": "blue"}, 1 / 255, 0.0,
                nodata=None,
            ),
        )
    }
)  # fmt: skip


BAND_SETS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        **{name: frozenset(sensor.slots.values()) for name, sensor in SENSORS.items()},
        "stack-10": frozenset(_S2_L1C[band] for band in SENTINEL_2_STACK_10),
        "stack-4": frozenset(("blue", "green", "red", "nir")),
    }
)
"""The slots that common products fill, by sensor; "stack-10" is Sentinel-2 without its 60 m bands, "stack-4" its 10 m
bands alone."""


def get(name: str) -> Sensor:
    """The sensor called `name`.

    Raises:
        UsageError: no sensor has that name.
    """
    try:
        return SENSORS[name]
    except KeyError:
        raise UsageError(f"--sensor {name}: unknown; use one of {', '.join(SENSORS)}") from None


def sun_factor(elevation: float) -> float:
    """What Level-1 Landsat reflectance is multiplied by, for a sun `elevation` in degrees (USGS, Collection 2).

    Raises:
        UsageError: the sun is not above the horizon.
    """
    if not 0 < elevation <= 90:
        raise UsageError(f"sun elevation {elevation}: expected degrees above the horizon, 0 to 90")
    return 1 / math.sin(math.radians(elevation))
