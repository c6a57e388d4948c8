"""What clouds a scene gets: a preset, at the scene's scale and under its sun."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloudfix.clouds.simulation import PRESETS, CloudRecipe
from cloudfix.errors import UsageError
from cloudfix.raster.grid import grid_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from cloudfix.raster.grid import Grid

_PIXEL = (1.0, 1000.0)
_UNKNOWN_PIXEL = 10.0
_DEGREE = 111_320.0
"""Metres of a degree of latitude."""

_STRUCTURES = 3
"""How many of the largest structures of cloud lie side by side in a scene, at least: weather, not a pattern."""

_COVER = (0.1, 0.7)
"""Of a scene, where nobody says it: some of it is to be seen."""

_LIMITS = {
    "cover": (0.01, 1.0, "a share of the scene"),
    "cloud_height": (10.0, 20_000.0, "metres above the ground"),
    "sun_azimuth": (0.0, 360.0, "degrees from north over east"),
    "sun_elevation": (5.0, 89.0, "degrees above the horizon"),
}


def scene_recipe(
    scene: xr.DataArray,
    kind: str,
    *,
    cover: float | None,
    cloud_height: float | None,
    sun_azimuth: float | None,
    sun_elevation: float | None,
) -> CloudRecipe:
    """The preset `kind` for a scene: its pixel, structures as large as it has room for, its sun where it is known.

    Args:
        scene: from `open_scene`.
        kind: one of `clouds.simulation.PRESETS`.
        cover: share of the scene under dense cloud; None leaves it to the seed.
        cloud_height: in metres; None leaves it to the seed.
        sun_azimuth: in degrees from north over east; None takes the scene's metadata, else the seed decides.
        sun_elevation: in degrees above the horizon; None the same.

    Raises:
        UsageError: the preset is unknown, or a number is out of bounds.
    """
    if kind not in PRESETS:
        raise UsageError(f"--kind {kind}: unknown; use one of {', '.join(PRESETS)}")
    given = {"cover": cover, "cloud_height": cloud_height, "sun_azimuth": sun_azimuth, "sun_elevation": sun_elevation}
    for name, value in given.items():
        _check(name, value)
    recipe, grid, tags = PRESETS[kind], grid_of(scene), scene.attrs.get("tags", {})
    azimuth = _first(sun_azimuth, _tagged(tags, "sun_azimuth"))
    elevation = _first(sun_elevation, _tagged(tags, "sun_elevation"))
    low, high = recipe.wavelength
    return replace(
        recipe,
        cloud=recipe.cloud if kind == "thin" and cover is None else 1.0,
        cover=_COVER if cover is None else (cover, cover),
        wavelength=(low, max(high, max(grid.height, grid.width) / _STRUCTURES)),
        height=recipe.height if cloud_height is None else (cloud_height, cloud_height),
        sun_azimuth=recipe.sun_azimuth if azimuth is None else (_in_image(azimuth, grid),) * 2,
        sun_elevation=recipe.sun_elevation if elevation is None else (elevation, elevation),
        pixel=min(max(_metres(grid), _PIXEL[0]), _PIXEL[1]),
    )


def _check(name: str, value: float | None) -> None:
    low, high, what = _LIMITS[name]
    if value is not None and not low <= value <= high:
        raise UsageError(f"--{name.replace('_', '-')} {value:g}: expected {what}, {low:g} to {high:g}")


def _first(given: float | None, known: float | None) -> float | None:
    return known if given is None else given


def _tagged(tags: Mapping[str, Any], name: str) -> float | None:
    """A number that a tag states, whatever stands before its name: SUN_AZIMUTH, view:sun_azimuth."""
    low, high, _ = _LIMITS[name]
    for key, value in tags.items():
        if key.lower().endswith(name):
            try:
                number = float(value) % 360
            except ValueError:
                continue
            if low <= number <= high:
                return number
    return None


def _in_image(azimuth: float, grid: Grid) -> float:
    """An azimuth on the map as one in the image, from up over right: they differ where rows do not run south."""
    inverse = ~grid.transform
    east, north = math.sin(math.radians(azimuth)), math.cos(math.radians(azimuth))
    if not grid.georeferenced:
        return azimuth
    right, down = inverse.a * east + inverse.b * north, inverse.d * east + inverse.e * north
    return math.degrees(math.atan2(right, -down)) % 360


def _metres(grid: Grid) -> float:
    """Side of a pixel in metres; Sentinel-2's where nothing tells."""
    if grid.crs is None:
        return _UNKNOWN_PIXEL
    if grid.crs.is_geographic:
        _, bottom, _, top = grid.bounds
        return grid.pixel * _DEGREE * math.sqrt(math.cos(math.radians((bottom + top) / 2)))
    return grid.pixel * float(grid.crs.linear_units_factor[1])
