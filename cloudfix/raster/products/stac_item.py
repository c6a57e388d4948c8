"""A STAC item, 1.0 or 1.1, from a file or a URL, and the rasters among its assets."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import urlopen

from cloudfix.raster.location import gdal_name, is_remote, shown
from cloudfix.raster.names import band_name
from cloudfix.raster.products.tree import MAX_METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudfix.errors import CloudfixError

_TIMEOUT = 30
_SUFFIXES = (".json", ".geojson")
_TYPES = re.compile(r"image/(tiff|vnd\.stac\.geotiff|jp2)")
_IMAGES = (".tif", ".tiff", ".jp2")
_NOT_DATA = {"thumbnail", "overview", "visual", "metadata"}
_BAND_LISTS = ("bands", "eo:bands", "raster:bands")
_METRES = re.compile(r"_(\d{2,3})m$")


def is_item(name: str) -> bool:
    """Whether a user's name is that of an item: by its ending, or as the address of one in an API."""
    path = urlsplit(name).path if is_remote(name) else name
    return path.lower().endswith(_SUFFIXES) or (is_remote(name) and "/items/" in path)


@dataclass(frozen=True)
class Asset:
    """A raster among an item's assets.

    Attributes:
        key: its name in the item.
        href: where it is, as the item says.
        bands: what the item says of each of its bands.
        fields: what the item says of the asset as a whole.
    """

    key: str
    href: str
    bands: tuple[Mapping[str, Any], ...]
    fields: Mapping[str, Any]

    @property
    def pixel(self) -> float | None:
        """Side of a pixel in metres, if the item or the asset's name says it."""
        holders = (*self.bands, self.fields)
        keys = ("spatial_resolution", "raster:spatial_resolution", "gsd")
        said = [*(holder.get(key) for holder in holders for key in keys), *_METRES.findall(self.key)]
        return next((number for value in said if (number := positive(value))), None)

    def names(self) -> tuple[str, ...]:
        """Per band what it is called, "" where nothing names it.

        The common name comes last: STAC 1.0 has one for all three red edges.
        """
        key = self.key if len(self.bands) == 1 else None
        labels = ((band.get("name"), key, band.get("eo:common_name"), band.get("common_name")) for band in self.bands)
        return tuple(next((name for text in some if (name := band_name(str(text or "")))), "") for some in labels)


def positive(value: object) -> float | None:
    """A number above zero out of JSON, else None."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None


@dataclass(frozen=True)
class Item:
    """An item.

    Attributes:
        place: its file or URL.
        name: its id.
        properties: as they stand there.
        identity: id, collection and product type, from which its sensor can be told.
        assets: those that are rasters.
        error: what is raised about it.
        allow_remote: whether its assets may be on the network.
    """

    place: str
    name: str
    properties: Mapping[str, Any]
    identity: str
    assets: tuple[Asset, ...]
    error: type[CloudfixError]
    allow_remote: bool

    @property
    def title(self) -> str:
        """What messages call it."""
        return shown(self.place)

    def locate(self, asset: Asset) -> str:
        """An asset's raster as GDAL opens it.

        Raises:
            CloudfixError: as `error`: it is remote and that is not allowed, or a file outside the item's own folder.
        """
        if is_remote(self.place):
            href = urljoin(self.place, asset.href)
            if href.startswith("/vsi") or not is_remote(href):
                raise self.error(f"{self.title}: asset {asset.key} is at {href[:200]}, which is not on the network")
            return gdal_name(href, self.error, allow_remote=self.allow_remote)
        if is_remote(asset.href):
            return gdal_name(asset.href, self.error, allow_remote=self.allow_remote)
        return str(self._beside(asset))

    def _beside(self, asset: Asset) -> Path:
        path = unquote(urlsplit(asset.href).path) if asset.href.startswith("file:") else asset.href
        folder = Path(self.place).absolute().parent
        try:
            inside = (folder / path).resolve().is_relative_to(folder.resolve())
        except (OSError, ValueError, RuntimeError):
            inside = False
        if not inside:
            raise self.error(
                f"{self.title}: asset {asset.key} is at {asset.href[:200]}, outside the item's folder; copy the item "
                "beside its assets, or name the files themselves"
            )
        return folder / path


def read_item(place: str, error: type[CloudfixError], *, allow_remote: bool) -> Item:
    """Read an item.

    Raises:
        CloudfixError: as `error`: it cannot be read, or is none.
    """
    content = _fetched(place, error) if is_remote(place) else _loaded(place)
    title = shown(place)
    if len(content) > MAX_METADATA:
        raise error(f"{title}: has more than {MAX_METADATA >> 20} MiB; a STAC item was expected")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as reason:
        raise error(f"{title}: is not JSON ({reason}); a STAC item was expected") from None
    kind = _mapping(value).get("type")
    assets = _mapping(value).get("assets")
    if kind != "Feature" or not isinstance(assets, dict):
        raise error(f"{title}: is no STAC item ({str(kind)[:40]}); one Feature with assets was expected")
    properties = _mapping(value.get("properties"))
    name = str(value.get("id") or Path(title).stem)
    identity = " ".join(str(text) for text in (name, value.get("collection"), properties.get("s2:product_type")))
    return Item(place, name, properties, identity, tuple(_rasters(assets)), error, allow_remote)


def _loaded(place: str) -> bytes:
    with Path(place).open("rb") as file:
        return file.read(MAX_METADATA + 1)


def _fetched(place: str, error: type[CloudfixError]) -> bytes:
    if not place.lower().startswith(("http://", "https://")):
        raise error(f"{shown(place)}: items are read from files and from http(s); download it")
    try:
        with urlopen(place, timeout=_TIMEOUT) as response:  # noqa: S310 (http and https only)
            content: bytes = response.read(MAX_METADATA + 1)
    except (URLError, OSError, ValueError) as reason:
        raise error(f"{shown(place)}: cannot be fetched ({reason}); check the address, or download it") from None
    return content


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rasters(assets: Mapping[str, Any]) -> Iterator[Asset]:
    for key, value in assets.items():
        fields = _mapping(value)
        href, roles, kind = fields.get("href"), fields.get("roles"), fields.get("type")
        if not isinstance(href, str) or (isinstance(roles, list) and _NOT_DATA & {str(role) for role in roles}):
            continue
        if _TYPES.match(kind) if isinstance(kind, str) else urlsplit(href).path.lower().endswith(_IMAGES):
            yield Asset(key, href, _bands(fields), fields)


def _bands(fields: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """What an asset says of its bands: `bands` of STAC 1.1, and `eo:bands` and `raster:bands` of 1.0, put together."""
    lists = [[_mapping(band) for band in said] for key in _BAND_LISTS if isinstance(said := fields.get(key), list)]
    merged: list[dict[str, Any]] = [{} for _ in range(max((len(bands) for bands in lists), default=1))]
    for bands in lists:
        for index, band in enumerate(bands):
            merged[index] |= band
    return tuple(merged)
