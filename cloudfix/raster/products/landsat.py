"""Landsat-8 and -9 of Collection 2 (and 1): Level-1 and Level-2, in a folder or a `.tar`."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cloudfix import sensors
from cloudfix.errors import UsageError
from cloudfix.raster.products import mtl
from cloudfix.raster.products.record import Product, ProductFile, finite, of_sensor

if TYPE_CHECKING:
    from cloudfix.raster.products.tree import Tree
    from cloudfix.sensors import Sensor

_FILE = re.compile(
    r"(L[A-Z]\d\d_L[12][A-Z]{2}_\d{6}_\d{8}_\d{8}_\d\d_[A-Z\d]{2})_(SR_B\d|B\d{1,2}|QA_PIXEL|BQA)\.TIFF?", re.IGNORECASE
)
_MEASURED = re.compile(r"L[CO]0[89]_L([12])")
_PIXEL = 30.0
_GROUPS = {1: ("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING"), 2: ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS",)}
_TAGS = (
    "LANDSAT_PRODUCT_ID",
    "SPACECRAFT_ID",
    "PROCESSING_LEVEL",
    "DATE_ACQUIRED",
    "SCENE_CENTER_TIME",
    "SUN_ELEVATION",
)


def read(tree: Tree) -> Product | None:
    """The product in `tree`; None where there is none of this kind.

    Raises:
        CloudfixError: as `tree.error`: several, one of an older Landsat, or metadata that cannot be read.
    """
    found: dict[str, dict[str, str]] = {}
    for path in tree.sizes:
        if match := _FILE.fullmatch(PurePosixPath(path).name):
            found.setdefault(match[1].upper(), {})[match[2].upper()] = path
    if not found:
        return None
    if len(found) > 1:
        raise tree.error(f"{tree.root}: {len(found)} Landsat products ({', '.join([*found][:2])} …); name one")
    ((name, bands),) = found.items()
    measured = _MEASURED.match(name)
    if measured is None:
        raise tree.error(f"{tree.root}: {name} is not of Landsat-8 or -9, whose bands and scale were expected")
    level = int(measured[1])
    sensor = sensors.get(f"landsat-8-l{level}")
    named = {sensor.aliases.get(band, band): path for band, path in bands.items()}
    chosen = of_sensor(named, sensor)
    if not set(chosen) & set(sensor.slots):
        raise tree.error(f"{tree.root}: no band of {sensor.title} in it; download it again")
    groups = _metadata(tree, name)
    return Product(
        name=name,
        files=tuple(ProductFile(tree.gdal_name(named[band]), (band,), _PIXEL) for band in chosen),
        sensor=sensor,
        radiometry=_radiometry(tree, groups, level, sensor) if groups else {},
        tags={key: text for key in _TAGS if (text := _value(groups, key))},
    )


def _metadata(tree: Tree, name: str) -> mtl.Groups:
    for form in mtl.FORMS:
        for path in tree.find(f"{name}_MTL.{form}"):
            try:
                return mtl.parse(tree.read(path), form)
            except ValueError as reason:
                raise tree.error(f"{tree.root}: {path} cannot be read ({reason}); download it again") from None
    return {}


def _value(groups: mtl.Groups, key: str) -> str | None:
    return next((group[key] for group in groups.values() if key in group), None)


def _radiometry(tree: Tree, groups: mtl.Groups, level: int, sensor: Sensor) -> dict[str, tuple[float, float]]:
    stated = next((groups[group] for group in _GROUPS[level] if group in groups), {})
    factor = 1.0 if sensor.sun_corrected else _sun(tree, groups)
    title = str(tree.root)
    values = {}
    for band in sensor.slots:
        scale, offset = (
            finite(stated.get(key, usual), key, title, tree.error)
            for key, usual in (
                (f"REFLECTANCE_MULT_BAND_{band[1:]}", sensor.scale),
                (f"REFLECTANCE_ADD_BAND_{band[1:]}", sensor.offset),
            )
        )
        if scale <= 0:
            raise tree.error(f"{title}: REFLECTANCE_MULT_BAND_{band[1:]} is {scale:g}; download the metadata again")
        values[band] = scale * factor, offset * factor
    return values


def _sun(tree: Tree, groups: mtl.Groups) -> float:
    elevation = finite(_value(groups, "SUN_ELEVATION"), "SUN_ELEVATION", str(tree.root), tree.error)
    try:
        return sensors.sun_factor(elevation)
    except UsageError as reason:
        raise tree.error(f"{tree.root}: {reason}; a daytime scene is needed") from None
