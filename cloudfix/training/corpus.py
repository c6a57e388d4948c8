"""The corpus of real images that multispectral weights are trained and judged on, from originals to a cache.

Originals differ in bands, band order, offset and level. `build` reads each once, brings it to reflectance ×
10000 in the order of `sensors.SLOTS`, and writes one `.npz` a sample; `load` reads those back.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning

from cloudfix.clouds.spectral import cloud_shadow_mask
from cloudfix.errors import UsageError
from cloudfix.sensors import SENTINEL_2_STACK_10, SLOTS, get

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import EllipsisType

    from numpy.typing import NDArray

Window: TypeAlias = "tuple[EllipsisType, slice, slice]"

EDITION = 2
"""Goes up with every change of what the corpus holds, so that it is made anew."""

_BAND_SLOTS = get("sentinel-2-l1c").slots
_L1C = tuple(_BAND_SLOTS)
_L2A = tuple(get("sentinel-2-l2a").slots)
_EUROSAT = (*(band for band in _L1C if band != "B8A"), "B8A")
_DSEN2 = {
    "im10": ("B04", "B03", "B02", "B08"),
    "im20": ("B05", "B06", "B07", "B8A", "B11", "B12"),
    "im60": ("B01", "B09"),
}

_TRIPLET_REGIONS = {
    "4065": "north-china", "4287": "north-china", "4294": "north-china", "4433": "north-china",
    "4438": "north-china", "5254": "savanna", "5278": "savanna", "5349": "savanna",
}  # fmt: skip
"""Triplets that look like neighbours; every other triplet is a region by itself."""

_SNOW = "ROIs1970_fall_136"
"""Clear in autumn, cloudy over snow: its clear images serve, its pairs do not."""

_SERIES_CLEAR = (12, 13, 14, 16, 17, 18, 19, 20, 22, 23, 24, 26)
_SERIES_CLOUDY = (0, 1, 4, 5, 7, 11, 15, 21, 28)
_SERIES_OTHER_CLOUDY = ("0_2018-01-06_patch_17", "15_2018-07-05_patch_162", "21_2018-09-18", "5_2018-03-07")
_WRIGHT_CLEAR = (6, 7, 8, 10, 11, 12, 15, 16, 19, 22, 23, 24, 27)
_WRIGHT_CLOUDY = (2, 4, 5, 9, 13, 14, 17, 20, 21, 25, 26, 29)
_SNOW_TILES = ("609U_541L_3_0",)
"""TerraMesh tiles under snow: nothing tells snow from cloud that hides it, and all that is painted would be lighter."""

_OFFSET_L2A = ("433D_629L_3_1",)
"""TerraMesh L2A tiles with +1000 DN; its L1C tiles all have it."""


@dataclass(frozen=True)
class Sample:
    """One clear image, or a clear and a cloudy image of the same place.

    Attributes:
        name: unique.
        region: what the split is made by.
        slots: which of `sensors.SLOTS` are real; the others are 0 throughout.
        clear: (13, H, W) uint16, reflectance × 10000.
        cloudy: the same, or None.
        mask: (H, W) bool, cloud or shadow in `cloudy` by the DSen2-CR rules, or None.
        sar: (2, H, W) float32 VV and VH in dB, NaN where there is none, or None.
    """

    name: str
    region: str
    slots: tuple[str, ...]
    clear: NDArray[np.uint16]
    cloudy: NDArray[np.uint16] | None = None
    mask: NDArray[np.bool_] | None = None
    sar: NDArray[np.float32] | None = None

    def reflectance(self, which: Literal["clear", "cloudy"]) -> NDArray[np.float32]:
        """(13, H, W) reflectance of the clear or the cloudy image.

        Raises:
            ValueError: there is no cloudy image.
        """
        image = self.clear if which == "clear" else self.cloudy
        if image is None:
            raise ValueError(f"{self.name}: has no cloudy image")
        return image * np.float32(1e-4)

    def save(self, directory: Path) -> None:
        """Write `directory`/NAME.npz."""
        arrays = {
            key: value
            for key, value in (
                ("clear", self.clear),
                ("cloudy", self.cloudy),
                ("mask", self.mask),
                ("sar", self.sar),
            )
            if value is not None
        }
        np.savez(directory / f"{self.name}.npz", region=self.region, slots=self.slots, **arrays)  # type: ignore[arg-type]

    @classmethod
    def read(cls, path: Path) -> Sample:
        """The sample that `save` wrote to `path`."""
        with np.load(path) as stored:
            arrays: dict[str, Any] = {key: stored[key] for key in ("clear", "cloudy", "mask", "sar") if key in stored}
            return cls(path.stem, str(stored["region"]), tuple(map(str, stored["slots"])), **arrays)


def build(originals: Path, cache: Path) -> None:
    """Read the originals once and write the samples to `cache`, unless they are there.

    Raises:
        UsageError: `originals` is not the folder that holds `sen12mscr/`, `series/` and the others.
    """
    if any(cache.glob("*.npz")):
        return
    if not (originals / "sen12mscr").is_dir():
        raise UsageError(f"--data {originals}: expected a folder with sen12mscr/, series/ and the others in it")
    cache.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        for samples in (_sen12mscr, _series, _series_other, _wright, _eolearn, _clear_scenes, _with_sar):
            for sample in samples(originals):
                sample.save(cache)


def region_of(name: str) -> str:
    """The region of a SEN12MS-CR image by its name, such as "ROIs1868_summer_100_p500" or "sen12mscr_4065"."""
    return _TRIPLET_REGIONS.get(name.removeprefix("sen12mscr_"), re.sub(r"_p\d+$", "", name))


def load(cache: Path) -> list[Sample]:
    """All samples in `cache`, by name."""
    return [Sample.read(path) for path in sorted(cache.glob("*.npz"))]


def _sen12mscr(originals: Path) -> Iterator[Sample]:
    for path in sorted((originals / "sen12mscr").glob("*_s2_clear.tif")):
        name = path.name.removesuffix("_s2_clear.tif")
        region = region_of(name)
        cloudy = None if region == _SNOW else _stack(path.with_name(f"{name}_s2_cloudy.tif"), _L1C)
        sar = path.with_name(f"{name}_s1.tif")
        yield _sample(name, region, _L1C, _stack(path, _L1C), cloudy, _sar(sar) if sar.exists() else None)


def _series(originals: Path) -> Iterator[Sample]:
    paths = {int(path.name.split("_")[4]): path for path in (originals / "series").glob("*_patch_0.tif")}
    for date in _SERIES_CLEAR:
        yield _sample(f"italy_{date}", "italy", _L1C, _stack(paths[date], _L1C))
    for date in _SERIES_CLOUDY:
        clear = _stack(paths[_nearest(date, _SERIES_CLEAR)], _L1C)
        yield _sample(f"italy_{date}_cloudy", "italy", _L1C, clear, _stack(paths[date], _L1C))


def _series_other(originals: Path) -> Iterator[Sample]:
    for path in sorted((originals / "series_other").glob("*.tif")):
        date = path.stem.partition("ImgNo_")[2]
        if not date.startswith(_SERIES_OTHER_CLOUDY):
            yield _sample(f"italy_{date}", "italy", _L1C, _stack(path, _L1C))


def _wright(originals: Path) -> Iterator[Sample]:
    def stack(date: int) -> NDArray[np.uint16]:
        return _stack(originals / "series_wright" / f"wright_{date:02}.tif", SENTINEL_2_STACK_10)

    bands = SENTINEL_2_STACK_10
    for date in _WRIGHT_CLEAR:
        yield _sample(f"wright_{date:02}", "wright", bands, stack(date))
    for date in _WRIGHT_CLOUDY:
        clear = stack(_nearest(date, _WRIGHT_CLEAR))
        yield _sample(f"wright_{date:02}_cloudy", "wright", bands, clear, stack(date))


def _eolearn(originals: Path) -> Iterator[Sample]:
    clear, *cloudy = (_stack(originals / "series_wright" / f"eolearn_ref_{i}.tif", _L1C) for i in (2, 0, 1))
    for date, image in enumerate(cloudy):
        yield _sample(f"slovenia_{date}_cloudy", "slovenia", _L1C, clear, image)


def _clear_scenes(originals: Path) -> Iterator[Sample]:
    folder = originals / "s2_clear"
    for path in sorted(folder.glob("eurosat_*.tif")):
        yield _sample(path.stem, path.stem, _EUROSAT, _stack(path, _EUROSAT))
    for path in sorted(folder.glob("dsen2_*_im10.tif")):
        bands = tuple(band for group in _DSEN2.values() for band in group)
        image = np.zeros((len(SLOTS), 600, 600), np.uint16)
        for part, group in _DSEN2.items():
            image += _stack(path.with_name(path.name.replace("im10", part)), group, side=600)
        name = path.stem.removesuffix("_im10")
        yield _sample(name, name, bands, image)
    boadella = folder / "eotdl_Boadella_2020-01-28.tif"
    yield _sample("boadella_l2a", "boadella", _L2A, _stack(boadella, _L2A))
    wright = folder / "s2cloudmask_wright_20160101.tif"
    yield _sample("wright_scene", "wright", SENTINEL_2_STACK_10, _stack(wright, SENTINEL_2_STACK_10))


def _with_sar(originals: Path) -> Iterator[Sample]:
    for path in sorted((originals / "terramind").glob("S2L1C_*.tif")):
        tile = path.stem.removeprefix("S2L1C_")
        if tile in _SNOW_TILES:
            continue
        sar = _sar(path.with_name(f"S1RTC_{tile}.tif"))
        yield _sample(f"terramind_l1c_{tile}", tile, _L1C, _stack(path, _L1C, offset=-1000), None, sar)
        offset = -1000 if tile in _OFFSET_L2A else 0
        l2a = _stack(path.with_name(f"S2L2A_{tile}.tif"), _L2A, offset=offset)
        yield _sample(f"terramind_l2a_{tile}", tile, _L2A, l2a, None, sar)
    floods = originals / "s1s2_misc"
    name = "sen1floods_Spain_7370579"
    spain = _stack(floods / f"{name}_S2.tif", _L1C)
    yield _sample(name, "spain", _L1C, spain, None, _sar(floods / f"{name}_S1.tif"))


def _sample(
    name: str,
    region: str,
    bands: Sequence[str],
    clear: NDArray[np.uint16],
    cloudy: NDArray[np.uint16] | None = None,
    sar: NDArray[np.float32] | None = None,
) -> Sample:
    slots = tuple(slot for slot in SLOTS if slot in {_BAND_SLOTS[band] for band in bands})
    mask = None
    if cloudy is not None:
        reflectance = {slot: cloudy[SLOTS.index(slot)].astype(np.float32) / 10000 for slot in slots}
        mask = cloud_shadow_mask(reflectance) != 0
    return Sample(name, region, slots, clear, cloudy, mask, sar)


def _stack(path: Path, bands: Sequence[str], *, offset: int = 0, side: int | None = None) -> NDArray[np.uint16]:
    """(13, H, W) in slot order, 0 for bands that the file lacks; resampled to `side` pixels if given."""
    with rasterio.open(path) as file:
        shape = (file.count, side, side) if side else (file.count, *file.shape)
        values = file.read(out_shape=shape, resampling=Resampling.bilinear).astype(np.int32) + offset
    stack = np.zeros((len(SLOTS), *values.shape[1:]), np.uint16)
    stack[[SLOTS.index(_BAND_SLOTS[band]) for band in bands]] = values.clip(0, 65535)
    return stack


def _sar(path: Path) -> NDArray[np.float32]:
    """(2, H, W) dB; exact zeros are the sources' way to say that nothing was measured."""
    with rasterio.open(path) as file:
        values: NDArray[np.float32] = file.read().astype(np.float32)
    values[values == 0] = np.nan
    return values


def _nearest(date: int, dates: Sequence[int]) -> int:
    return min(dates, key=lambda other: abs(other - date))
