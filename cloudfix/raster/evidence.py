"""What loose files give away of the product they are from, by their tags, their names and the files beside them."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cloudfix.errors import SceneError
from cloudfix.raster.location import absolute, is_virtual
from cloudfix.raster.products import mtl
from cloudfix.raster.products.tree import MAX_METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloudfix.raster.header import Header

_SENSORS = (
    (re.compile(r"S2MSI1C|MSIL1C|(?<![A-Z0-9])S2[A-D]_(?:.*_)?L1C(?![A-Z0-9])|_L1C_T\d"), "sentinel-2-l1c"),
    (re.compile(r"S2MSI2A|MSIL2A|(?<![A-Z0-9])S2[A-D]_(?:.*_)?L2A(?![A-Z0-9])|_L2A_T\d"), "sentinel-2-l2a"),
    (re.compile(r"(?<![A-Z0-9])L[CO]0[89]_L1[A-Z]{2}_"), "landsat-8-l1"),
    (re.compile(r"(?<![A-Z0-9])L[CO]0[89]_L2[A-Z]{2}_"), "landsat-8-l2"),
    (re.compile(r"(?<![A-Z0-9])T\d\d[A-Z]{3}_\d{8}T\d{6}_[A-Z0-9]{3}_[126]0M(?![A-Z0-9])"), "sentinel-2-l2a"),
    (re.compile(r"(?<![A-Z0-9])T\d\d[A-Z]{3}_\d{8}T\d{6}_B[0-9A]{2}(?![A-Z0-9_])"), "sentinel-2-l1c"),
)
_FAMILIES = (
    (re.compile(r"(?<![A-Z0-9])SENTINEL-?2|(?<![A-Z0-9])S2[A-D]?_"), "sentinel-2"),
    (re.compile(r"LANDSAT[_-][89](?!\d)|(?<![A-Z0-9])L[CO]?0?[89]_|(?<![A-Z0-9])L[CO]8\d{13}"), "landsat-8"),
)
_FOREIGN = re.compile(r"(?<![A-Z0-9])L[ETM]0[1-7]_L[12]|LANDSAT[_-][1-7](?!\d)|HLS\.L30")
_LEVELS = {"sentinel-2": {"1C": "l1c", "2A": "l2a"}, "landsat-8": {"L1": "l1", "L2": "l2"}}

_BASELINE = re.compile(r"_N(\d{4})_")


def sensor_evidence(headers: Sequence[Header]) -> str | None:
    """The sensor, or its family alone ("sentinel-2"), as tags and names of files and folders give it away.

    Raises:
        SceneError: the product is of an older Landsat, whose bands have other numbers.
    """
    for text in _texts(headers):
        if _FOREIGN.search(text):
            raise SceneError(
                f"{headers[0].title}: its bands are not numbered as Landsat-8/9's or Sentinel-2's, which were "
                "expected; --sensor and --bands can say which they are"
            )
        if sensor := sensor_in(text):
            return sensor
    for text in _own_texts(headers):
        if family := family_in(text):
            return _with_level(family, headers[0].tags)
    return None


def sensor_in(text: str) -> str | None:
    """The sensor that a text in capitals gives away, such as the name of a product or of a file in it."""
    return next((sensor for pattern, sensor in _SENSORS if pattern.search(text)), None)


def family_in(text: str) -> str | None:
    """The family of sensors that a text in capitals names, "sentinel-2" or "landsat-8"."""
    return next((family for pattern, family in _FAMILIES if pattern.search(text)), None)


def _texts(headers: Sequence[Header]) -> Iterator[str]:
    yield from _own_texts(headers)
    yield from (folder.name.upper() for folder in Path(absolute(headers[0].path)).parents)


def _own_texts(headers: Sequence[Header]) -> Iterator[str]:
    first = headers[0]
    yield from (f"{key}={value}".upper() for key, value in first.tags.items())
    yield Path(first.title).stem.upper()


def _with_level(family: str, tags: dict[str, str]) -> str:
    level = tags.get("PROCESSING_LEVEL", "").upper()
    for mark, suffix in _LEVELS[family].items():
        if mark in level:
            return f"{family}-{suffix}"
    return family


def add_offsets(headers: Sequence[Header]) -> tuple[float, ...] | None:
    """Sentinel-2's RADIO_ADD_OFFSET or BOA_ADD_OFFSET in DN, as tags of the first file or its bands state it.

    Returns:
        One value for all bands or one for each in product order; None where nothing is stated.
    """
    for tags in (headers[0].tags, *headers[0].band_tags):
        found = sorted((key, value) for key, value in tags.items() if "ADD_OFFSET" in key.upper())
        values = [_number(value) for _, value in sorted(found, key=lambda item: _index(item[0]))]
        if values and None not in values:
            return tuple(value for value in values if value is not None)
    return None


def baseline(headers: Sequence[Header]) -> int | None:
    """Sentinel-2's processing baseline as a number, 4.00 is 400; None where nothing states it.

    Never from the date: Collection 1 reprocessed old scenes with new baselines.
    """
    for key, value in headers[0].tags.items():
        number = _number(value)
        if key.upper().endswith("PROCESSING_BASELINE") and number is not None:
            return round(number * 100)
    stated = (_BASELINE.search(text) for text in _texts(headers))
    return next((int(match[1]) for match in stated if match), None)


def sun_elevation(headers: Sequence[Header]) -> float | None:
    """Landsat's sun elevation in degrees, from tags or the MTL file beside the file; None if neither."""
    stated = [*headers[0].tags.items(), *_mtl(headers[0].path).items()]
    found = (_number(value) for key, value in stated if key.upper().endswith("SUN_ELEVATION"))
    return next((number for number in found if number is not None), None)


def _mtl(path: str) -> dict[str, str]:
    """All that the MTL file of a band file's own product says, or that of the only product beside it."""
    if is_virtual(path):
        return {}
    for form in mtl.FORMS:
        beside = sorted(Path(path).absolute().parent.glob(f"*_MTL.{form}"))
        own = [found for found in beside if Path(path).name.startswith(found.name.removesuffix(f"_MTL.{form}"))]
        for chosen in own or (beside if len(beside) == 1 else []):
            with chosen.open("rb") as file, suppress(ValueError):
                groups = mtl.parse(file.read(MAX_METADATA), form)
                return {key: value for group in groups.values() for key, value in group.items()}
    return {}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _index(key: str) -> int:
    digits = re.search(r"(\d+)$", key)
    return int(digits[1]) if digits else 0
