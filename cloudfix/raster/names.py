"""Band names: reading them out of descriptions and file names, and what they mean to a sensor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloudfix.sensors import SLOTS

if TYPE_CHECKING:
    from cloudfix.sensors import Sensor

CLASS_BANDS = frozenset({"SCL", "QA_PIXEL", "BQA", "QA_RADSAT", "SR_QA_AEROSOL", "QA60", "MSK_CLASSI", "FMASK", "mask"})
"""Bands of classes or bit fields: never averaged or interpolated."""

_CLASS = re.compile(
    r"(?<![A-Z0-9])(SCL|SR_QA_AEROSOL|QA_PIXEL|QA_RADSAT|QA60|BQA|FMASK|MSK_CLASSI)(?![A-Z0-9])",
    re.IGNORECASE,
)
_OTHER = re.compile(r"(?<![A-Z0-9])(AOT|WVP|TCI|PVI|MSK_CLDPRB|MSK_SNWPRB)(?![A-Z0-9])", re.IGNORECASE)
_NUMBERED = re.compile(r"(?<![A-Z0-9])(S[RT]_)?B(?:AND)?[ _-]?(\d{1,2})(A?)(?![A-Z0-9])", re.IGNORECASE)

_SYNONYMS = {
    "ultrablue": "coastal", "aerosol": "coastal", "coastalaerosol": "coastal", "violet": "coastal",
    "b": "blue", "g": "green", "r": "red",
    "rededge": "rededge071", "rededge1": "rededge071", "rededge2": "rededge075", "rededge3": "rededge078",
    "re1": "rededge071", "re2": "rededge075", "re3": "rededge078",
    "nir1": "nir", "nearinfrared": "nir",
    "nirnarrow": "nir08", "narrownir": "nir08", "nir2": "nir08", "rededge4": "nir08", "re4": "nir08",
    "watervapour": "nir09", "watervapor": "nir09",
    "swir": "swir16", "swir1": "swir16", "swir2": "swir22",
}  # fmt: skip


def band_name(text: str) -> str | None:
    """The band that a description or the stem of a file name speaks of.

    Of several (a tile or product id may look like one) the last counts: `T33UUB_…_B8A_20m` is B8A.

    Args:
        text: such as "B4, central wavelength 665 nm", "SR_B2", "Band 4", "nir08" or "l8_B1".

    Returns:
        "B02", "B2", "SR_B2", "SCL", … as written but in capitals, or a slot for a common name; None if
        the text names no band.
    """
    for pattern in (_CLASS, _OTHER):
        if found := pattern.findall(text):
            return str(found[-1]).upper()
    if numbered := _NUMBERED.findall(text):
        prefix, number, suffix = numbered[-1]
        return f"{prefix}B{number}{suffix}".upper()
    return common_name(text)


def common_name(text: str) -> str | None:
    """The slot that a STAC common name or one of its usual spellings stands for, else None."""
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    if plain in SLOTS:
        return plain
    return _SYNONYMS.get(plain)


def padded(name: str) -> bool:
    """Whether a name is written as only Sentinel-2 products write it: B02, B8A."""
    return re.fullmatch(r"B0\d|B8A", name) is not None


def in_sensor(name: str, sensor: Sensor | None) -> tuple[str, str]:
    """A band's own name in a sensor's products, and its slot there.

    Args:
        name: as `band_name` gives it.
        sensor: None leaves the name and fills slots by common names alone.

    Returns:
        Name and slot; the slot is "" for a band that fills none.
    """
    if name in SLOTS:
        return name, _common_slot(name, sensor)
    if sensor is None:
        return name, ""
    spelled = sensor.aliases.get(name, name)
    if numbered := re.fullmatch(r"B(\d+)(A?)", spelled):
        wide = 2 if sensor.name.startswith("sentinel-2") and not numbered[2] else 1
        spelled = f"B{int(numbered[1]):0{wide}d}{numbered[2]}"
    return spelled, sensor.slots.get(spelled, "")


def _common_slot(name: str, sensor: Sensor | None) -> str:
    if sensor is None or name in sensor.slots.values():
        return name
    return "nir08" if name == "nir" and "nir08" in sensor.slots.values() else ""
