"""From DN to reflectance: scale and offset of each band, from what the files state down to what is usual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudfix import sensors
from cloudfix.errors import SceneError, UsageError
from cloudfix.raster.checks import is_reflectance
from cloudfix.raster.evidence import add_offsets, baseline, sun_elevation
from cloudfix.raster.recognise import title_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from cloudfix.raster.header import Header
    from cloudfix.raster.recognise import Recognised
    from cloudfix.raster.sample import ValueRange
    from cloudfix.sensors import Sensor

    _Pair = tuple[ArrayLike, ArrayLike]

_ADDED = -1000.0
_ADDED_SINCE = 400
_SHIFTED = 950
"""With +1000 added, noise over black still leaves hardly a pixel below this DN."""


@dataclass(frozen=True)
class Radiometry:
    """reflectance = DN * scale + offset, per band; bands without a slot have 1 and 0."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    notes: tuple[str, ...] = ()


def radiometry(headers: Sequence[Header], found: Recognised, sampled: ValueRange) -> Radiometry:
    """The radiometry of a recognised scene.

    In this order: tags of our own outputs, the files' scales and offsets, reflectance as it is, the sensor's
    scale with the offset or sun elevation of the metadata.

    Raises:
        SceneError: integer DN of which nothing tells the scale, or a sun below the horizon.
    """
    spectral = np.array([bool(slot) for slot in found.slots])
    notes: list[str] = []
    stated = _own(headers, found.sensor) or _stated(headers, found, spectral, notes)
    if stated is None:
        stated = _usual(headers, found, sampled, notes)
    scale, offset = (np.broadcast_to(values, spectral.shape) for values in stated)
    return Radiometry(
        tuple(np.where(spectral, scale, 1.0).tolist()),
        tuple(np.where(spectral, offset, 0.0).tolist()),
        tuple(notes),
    )


def _own(headers: Sequence[Header], sensor: Sensor | None) -> _Pair | None:
    tags = headers[0].tags
    count = sum(header.count for header in headers)
    if sensor and tags.get("CLOUDFIX_SENSOR") != sensor.name:
        return None
    try:
        scale, offset = (
            [float(value) for value in tags[key].split(",")] for key in ("CLOUDFIX_SCALE", "CLOUDFIX_OFFSET")
        )
    except (KeyError, ValueError):
        return None
    return (scale, offset) if len(scale) == len(offset) == count else None


def _stated(
    headers: Sequence[Header], found: Recognised, spectral: NDArray[np.bool_], notes: list[str]
) -> _Pair | None:
    scale = np.array([value for header in headers for value in header.scales])
    offset = np.array([value for header in headers for value in header.offsets])
    given, added = scale[spectral], offset[spectral]
    if (given == 1).all() and (added == 0).all():
        return None
    sensor = found.sensor
    if sensor and sensor.name.startswith("sentinel-2") and (given == 1).all() and (added == _ADDED).all():
        return scale * sensor.scale, offset * sensor.scale
    if not ((given > 0) & (given <= 1) & (abs(added) <= 1)).all():
        notes.append(
            f"{title_of(headers)}: scale {given[0]:g} and offset {added[0]:g} in the file give no "
            "reflectance and are left aside"
        )
        return None
    if sensor and not sensor.sun_corrected and np.allclose((given, added), ([sensor.scale], [sensor.offset])):
        factor = _sun(headers, notes)
        return scale * factor, offset * factor
    return scale, offset


def _usual(headers: Sequence[Header], found: Recognised, sampled: ValueRange, notes: list[str]) -> _Pair:
    sensor, title = found.sensor, title_of(headers)
    spectral = [index for index, slot in enumerate(found.slots) if slot]
    high = float(np.nanmax([*np.array(sampled.high)[spectral], -np.inf]))
    if is_reflectance(np.dtype(headers[0].dtypes[0]), high):
        return [1.0], [0.0]
    if sensor is None:
        raise SceneError(
            f"{title}: bands {', '.join(found.names)} with DN up to {high:g} and no scale in the file; "
            f"say --sensor, one of {', '.join(sensors.SENSORS)}"
        )
    if sensor.name.startswith("sentinel-2"):
        added = _sentinel_offset(headers, found, sampled, notes)
        return [sensor.scale], [value * sensor.scale for value in added]
    factor = 1.0 if sensor.sun_corrected else _sun(headers, notes)
    return [sensor.scale * factor], [sensor.offset * factor]


def _sentinel_offset(
    headers: Sequence[Header], found: Recognised, sampled: ValueRange, notes: list[str]
) -> Sequence[float]:
    stated = add_offsets(headers)
    if stated is not None:
        return _per_band(stated, found)
    since = baseline(headers)
    if since is not None:
        return [_ADDED if since >= _ADDED_SINCE else 0.0]
    spectral = [index for index, slot in enumerate(found.slots) if slot]
    low = float(np.nanmin([*np.array(sampled.low)[spectral], np.inf]))
    if sampled.valid and low >= _SHIFTED:
        title = title_of(headers)
        notes.append(
            f"{title}: no sampled DN below {low:g}, as if the +1000 of baseline 04.00 were in it, but "
            "nothing states that; taken without. If it is: rio edit-info --tag RADIO_ADD_OFFSET=-1000 "
            f"{headers[0].path}"
        )
    return [0.0]


def _per_band(stated: Sequence[float], found: Recognised) -> list[float]:
    """Offsets that differ are stated in the order of the product's own bands."""
    if len(set(stated)) == 1:
        return [stated[0]]
    order = list(sensors.get("sentinel-2-l1c").slots)
    by_name = dict(zip(order, stated, strict=False))
    return [by_name.get(name, stated[0]) for name in found.names]


def _sun(headers: Sequence[Header], notes: list[str]) -> float:
    elevation = sun_elevation(headers)
    if elevation is None:
        notes.append(
            f"{title_of(headers)}: no SUN_ELEVATION in tags and no *_MTL.txt beside it; reflectance is taken "
            "without correction for the sun's height"
        )
        return 1.0
    try:
        return sensors.sun_factor(elevation)
    except UsageError as reason:
        raise SceneError(f"{title_of(headers)}: {reason}; a daytime scene is needed") from None
