"""Grids: where a raster's pixels lie, apart from what they hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import rioxarray  # noqa: F401 (registers the .rio accessor)
from rasterio.transform import Affine

from cloudfix.errors import SceneError

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray
    from rasterio.crs import CRS

_SHAPE = "raster_shape"
"""Attribute of `spatial_ref`: rows and columns of a rotated raster."""

_SAME = 1e-3
"""Grids whose corners differ by less than this part of a pixel are the same."""


@dataclass(frozen=True)
class Grid:
    """A raster's reference system, its affine transform (pixel to map) and its size."""

    crs: CRS | None
    transform: Affine
    height: int
    width: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in map units, of a rotated grid too."""
        xs, ys = zip(*(_at(self.transform, *corner) for corner in self._corners), strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def pixel(self) -> float:
        """Side of a pixel in map units."""
        return float(abs(self.transform.determinant) ** 0.5)

    @property
    def georeferenced(self) -> bool:
        """Whether it lies anywhere at all."""
        return self.crs is not None or not self.transform.almost_equals(Affine.identity())

    def matches(self, other: Grid) -> bool:
        """Whether both have the same pixels in the same places."""
        if (self.height, self.width, self.crs) != (other.height, other.width, other.crs):
            return False
        inverse = ~self.transform
        return all(
            np.allclose(_at(inverse, *_at(other.transform, *corner)), corner, rtol=0, atol=_SAME)
            for corner in self._corners
        )

    def at(self, pixel: float) -> Grid:
        """The same ground in pixels of another size, from the same corner; the last may reach beyond it."""
        factor = pixel / self.pixel
        height, width = (math.ceil(side / factor - _SAME) for side in (self.height, self.width))
        a, b, c, d, e, f = tuple(self.transform)[:6]
        transform = Affine(a * factor, b * factor, c, d * factor, e * factor, f)
        return Grid(self.crs, transform, max(height, 1), max(width, 1))

    @property
    def _corners(self) -> tuple[tuple[int, int], ...]:
        return (0, 0), (self.width, 0), (0, self.height), (self.width, self.height)

    def coords(self) -> dict[str, Any]:
        """Coordinates of a DataArray on this grid, the pixels' centres; none where the grid is rotated."""
        transform = self.transform
        found: dict[str, Any] = {}
        if transform.is_rectilinear:
            found["x"] = ("x", transform.c + (np.arange(self.width) + 0.5) * transform.a)
            found["y"] = ("y", transform.f + (np.arange(self.height) + 0.5) * transform.e)
        return found


def place(array: xr.DataArray, grid: Grid) -> xr.DataArray:
    """Give a DataArray (..., y, x) the coordinates and the reference system of `grid`."""
    placed = array.assign_coords(grid.coords())
    if grid.crs is not None:
        placed = placed.rio.write_crs(grid.crs)
    located: xr.DataArray = placed.rio.write_transform(grid.transform)
    if not grid.transform.is_rectilinear:
        # Without coordinates, nothing else would tell a crop from the whole.
        located.coords[located.rio.grid_mapping].attrs[_SHAPE] = [grid.height, grid.width]
    return located


def grid_of(array: xr.DataArray) -> Grid:
    """The grid of a DataArray (..., y, x), also after it was cropped or thinned out by index.

    The exact transform is kept in `spatial_ref`, which xarray does not update when it slices, so the
    coordinates decide which part of it is left.

    Raises:
        SceneError: a crop of a rotated grid, which has no such coordinates.
    """
    height, width = array.sizes["y"], array.sizes["x"]
    whole = _stored_transform(array)
    if "x" in array.coords and "y" in array.coords:
        x, y = (np.asarray(array[axis], dtype=float) for axis in ("x", "y"))
        whole = _part(whole, x, y)
    original = _mapping(array).get(_SHAPE, [height, width])
    if list(original) != [height, width]:
        raise SceneError(
            f"scene: {width} × {height} pixels of a rotated raster of {original[1]} × {original[0]}, and nothing tells "
            "which; take all of it, or bring the file north up first (gdalwarp IN OUT)"
        )
    return Grid(array.rio.crs, whole, height, width)


def _mapping(array: xr.DataArray) -> dict[str, Any]:
    mapping = array.coords.get(array.rio.grid_mapping)
    return {} if mapping is None else mapping.attrs


def _stored_transform(array: xr.DataArray) -> Affine:
    text = _mapping(array).get("GeoTransform", "")
    return Affine.from_gdal(*map(float, text.split())) if text else Affine.identity()


def _part(whole: Affine, x: NDArray[np.float64], y: NDArray[np.float64]) -> Affine:
    """The transform of the pixels at these centres; exactly that of `whole` as far as they are its pixels."""
    step_x, step_y = _step(x, whole.a), _step(y, whole.e)
    column = (x[0] - step_x / 2 - whole.c) / whole.a
    row = (y[0] - step_y / 2 - whole.f) / whole.e
    if (step_x, step_y) == (whole.a, whole.e) and _integral(column) and _integral(row):
        left, top = _at(whole, round(column), round(row))
        return Affine(whole.a, 0, left, 0, whole.e, top)
    return Affine(step_x, 0, float(x[0] - step_x / 2), 0, step_y, float(y[0] - step_y / 2))


def _at(transform: Affine, column: float, row: float) -> tuple[float, float]:
    return (
        transform.a * column + transform.b * row + transform.c,
        transform.d * column + transform.e * row + transform.f,
    )


def _step(centres: NDArray[np.float64], expected: float) -> float:
    if len(centres) < 2:
        return expected
    step = float((centres[-1] - centres[0]) / (len(centres) - 1))
    return expected if abs(step - expected) < abs(expected) * 1e-6 else step


def _integral(value: float) -> bool:
    return abs(value - round(value)) < _SAME
