"""Sentinel-2 `.SAFE`: Level-1C and Level-2A, in a folder or an archive.

GDAL's own SENTINEL2 driver reads the same files at the same speed, but it takes a missing one for zeros, keeps
Level-1C's offsets to itself, and hides the size of JPEG2000 tiles, of which each is decoded as a whole.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cloudfix import sensors
from cloudfix.raster import markup
from cloudfix.raster.products.record import Product, ProductFile, finite, of_sensor

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from cloudfix.raster.products.tree import Tree
    from cloudfix.sensors import Sensor

_METADATA = re.compile(r"(?:(.*)/)?MTD_MSI(L1C|L2A)\.xml")
_IMAGE = re.compile(r"GRANULE/([^/]+)/IMG_DATA/(?:R\d0m/)?(?:L2A_)?T\w{5}_\d{8}T\d{6}_(B\d[\dA]|SCL)(?:_(\d0)m)?\.jp2")
_NATIVE = {"B01": 60, "B02": 10, "B03": 10, "B04": 10, "B08": 10, "B09": 60, "B10": 60}
_BANDS = tuple(sensors.get("sentinel-2-l1c").slots)
"""In the order of the metadata's band_id."""

_TAGS = ("PRODUCT_URI", "PRODUCT_TYPE", "PROCESSING_BASELINE", "PRODUCT_START_TIME", "SPACECRAFT_NAME")


def read(tree: Tree) -> Product | None:
    """The product in `tree`; None where there is none of this kind.

    Raises:
        CloudfixError: as `tree.error`: several, an incomplete one, or metadata that cannot be read.
    """
    found = [match for name in tree.sizes if (match := _METADATA.fullmatch(name))]
    if not found:
        return None
    if len(found) > 1:
        raise tree.error(f"{tree.root}: {len(found)} Sentinel-2 products ({found[0][0]}, {found[1][0]} …); name one")
    folder, level = found[0][1] or "", found[0][2]
    sensor = sensors.get(f"sentinel-2-{level.lower()}")
    try:
        root = markup.parse(tree.read(found[0][0]))
    except markup.MarkupError as reason:
        raise tree.error(f"{tree.root}: {found[0][0]} {reason}; download it again") from None
    tags = {name: text[0] for name in _TAGS if (text := markup.texts(root, name))}
    return Product(
        name=_name(tree, folder, tags),
        files=_images(tree, folder, sensor),
        sensor=sensor,
        radiometry=_radiometry(tree, root, level),
        tags=tags,
    )


def _name(tree: Tree, folder: str, tags: dict[str, str]) -> str:
    own = PurePosixPath(folder).name or tree.root.absolute().name
    return tags.get("PRODUCT_URI", own).removesuffix(".SAFE") or own


def _images(tree: Tree, folder: str, sensor: Sensor) -> tuple[ProductFile, ...]:
    prefix = f"{folder}/" if folder else ""
    found: dict[str, list[ProductFile]] = {}
    granules = set()
    for name in tree.sizes:
        match = _IMAGE.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if match:
            granules.add(match[1])
            band = match[2]
            pixel = float(match[3] or _NATIVE.get(band, 20))
            found.setdefault(band, []).append(ProductFile(tree.gdal_name(name), (band,), pixel))
    if len(granules) > 1:
        raise tree.error(
            f"{tree.root}: {len(granules)} granules, as products had before December 2016; name the band files of one"
        )
    chosen = of_sensor(found, sensor)
    if not set(chosen) & set(sensor.slots):
        raise tree.error(f"{tree.root}: no band of {sensor.title} in GRANULE/*/IMG_DATA; download it again")
    return tuple(file for band in chosen for file in found[band])


def _radiometry(tree: Tree, root: Element, level: str) -> dict[str, tuple[float, float]]:
    prefix, quantity = ("RADIO", "QUANTIFICATION_VALUE") if level == "L1C" else ("BOA", "BOA_QUANTIFICATION_VALUE")
    title = str(tree.root)
    # L2A products of 2017 and before have the L1C name, too.
    stated = markup.texts(root, quantity) or markup.texts(root, f"L2A_{quantity}") or ["10000"]
    divisor = finite(stated[0], quantity, title, tree.error)
    if divisor <= 0:
        raise tree.error(f"{title}: {quantity} is {divisor:g}, where 10000 was expected; download the metadata again")
    added = dict.fromkeys(_BANDS, 0.0)
    for element in root.iter():
        if markup.local_name(element) == f"{prefix}_ADD_OFFSET":
            band = element.get("band_id", "")
            if not band.isdecimal() or int(band) >= len(_BANDS):
                raise tree.error(f"{title}: {prefix}_ADD_OFFSET of band_id {band[:9]!r}, where 0 to 12 were expected")
            added[_BANDS[int(band)]] = finite(element.text, f"{prefix}_ADD_OFFSET", title, tree.error)
    return {band: (1 / divisor, value / divisor) for band, value in added.items()}
