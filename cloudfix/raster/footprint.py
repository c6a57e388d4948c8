"""Where rasters lie on Earth, and how much of one another covers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rasterio.errors import CRSError
from rasterio.warp import calculate_default_transform, transform_bounds, transform_geom
from shapely.geometry import box, mapping, shape  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from cloudfix.raster.grid import Grid

_LONLAT = "EPSG:4326"
_EDGE_POINTS = 21


def lonlat(grid: Grid) -> tuple[float, float, float, float]:
    """West, south, east, north in degrees; west exceeds east across the date line."""
    bounds: tuple[float, float, float, float] = transform_bounds(
        grid.crs, _LONLAT, *grid.bounds, densify_pts=_EDGE_POINTS
    )
    return bounds


def in_words(grid: Grid) -> str:
    """Its extent for a message."""
    west, south, east, north = lonlat(grid)
    return f"{west:.3f}…{east:.3f}°E {south:.3f}…{north:.3f}°N"


def coverage(scene: Grid, other: Grid) -> float:
    """The part of `scene` that the frame of `other` covers, 0 to 1."""
    if _far_apart(lonlat(scene), lonlat(other)):
        return 0.0
    outline = box(*scene.bounds).segmentize(max(scene.height, scene.width) * scene.pixel / _EDGE_POINTS)
    try:
        moved = shape(transform_geom(scene.crs, other.crs, mapping(outline)))
    except CRSError:
        return 0.0
    if not moved.is_valid or moved.area == 0:
        return 0.0
    return float(moved.intersection(box(*other.bounds)).area / moved.area)


def _far_apart(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    if a[1] > b[3] or b[1] > a[3]:
        return True
    across_date_line = a[0] > a[2] or b[0] > b[2]
    return not across_date_line and (a[0] > b[2] or b[0] > a[2])


def pixel_on(grid: Grid, target: Grid) -> float:
    """Side of a pixel of `grid` in the units of the reference system of `target`."""
    transform: Any = calculate_default_transform(grid.crs, target.crs, grid.width, grid.height, *grid.bounds)[0]
    return float(abs(transform.determinant) ** 0.5)
