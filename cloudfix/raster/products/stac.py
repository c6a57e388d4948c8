"""Products that a STAC item lists: one raster for each band, by the names that the item gives them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cloudfix import sensors
from cloudfix.errors import UsageError
from cloudfix.raster.names import CLASS_BANDS, in_sensor
from cloudfix.raster.products.record import Product, ProductFile, finite
from cloudfix.raster.products.stac_item import positive, read_item

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudfix.errors import CloudfixError
    from cloudfix.raster.products.stac_item import Asset, Item
    from cloudfix.sensors import Sensor

_SENSORS = (
    (re.compile(r"sentinel-?2\S*l1c|S2MSI1C|MSIL1C", re.IGNORECASE), "sentinel-2-l1c"),
    (re.compile(r"sentinel-?2\S*l2a|S2MSI2A|MSIL2A", re.IGNORECASE), "sentinel-2-l2a"),
    (re.compile(r"(?<![A-Z])L[CO]0[89]_L1", re.IGNORECASE), "landsat-8-l1"),
    (re.compile(r"(?<![A-Z])L[CO]0[89]_L2", re.IGNORECASE), "landsat-8-l2"),
)
_POLARISATIONS = ("vv", "vh")
_TIFF = (".tif", ".tiff")
_ADDED, _ADDED_SINCE = -0.1, 4.0
_TAGS = ("datetime", "platform", "s2:processing_baseline", "landsat:scene_id", "view:sun_elevation")


def read_scene(place: str, error: type[CloudfixError], *, allow_remote: bool) -> Product:
    """The bands of reflectance of an item, and the product's classes.

    Raises:
        CloudfixError: as `error`: not an item, without such bands, or with assets that are not to be read.
    """
    item = read_item(place, error, allow_remote=allow_remote)
    sensor = next((sensors.get(name) for pattern, name in _SENSORS if pattern.search(item.identity)), None)
    named = [(asset, names) for asset in item.assets if (names := _useful(asset.names(), sensor))]
    single = [(asset, names) for asset, names in named if len(names) == 1]
    # Earth Search has each band twice: a JPEG2000 has to be decoded in large tiles, over the network.
    single.sort(key=lambda entry: not entry[0].href.lower().endswith(_TIFF))
    chosen = single or named[:1]
    if not chosen:
        raise error(f"{item.title}: none of its {len(item.assets)} raster assets names a band; name the files")
    files = [ProductFile(item.locate(asset), names, asset.pixel) for asset, names in chosen]
    return Product(
        name=item.name,
        files=tuple(sorted(files, key=lambda file: _order(file, sensor))),
        sensor=sensor,
        radiometry=_radiometry(item, chosen, sensor),
        tags={key: str(value) for key in _TAGS if (value := item.properties.get(key)) is not None},
    )


def read_radar(place: str, error: type[CloudfixError], *, allow_remote: bool) -> Product:
    """The assets of an item that are VV and VH.

    Raises:
        CloudfixError: as `error`: not an item, without either, or with assets that are not to be read.
    """
    item = read_item(place, error, allow_remote=allow_remote)
    found: dict[str, ProductFile] = {}
    for name in _POLARISATIONS:
        pattern = re.compile(rf"(?<![a-z]){name}(?![a-z])", re.IGNORECASE)
        asset = next((asset for asset in item.assets if pattern.search(asset.key) and len(asset.bands) == 1), None)
        if asset:
            found[name] = ProductFile(item.locate(asset), (name,))
    if not found:
        raise error(f"{item.title}: no raster asset vv or vh; a Sentinel-1 item was expected")
    return Product(item.name, tuple(found.values()))


def _useful(names: Sequence[str], sensor: Sensor | None) -> tuple[str, ...]:
    """The bands' names in the sensor's products, if any fills a slot or is the product's classes; else nothing."""
    own = [in_sensor(name, sensor) for name in names]
    quality = sensor.quality_bands if sensor else CLASS_BANDS
    return tuple(name for name, _ in own) if any(slot or name in quality for name, slot in own) else ()


def _order(file: ProductFile, sensor: Sensor | None) -> int:
    slot = in_sensor(file.bands[0], sensor)[1]
    return sensors.SLOTS.index(slot) if slot else len(sensors.SLOTS)


def _radiometry(
    item: Item, chosen: Sequence[tuple[Asset, Sequence[str]]], sensor: Sensor | None
) -> dict[str, tuple[float, float]]:
    values = {}
    usual_scale, usual_offset = _usual(item, sensor)
    for asset, names in chosen:
        for name, band in zip(names, asset.bands, strict=True):
            scale = _stated(item, asset, band, "scale", usual_scale)
            offset = 0.0 if _offset_is_gone(item, sensor) else _stated(item, asset, band, "offset", usual_offset)
            if scale is not None and offset is not None:
                values[name] = scale, offset
    return _sun_corrected(item, values, sensor)


def _stated(item: Item, asset: Asset, band: Mapping[str, Any], key: str, usual: float | None) -> float | None:
    for holder in (band, asset.fields):
        for name in (f"raster:{key}", key):
            if holder.get(name) is not None:
                return finite(holder[name], f"{name} of {asset.key}", item.title, item.error)
    return usual


def _usual(item: Item, sensor: Sensor | None) -> tuple[float | None, float | None]:
    """Scale and offset of bands of which an item says nothing; None where nothing tells."""
    if sensor is None:
        return None, None
    if not sensor.name.startswith("sentinel-2"):
        return sensor.scale, sensor.offset
    baseline = _baseline(item)
    return sensor.scale, None if baseline is None else _ADDED if baseline >= _ADDED_SINCE else 0.0


def _baseline(item: Item) -> float | None:
    return positive(item.properties.get("s2:processing_baseline", item.properties.get("processing:version")))


def _offset_is_gone(item: Item, sensor: Sensor | None) -> bool:
    """Whether Sentinel-2's offset is not in the pixels, whatever is said of the bands.

    Earth Search takes it out of its COGs and states it all the same.
    """
    if sensor is None or not sensor.name.startswith("sentinel-2"):
        return False
    baseline = _baseline(item)
    old = baseline is not None and baseline < _ADDED_SINCE
    return old or item.properties.get("earthsearch:boa_offset_applied") is True


def _sun_corrected(
    item: Item, values: dict[str, tuple[float, float]], sensor: Sensor | None
) -> dict[str, tuple[float, float]]:
    if sensor is None or sensor.sun_corrected:
        return values
    elevation = item.properties.get("view:sun_elevation")
    if elevation is None:
        return {}
    try:
        factor = sensors.sun_factor(finite(elevation, "view:sun_elevation", item.title, item.error))
    except UsageError as reason:
        raise item.error(f"{item.title}: {reason}; a daytime scene is needed") from None
    return {band: (scale * factor, offset * factor) for band, (scale, offset) in values.items()}
