"""Clear scenes of any sensor, cut into windows that are read when asked for; cloud is added by whoever trains."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cloudfix.errors import CloudfixWarning, DataError, SceneError
from cloudfix.raster.header import read_header
from cloudfix.raster.info import SceneInfo
from cloudfix.raster.scene import open_scene
from cloudfix.restoration.pixels import valid_pixels
from cloudfix.training.datasets.checks import settle
from cloudfix.training.datasets.images import as_data_error, ordered, quietly, to_image
from cloudfix.training.datasets.layout import region_of
from cloudfix.training.datasets.reading import read_bands
from cloudfix.training.datasets.resize import resized
from cloudfix.training.datasets.sample import Sample
from cloudfix.training.datasets.scene_files import find_scenes
from cloudfix.training.datasets.splits import assign

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from cloudfix.training.datasets.request import Request

SIDE = 256
"""Windows have at least so many pixels a side, and less than twice as many."""

FEW = 5
"""Fewer scenes than these are split within, by blocks of windows."""


_NAMES_AND_NUMBERS = re.compile(r"\S*[\d/]\S*")


@dataclass(frozen=True)
class Window:
    """A part of a scene.

    Attributes:
        name: unique in the data set.
        region: the scene, or the window itself where scenes are split within.
        scene: its position among the scenes.
        rows: of the scene.
        columns: of the scene.
    """

    name: str
    region: str
    scene: int
    rows: slice
    columns: slice


class Scenes:
    """Windows of clear scenes, all of whose pixels have data; `Sample.cloudy` is None."""

    def __init__(
        self, name: str, scenes: Sequence[xr.DataArray], windows: Sequence[Window], resize: int | None
    ) -> None:
        self.name = name
        self._scenes = tuple(scenes)
        self._infos = tuple(SceneInfo.of(scene) for scene in scenes)
        self._windows = tuple(windows)
        self._resize = resize
        self.slots = ordered({slot for info in self._infos for slot in info.slots})

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self._windows)

    def __getitem__(self, index: int) -> Sample:
        """Window number `index`.

        Raises:
            DataError: its scene cannot be read there.
        """
        window = self._windows[index]
        image = to_image(_pixels(self._scenes[window.scene], window), self._infos[window.scene])
        return resized(Sample(window.name, image.slots, image.values, region=window.region), self._resize)

    def regions(self) -> tuple[str, ...]:
        """The region of each window."""
        return tuple(window.region for window in self._windows)


def open_scenes(request: Request) -> Scenes:
    """Open clear scenes: the rasters in a folder and below, one raster, or those that a .txt file lists.

    The bands of a product in files of their own are one scene. With `FEW` scenes or more, or where scenes are named for
    validation or test, whole scenes are split; else the windows of each are, in contiguous blocks: several dates of one
    place keep what is tested out of training.

    Raises:
        DataError: there are no scenes, one cannot be opened, or no window is without nodata.
        UsageError: a scene that is named is not there.
    """
    groups = find_scenes(request.root)
    regions = [region_of(name) for name in groups]
    whole = len(groups) >= FEW or bool({*regions} & {*request.validation, *request.test})
    chosen = request.choose(list(groups), regions) if whole else list(groups)
    scenes = _opened({name: groups[name] for name in chosen}, request)
    windows = [
        window
        for position, (name, scene) in enumerate(scenes.items())
        for window in _windows(position, name, scene, by_scene=whole)
    ]
    if not whole:
        within = [split for scene in _by_scene(windows) for split in assign([window.region for window in scene])]
        windows = request.choose(windows, [window.region for window in windows], within)
    opened = list(scenes.values())
    kept = [window for group in _by_scene(windows) for window in _with_data(opened[group[0].scene], group)]
    _say_left_out(request.root, len(windows), len(kept))
    return Scenes(request.name, opened, kept, request.resize)


def _opened(groups: dict[str, list[Path]], request: Request) -> dict[str, xr.DataArray]:
    scenes, problems = {}, []
    for name, paths in groups.items():
        try:
            with quietly():
                scenes[name] = open_scene(paths)
        except SceneError as error:
            problems.append(str(error))
    settle(problems, root=request.root, total=len(groups), unreadable=request.unreadable)
    if not scenes:
        raise DataError(f"{request.root}: no scene can be opened; the first: {problems[0]}")
    _say_once([note for scene in scenes.values() for note in scene.attrs["notes"]])
    return scenes


def _say_once(notes: Sequence[str]) -> None:
    """The first of notes that differ in names and numbers alone, with how many there are."""
    kinds: dict[str, list[str]] = {}
    for note in notes:
        _, _, text = note.partition(": ")
        kinds.setdefault(_NAMES_AND_NUMBERS.sub("", text), []).append(note)
    for alike in kinds.values():
        more = f" (and {len(alike) - 1} more scenes alike)" if len(alike) > 1 else ""
        warnings.warn(alike[0] + more, CloudfixWarning, stacklevel=4)


def _windows(position: int, name: str, scene: xr.DataArray, *, by_scene: bool) -> Iterator[Window]:
    """Windows that cover a scene, none over another, row by row."""
    for rows in _spans(scene.sizes["y"]):
        for columns in _spans(scene.sizes["x"]):
            own = f"{name}_{rows.start}_{columns.start}"
            yield Window(own, region_of(name) if by_scene else own, position, rows, columns)


def _by_scene(windows: Iterable[Window]) -> Iterator[list[Window]]:
    return (list(group) for _, group in groupby(windows, key=lambda window: window.scene))


def _spans(length: int) -> list[slice]:
    edges = np.linspace(0, length, max(length // SIDE, 1) + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _with_data(scene: xr.DataArray, windows: Sequence[Window]) -> Iterator[Window]:
    """The windows of which every pixel has data; one that cannot be read is among them, reading it will say why.

    One band tells of most windows that they are full, and takes a fraction of the time that all bands do.
    """
    info = SceneInfo.of(scene)
    if info.nodata is None and scene.dtype.kind != "f":
        yield from windows
        return
    path, band = _probe(scene, info)
    for window in windows:
        try:
            values = read_bands(path, (band,), (window.rows, window.columns))
            full = valid_pixels(values, info.nodata).all()
            if full or to_image(_pixels(scene, window), info).valid.all():
                yield window
        except DataError:
            yield window


def _probe(scene: xr.DataArray, info: SceneInfo) -> tuple[Path, int]:
    """File and band, from 1, of a spectral band that lies on the scene's own pixels."""
    headers = [read_header(path, allow_remote=True) for path in scene.attrs["files"]]
    places = [(header, band) for header in headers for band in range(1, header.count + 1)]
    return next(
        (Path(header.path), band)
        for (header, band), slot in zip(places, info.slots, strict=True)
        if slot and (header.grid.height, header.grid.width) == scene.shape[1:]
    )


def _pixels(scene: xr.DataArray, window: Window) -> NDArray[np.generic]:
    with as_data_error():
        values: NDArray[np.generic] = scene.data[:, window.rows, window.columns].compute(scheduler="synchronous")
    return values


def _say_left_out(root: Path, total: int, kept: int) -> None:
    if kept == 0:
        raise DataError(f"{root}: each of the {total} windows holds nodata; expected clear scenes with data all over")
    if kept < total:
        note = f"{total - kept} of {total} windows hold nodata and are left out"
        warnings.warn(f"{root}: {note}", CloudfixWarning, stacklevel=3)
