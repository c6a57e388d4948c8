"""Which bands of SAR files are VV and VH."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cloudfix.errors import SarError
from cloudfix.sensors import SAR_SLOTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudfix.raster.header import Header

_NAME = re.compile(r"(?<![A-Z])(VV|VH|HH|HV)(?![A-Z])", re.IGNORECASE)
_KEYS = ("POLARISATION", "POLARIZATION", "polarisation", "polarization")

Place = tuple[int, int]
"""A file's position in the list, and a band in it, from 1."""


def find_polarisations(headers: Sequence[Header]) -> tuple[dict[str, Place], str | None]:
    """Where VV and VH are, by descriptions, tags and file names, and only then by order.

    Returns:
        "vv" and "vh", as far as they are there and in this order, and a note if the order decided.

    Raises:
        SarError: neither is there, one is there twice, or nothing tells which bands they are.
    """
    places = [(file, band) for file, header in enumerate(headers) for band in range(1, header.count + 1)]
    names = [_name(headers[file], band) for file, band in places]
    title = headers[0].title
    note = None
    if not any(names):
        if len(places) > len(SAR_SLOTS):
            raise SarError(f"{title}: {len(places)} bands of unknown polarisation; describe them as VV and VH")
        names = list(SAR_SLOTS[: len(places)])
        note = f"{title}: polarisations are not stated, taken as {', '.join(names).upper()} in this order"
    found: dict[str, Place] = {}
    for name, place in zip(names, places, strict=True):
        if name in found:
            raise SarError(f"{title}: two bands are {name.upper()}; give each polarisation once")
        found[name] = place
    if not set(SAR_SLOTS) & set(found):
        raise SarError(f"{title}: polarisation {'/'.join(found).upper()}; VV and VH were expected")
    return {slot: found[slot] for slot in SAR_SLOTS if slot in found}, note


def _name(header: Header, band: int) -> str:
    tags = header.band_tags[band - 1]
    labels = [header.descriptions[band - 1], *(tags.get(key, "") for key in _KEYS)]
    if header.count == 1:
        labels += [*(header.tags.get(key, "") for key in _KEYS), Path(header.title).stem]
    for label in labels:
        if match := _NAME.findall(label):
            return str(match[-1]).lower()
    return ""
