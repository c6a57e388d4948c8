"""Which sensor a scene is from and which band is which, from the strongest evidence to the weakest."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloudfix import sensors
from cloudfix.errors import SceneError
from cloudfix.raster.contradiction import check_names
from cloudfix.raster.evidence import sensor_evidence
from cloudfix.raster.names import band_name, in_sensor, padded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudfix.raster.header import Header
    from cloudfix.sensors import Sensor

_QUALITY = ("SCL", "QA_PIXEL", "BQA")
_BY_COUNT = {13: "sentinel-2-l1c", 12: "sentinel-2-l2a", 10: "sentinel-2-l2a"}
_LANDSAT_COUNTS = (7, 9, 11)
_REMEDY = "say which they are, e.g. --sensor sentinel-2-l2a --bands B02,B03,B04,B08"
_SAME_SCALE = "Level-1C and Level-2A have the same scale, but other cloud masks; --sensor settles it"


@dataclass(frozen=True)
class Recognised:
    """Sensor, band names, slots ("" for none), the band of the product's classes, and what was guessed."""

    sensor: Sensor | None
    names: tuple[str, ...]
    slots: tuple[str, ...]
    quality_band: str | None
    notes: tuple[str, ...]


def recognise(headers: Sequence[Header], sensor: str | None, bands: Sequence[str] | None) -> Recognised:
    """Name a scene's bands and its sensor.

    Args:
        headers: of its files, in band order.
        sensor: as the user says, or None.
        bands: the bands' names in order, as the user says, or None.

    Raises:
        SceneError: it stays open what the bands are, the user's names do not fit the file, or the file's names
            are another sensor's.
        UsageError: `sensor` is unknown.
    """
    title = title_of(headers)
    evidence = sensor or headers[0].tags.get("CLOUDFIX_SENSOR") or sensor_evidence(headers)
    names = _given_names(title, headers, bands) or _own_names(headers)
    if names is None:
        names = _read_names(headers)
        if _only_counted(names, evidence):
            names = [""] * len(names)
    if sensor is not None and bands is None:
        check_names(title, sensor, names)
    if any(names):
        known, note = _sensor_of(title, names, evidence, headers[0].dtypes[0])
    else:
        known, names, note = _by_count(title, headers, evidence)
    return _settle(title, headers, known, names, (note,) if note else ())


def title_of(headers: Sequence[Header]) -> str:
    """What messages call a scene."""
    more = len(headers) - 1
    return f"{headers[0].title} and {more} more" if more else headers[0].title


def _given_names(title: str, headers: Sequence[Header], bands: Sequence[str] | None) -> list[str] | None:
    if bands is None:
        return None
    count = sum(header.count for header in headers)
    if len(bands) != count:
        raise SceneError(f"{title}: --bands names {len(bands)} bands, the scene has {count}; name each one, in order")
    return [band_name(band) or band for band in bands]


def _own_names(headers: Sequence[Header]) -> list[str] | None:
    names = headers[0].tags.get("CLOUDFIX_BANDS", "").split(",")
    return names if len(headers) == 1 and len(names) == headers[0].count and all(names) else None


def _read_names(headers: Sequence[Header]) -> list[str]:
    return [name for header in headers for name in _names_in(header)]


def _names_in(header: Header) -> list[str]:
    if header.dtypes[0] == "uint8" and header.colorinterp[:3] == ("red", "green", "blue"):
        return [name if name in {"red", "green", "blue", "alpha"} else "" for name in header.colorinterp]
    labels = [
        [description, *(tags.get(key, "") for key in ("BANDNAME", "BAND_NAME", "name", "common_name"))]
        for description, tags in zip(header.descriptions, header.band_tags, strict=True)
    ]
    if header.count == 1:
        labels[0].append(Path(header.title).stem)
    return [next((name for label in texts if (name := band_name(label))), "") for texts in labels]


def _only_counted(names: Sequence[str], evidence: str | None) -> bool:
    """Whether the names are "Band 1", "Band 2", … of a writer that knew no better.

    Sentinel-2 counts 8, 8A, 9, so that such names would be wrong from the ninth band on. Landsat does count.
    """
    counted = len(names) > 1 and list(names) == [f"B{i + 1}" for i in range(len(names))]
    landsat = len(names) in _LANDSAT_COUNTS or (evidence or "").startswith("landsat")
    return counted and not landsat


def _sensor_of(title: str, names: Sequence[str], evidence: str | None, dtype: str) -> tuple[Sensor | None, str | None]:
    if evidence is not None and evidence not in {"sentinel-2", "landsat-8"}:
        return sensors.get(evidence), None
    found = set(names)
    if any(re.match("S[RT]_B", name) for name in found):
        return sensors.get("landsat-8-l2"), None
    if "BQA" in found:
        return sensors.get("landsat-8-l1"), None
    family = evidence or _family(title, found)
    if family == "landsat-8":
        return _landsat_level(title, found), None
    if family == "sentinel-2":
        return _sentinel_level(title, found)
    return (sensors.get("rgb") if dtype == "uint8" else None), None


def _family(title: str, names: set[str]) -> str | None:
    red_edges = {"rededge071", "rededge075", "rededge078", "nir09"}
    if any(padded(name) for name in names) or names & {"B12", "SCL", *red_edges}:
        return "sentinel-2"
    if "QA_PIXEL" in names or names >= {"B5", "B6", "B7"}:
        return "landsat-8"
    if "B8" in names:
        return "sentinel-2"
    numbered = sorted(name for name in names if re.fullmatch(r"B\d+", name))
    if numbered:
        raise SceneError(
            f"{title}: bands {', '.join(numbered)} could be Sentinel-2's or Landsat's; "
            f"say --sensor, one of {', '.join(sensors.SENSORS)}"
        )
    return None


def _landsat_level(title: str, names: set[str]) -> Sensor:
    if names & {"B8", "B9", "B10", "B11", "cirrus"}:
        return sensors.get("landsat-8-l1")
    raise SceneError(
        f"{title}: Landsat-8/9 of a level that neither names nor tags tell; "
        "say --sensor landsat-8-l1 or --sensor landsat-8-l2"
    )


def _sentinel_level(title: str, names: set[str]) -> tuple[Sensor, str | None]:
    if "SCL" in names:
        return sensors.get("sentinel-2-l2a"), None
    if names & {"B10", "cirrus"}:
        return sensors.get("sentinel-2-l1c"), None
    return (
        sensors.get("sentinel-2-l2a"),
        f"{title}: Sentinel-2 of a level that is not stated, taken as L2A; {_SAME_SCALE}",
    )


def _by_count(title: str, headers: Sequence[Header], evidence: str | None) -> tuple[Sensor, list[str], str]:
    count = sum(header.count for header in headers)
    dtype = headers[0].dtypes[0]
    guess = evidence
    if evidence in {None, "sentinel-2"}:
        guess = "rgb" if (count, dtype) == (3, "uint8") else _BY_COUNT.get(count)
    stack = _stack(sensors.get(guess), count) if guess and guess != "landsat-8" else None
    if guess is None or stack is None:
        what = f"do not make a {guess} stack" if guess else "match no known product"
        raise SceneError(f"{title}: {count} bands without names ({dtype}) {what}; {_REMEDY}")
    sensor = sensors.get(guess)
    note = f"{title}: {count} bands without names, taken by their number alone as {sensor.title}: "
    note += f"{', '.join(stack)}; --sensor and --bands settle it"
    return sensor, stack, note


def _stack(sensor: Sensor, count: int) -> list[str] | None:
    if sensor.name.startswith("sentinel-2") and count == len(sensors.SENTINEL_2_STACK_10):
        return list(sensors.SENTINEL_2_STACK_10)
    if sensor.name == "rgb" and count == 4:
        return [*sensor.slots, "alpha"]
    return list(sensor.slots) if count == len(sensor.slots) else None


def _settle(
    title: str, headers: Sequence[Header], sensor: Sensor | None, names: Sequence[str], notes: tuple[str, ...]
) -> Recognised:
    labels = [label for header in headers for label in header.descriptions]
    resolved = [
        in_sensor(name, sensor) if name else (label or f"band_{position}", "")
        for position, (name, label) in enumerate(zip(names, labels, strict=True), start=1)
    ]
    own, slots = zip(*resolved, strict=True)
    if not any(slots):
        raise SceneError(f"{title}: bands {', '.join(own)} are unknown to {_called(sensor)}; {_REMEDY}")
    for kind, values in (("named", own), ("in slot", [slot for slot in slots if slot])):
        value, times = Counter(values).most_common(1)[0]
        if times > 1:
            raise SceneError(f"{title}: {times} bands {kind} {value}; give each band once")
    quality = next((name for name in _QUALITY if name in own), None)
    return Recognised(sensor, own, slots, quality, notes)


def _called(sensor: Sensor | None) -> str:
    return sensor.title if sensor else "every sensor"
