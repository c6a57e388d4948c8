"""Whether files say that they are from another sensor than the user says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloudfix import sensors
from cloudfix.errors import SceneError
from cloudfix.raster.evidence import family_in, sensor_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudfix.raster.header import Header

_OWN_NAMES = (
    (re.compile(r"B0\d|B8A|B12|SCL|rededge07\d|nir09"), "sentinel-2", "Sentinel-2's"),
    (re.compile(r"S[RT]_B\d+"), "landsat-8-l2", "Landsat Level-2's"),
    (re.compile(r"QA_PIXEL|BQA"), "landsat-8", "Landsat's"),
)
"""Names that only one family's bands have, or only one level's."""

_STATING = re.compile(r"SPACECRAFT|PLATFORM|SATELLITE|MISSION|PRODUCT")
"""Keys of tags that say what took an image. Others may speak of what it was compared with or made for."""

_SHOWN = 4


def check_names(title: str, sensor: str, names: Sequence[str]) -> None:
    """Refuse a sensor that has no bands of these names.

    Args:
        title: what messages call the scene.
        sensor: as the user says.
        names: of its bands, as the files tell them; "" where they do not.

    Raises:
        SceneError: some are another sensor's.
    """
    for pattern, owner, whose in _OWN_NAMES:
        found = [name for name in names if pattern.fullmatch(name)]
        if found and not _is(sensor, owner):
            shown = ", ".join(found[:_SHOWN]) + (" …" if len(found) > _SHOWN else "")
            raise SceneError(
                f"{title}: --sensor {sensor}, but bands are named {shown} as {whose}; leave --sensor out, or name "
                "every band with --bands if the file is wrong"
            )


def check_tags(title: str, sensor: str, header: Header) -> None:
    """Refuse a sensor where tags state another one.

    Args:
        title: what messages call the scene.
        sensor: as the user says.
        header: of the scene's first file.

    Raises:
        SceneError: they do.
    """
    for key, value in header.tags.items():
        stated = _stated(key.upper(), value)
        if stated is not None and not _is(sensor, stated):
            raise SceneError(
                f"{title}: --sensor {sensor}, but its tag {key}={value[:80]} says {stated[:80]}; leave --sensor out, "
                "or mend the tag if it is wrong (rio edit-info --tag KEY=VALUE)"
            )


def _stated(key: str, value: str) -> str | None:
    """A sensor, or a family where a tag may name the product that an image was made from, of another level."""
    if key == "CLOUDFIX_SENSOR":
        return value
    if not _STATING.search(key):
        return None
    sensor = sensor_in(value.upper())
    if sensor is None or key.endswith("PRODUCT_TYPE"):
        return sensor or family_in(value.upper())
    return sensor.rpartition("-")[0]


def check_product(title: str, sensor: str, found: str) -> None:
    """Refuse another sensor than a product's metadata say.

    Raises:
        SceneError: it is another.
    """
    if sensor != found:
        what = sensors.get(found).title
        raise SceneError(f"{title}: --sensor {sensor}, but this is a product of {what}; leave --sensor out")


def _is(sensor: str, owner: str) -> bool:
    # Any sensor's bands can become a picture.
    return sensor == "rgb" or sensor.startswith(owner)
