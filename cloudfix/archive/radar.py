"""Pairing scenes with radar images of a folder: those that lie over them, the nearest in time first."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasterio.crs import CRS
from rasterio.transform import Affine

from cloudfix.archive.dates import acquired
from cloudfix.archive.inputs import stamps
from cloudfix.errors import CloudfixWarning, SarError
from cloudfix.raster.footprint import coverage
from cloudfix.raster.grid import Grid, grid_of
from cloudfix.raster.header import read_header
from cloudfix.raster.sar import open_sar

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr

_RASTERS = frozenset({".tif", ".tiff", ".vrt", ".img", ".jp2"})
_POLARISATION = re.compile(r"(?<![A-Z])(VV|VH|HH|HV)(?![A-Z])|-00\d$", re.IGNORECASE)
"""What tells the files of one image from each other, with the number that they have in a SAFE product."""

_WHOLE = 0.95
"""Part of a scene from which on an image counts as covering it."""

_LEAST = 0.05
_DAY = 86400


@dataclass(frozen=True)
class Place:
    """Where and when a scene was taken; when is None if nothing tells."""

    grid: Grid
    when: datetime | None

    @classmethod
    def of(cls, scene: xr.DataArray) -> Place:
        """The place of a scene from `open_scene`."""
        source = scene.attrs.get("source", [""])[0]
        return cls(grid_of(scene), acquired(scene.attrs.get("tags", {}), source))

    def to_json(self) -> dict[str, Any]:
        """For a record, so that the scene need not be opened to pair it anew."""
        grid = self.grid
        return {
            "crs": grid.crs.to_wkt() if grid.crs else None,
            "transform": list(grid.transform)[:6],
            "shape": [grid.height, grid.width],
            "when": self.when.isoformat() if self.when else None,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Place:
        """The inverse of `to_json`."""
        crs = CRS.from_wkt(values["crs"]) if values["crs"] else None
        when = datetime.fromisoformat(values["when"]) if values["when"] else None
        return cls(Grid(crs, Affine(*values["transform"]), *values["shape"]), when)


@dataclass(frozen=True)
class RadarImage:
    """One radar image of the folder: its files, one or one a polarisation, where they lie and when it was taken."""

    files: tuple[str, ...]
    grid: Grid
    when: datetime


@dataclass(frozen=True)
class Pair:
    """A radar image on a scene's grid, and what is said of it in the output's tags."""

    radar: xr.DataArray
    note: str


@dataclass(frozen=True)
class Catalogue:
    """The radar images of a folder.

    Attributes:
        folder: where they are.
        max_days: the furthest in time that one may be from a scene.
        images: what was found there.
    """

    folder: Path
    max_days: float
    images: tuple[RadarImage, ...]

    @classmethod
    def read(cls, folder: Path, max_days: float) -> Catalogue:
        """Look through a folder and those in it; what cannot be used is said in a `CloudfixWarning`.

        Raises:
            SarError: there is no such folder, or no image with a date and a place in it.
        """
        if not folder.is_dir():
            raise SarError(f"--sar-dir {folder}: no such folder; expected one with Sentinel-1 images")
        images = tuple(_images(folder))
        if not images:
            raise SarError(
                f"--sar-dir {folder}: no raster in it with a place and a date in its tags or name, such as "
                "S1A_IW_GRDH_1SDV_20200101T052310_….tif"
            )
        return cls(folder, max_days, images)

    def near(self, place: Place) -> list[RadarImage]:
        """Images over a scene within `max_days`: those that cover it first, then by distance in time."""
        if place.when is None or place.grid.crs is None:
            return []
        when, limit = place.when, self.max_days * _DAY

        def distance(image: RadarImage) -> float:
            return abs((image.when - when).total_seconds())

        ranked = []
        for image in (image for image in self.images if distance(image) <= limit):
            share = coverage(place.grid, image.grid)
            if share >= _LEAST:
                ranked.append((share < _WHOLE, distance(image), image.files, image))
        return [image for *_, image in sorted(ranked, key=lambda entry: entry[:3])]

    def choice(self, place: Place) -> dict[str, Any]:
        """What a pairing depends on, for a record: another choice is another input."""
        return {"place": place.to_json(), "images": [stamps(image.files) for image in self.near(place)]}

    def pair(self, scene: xr.DataArray) -> Pair | None:
        """The first image that can guide a scene; why none does is said in a `CloudfixWarning`."""
        place = Place.of(scene)
        title = scene.attrs.get("source", ["scene"])[0]
        for image in self.near(place):
            try:
                radar = open_sar(image.files, scene)
            except SarError as reason:
                _note(f"{reason}; trying the next in {self.folder}")
                continue
            return Pair(radar, _in_words(image, place))
        if place.when is None:
            _note(f"{title}: no date in its tags or name, so no radar image is paired with it")
        else:
            _note(f"{title}: no radar image in {self.folder} over it within {self.max_days:g} days")
        return None


def _in_words(image: RadarImage, place: Place) -> str:
    names = ", ".join(Path(file).name for file in image.files)
    seconds = (image.when - place.when).total_seconds() if place.when else 0.0
    return f"{names}: {abs(seconds) / _DAY:.1f} days {'before' if seconds < 0 else 'after'} the scene"


def _images(folder: Path) -> Iterator[RadarImage]:
    together: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _RASTERS and path.is_file():
            key = str(path.with_name(_POLARISATION.sub("", path.stem)))
            together.setdefault(key, []).append(path)
    for files in together.values():
        try:
            header = read_header(files[0], SarError)
        except SarError as reason:
            _note(str(reason))
            continue
        when = acquired(header.tags, str(files[0].absolute()))
        if when is None or header.grid.crs is None:
            _note(
                f"{files[0]}: no {'date' if when is None else 'coordinate reference system'}; not paired with any scene"
            )
            continue
        yield RadarImage(tuple(str(file.absolute()) for file in files), header.grid, when)


def _note(text: str) -> None:
    warnings.warn(text, CloudfixWarning, stacklevel=3)
