"""How much of a scene is cloud, at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import dask.base as dask
import numpy as np

from cloudfix.clouds.classes import CLOUD, NODATA, SHADOW
from cloudfix.restoration import masking
from cloudfix.restoration.sampling import sample_windows

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Cover:
    """Shares of the pixels that have data, 0 … 1.

    Attributes:
        cloud: share of cloud.
        shadow: share of cloud shadow.
        source: what told them.
    """

    cloud: float
    shadow: float
    source: str


def estimate_cover(scene: xr.DataArray) -> Cover:
    """Cover of the windows of `sampling.sample_windows`: of the whole scene, where it has up to 2048 pixels a side.

    Raises:
        MaskError: nothing tells cloud from clear sky in this scene.
    """
    found = masking.classify(scene, None, 0, replace_all=False)
    windows = [found.classes[window.slices] for window in sample_windows(*found.classes.shape)]
    pixels = np.concatenate([block.ravel() for block in dask.compute(*windows)])  # type: ignore[no-untyped-call]
    seen = max(int((pixels != NODATA).sum()), 1)
    return Cover(float((pixels == CLOUD).sum() / seen), float((pixels == SHADOW).sum() / seen), found.source.name)
