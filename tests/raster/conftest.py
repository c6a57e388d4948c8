"""Miniature products with real names and metadata, made on the spot."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from hypothesis import settings
from rasterio.transform import Affine

from cloudfix.errors import CloudfixWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

settings.register_profile("long", max_examples=6_000, deadline=None)

ORIGIN = (500_000.0, 5_000_000.0)


@pytest.fixture
def no_warnings() -> Iterator[None]:
    """Our own warnings are errors, unless a test expects them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", CloudfixWarning)
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture
def raster(tmp_path: Path) -> Callable[..., Path]:
    """Writes a GeoTIFF (or, by its suffix, a JPEG2000) of an array (band, y, x)."""

    def write(
        name: str,
        data: NDArray[Any],
        *,
        crs: str | None = "EPSG:32633",
        pixel: float = 10,
        transform: Affine | None = None,
        descriptions: Sequence[str] = (),
        tags: dict[str, str] | None = None,
        scales: Sequence[float] = (),
        offsets: Sequence[float] = (),
        **profile: Any,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if crs is not None or transform is not None:
            profile |= {"crs": crs, "transform": transform or Affine(pixel, 0, ORIGIN[0], 0, -pixel, ORIGIN[1])}
        count, height, width = data.shape
        if path.suffix == ".jp2":
            profile |= {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES"}
        else:
            profile |= {"driver": "GTiff"}
        with rasterio.open(path, "w", width=width, height=height, count=count, dtype=data.dtype, **profile) as out:
            out.write(data)
            out.update_tags(**(tags or {}))
            for index, text in enumerate(descriptions, start=1):
                out.set_band_description(index, text)
            if len(scales):
                out.scales, out.offsets = scales, offsets
        return path

    return write


@pytest.fixture
def dn(rng: np.random.Generator) -> Callable[..., NDArray[Any]]:
    """Random Sentinel-2-like DN, some of them dark."""

    def make(count: int, height: int = 40, width: int = 50, *, low: int = 50, high: int = 6000) -> NDArray[Any]:
        return rng.integers(low, high, (count, height, width)).astype("uint16")

    return make
