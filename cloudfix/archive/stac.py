"""STAC Items that describe outputs, so that catalogues can take them up."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rasterio.warp import transform_geom
from shapely.geometry import MultiPolygon, mapping, shape  # type: ignore[import-untyped]
from shapely.geometry.polygon import Polygon, orient  # type: ignore[import-untyped]

from cloudfix.archive.dates import acquired
from cloudfix.errors import UsageError
from cloudfix.raster.atomic import staging, writing
from cloudfix.raster.footprint import lonlat
from cloudfix.raster.grid import Grid, grid_of
from cloudfix.raster.info import SceneInfo

if TYPE_CHECKING:
    from types import ModuleType

    import xarray as xr

    from cloudfix.archive.tasks import Task
    from cloudfix.restoration.cover import Cover

EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
)
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_EDGE_POINTS = 16
_DEGREES = 7
"""Decimals of coordinates: a centimetre."""

_STRAIGHT = 1e-6
"""Degrees by which an edge may be bent and still count as straight."""

_FIRST_IMAGE = datetime(1972, 7, 23, tzinfo=UTC)
"""Launch of Landsat 1: what is not dated is later."""


def require_pystac() -> ModuleType:
    """The library that makes Items.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return import_module("pystac")
    except ImportError:
        raise UsageError("--stac: needs pystac; pip install 'cloudfix[stac]'") from None


def write_item(task: Task, scene: xr.DataArray, cover: Cover, provenance: dict[str, str]) -> None:
    """Write the Item of a scene's outputs, whole or not at all.

    Args:
        task: the scene; `task.item` is where it goes.
        scene: from `open_scene`.
        cover: of the input, counted in the mask.
        provenance: tags of the output.

    Raises:
        OutputError: it cannot be written.
    """
    if task.item is None:
        return
    item = make_item(task, scene, cover, provenance)
    with staging(task.item) as stage, writing(task.item):
        stage.file.write_text(json.dumps(item, indent=1, ensure_ascii=True), encoding="utf-8")
        stage.publish()


def make_item(task: Task, scene: xr.DataArray, cover: Cover, provenance: dict[str, str]) -> dict[str, Any]:
    """The Item as JSON; arguments as in `write_item`."""
    pystac = require_pystac()
    grid = grid_of(scene)
    outline = footprint(grid)
    item = pystac.Item(
        id=task.output.stem,
        geometry=None if outline is None else mapping(outline),
        bbox=None if outline is None else [round(value, _DEGREES) for value in lonlat(grid)],
        properties=_projection(grid) | _properties(cover, provenance),
        stac_extensions=list(EXTENSIONS),
        **_when(scene),
    )
    for key, path, kind, roles in (
        ("image", task.output, _COG, ["data"]),
        ("mask", task.mask, _COG, ["cloud", "cloud-shadow"]),
        ("quicklook", task.quicklook, "image/png", ["overview"]),
    ):
        if path is not None:
            extra = {"bands": _bands(scene)} if key == "image" else None
            item.add_asset(
                key,
                pystac.Asset(f"./{quote(os.fsencode(path.name))}", media_type=kind, roles=roles, extra_fields=extra),
            )
    found: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    return found


def footprint(grid: Grid) -> Polygon | MultiPolygon | None:
    """The outline of a grid in degrees, cut at the date line; None for one that lies nowhere."""
    if grid.crs is None:
        return None
    corners = ((0, 0), (0, grid.height), (grid.width, grid.height), (grid.width, 0))
    t = grid.transform
    outline = Polygon([(t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f) for x, y in corners])
    dense = outline.segmentize(outline.length / (4 * _EDGE_POINTS))
    moved = shape(transform_geom(grid.crs, "EPSG:4326", mapping(dense), antimeridian_cutting=True, precision=_DEGREES))
    outlines = [orient(part.simplify(_STRAIGHT)) for part in getattr(moved, "geoms", [moved])]
    return outlines[0] if len(outlines) == 1 else MultiPolygon(outlines)


def _projection(grid: Grid) -> dict[str, Any]:
    code = None if grid.crs is None else grid.crs.to_authority()
    found: dict[str, Any] = {"proj:code": None if code is None else ":".join(code)}
    if code is None and grid.crs is not None:
        found["proj:wkt2"] = grid.crs.to_wkt()
    return found | {"proj:shape": [grid.height, grid.width], "proj:transform": list(grid.transform)[:6]}


def _properties(cover: Cover, provenance: dict[str, str]) -> dict[str, Any]:
    """What was processed, and how. The cloud cover is the input's: so much is restored, not measured."""
    return {
        "eo:cloud_cover": round(100 * cover.cloud, 2),
        "processing:software": {"cloudfix": provenance["CLOUDFIX_VERSION"]},
        "processing:lineage": (
            f"Cloud and shadow ({provenance['CLOUDFIX_MASK']}) replaced by {provenance['CLOUDFIX_MODEL']} "
            f"{provenance['CLOUDFIX_MODEL_SHA256'][:12]}"
        ),
        **{key.lower().replace("_", ":", 1): value for key, value in provenance.items()},
    }


def _when(scene: xr.DataArray) -> dict[str, Any]:
    source = scene.attrs.get("source", [""])[0]
    when = acquired(scene.attrs.get("tags", {}), source)
    if when is not None:
        return {"datetime": when}
    path = Path(source)
    last = datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.is_file() else datetime.now(UTC)
    return {"datetime": None, "start_datetime": _FIRST_IMAGE, "end_datetime": last}


def _bands(scene: xr.DataArray) -> list[dict[str, str]]:
    names = scene["band"].values.tolist()
    return [
        {"name": name} | ({"eo:common_name": slot} if slot else {})
        for name, slot in zip(names, SceneInfo.of(scene).slots, strict=True)
    ]
