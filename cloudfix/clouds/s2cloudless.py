"""The s2cloudless detector for Sentinel-2 L1C, an optional package (`pip install 'cloudfix[s2cloudless]'`).

Zupanc 2017, "Improving cloud detection with machine learning". The package gives each pixel a probability;
averaging and dilation follow its authors' settings for 10 m pixels, but in exact integer arithmetic, so that
a pixel does not depend on how the scene was cut.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage, signal

from cloudfix.clouds.classes import CLEAR, CLOUD, NODATA
from cloudfix.errors import MaskError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SLOTS = (
    "coastal", "blue", "red", "rededge071", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22",
)  # fmt: skip
"""The slots that it needs, in the order it takes them."""

_THRESHOLD = 0.4
_AVERAGE_RADIUS = 22
_DILATION_RADIUS = 11
_LEVELS = 2**16


class _S2Cloudless:
    """The detector as `cloudfix.clouds.plugins.Detector` has it."""

    halo = _AVERAGE_RADIUS + _DILATION_RADIUS

    def __call__(
        self, reflectance: Mapping[str, NDArray[np.floating[Any]]], valid: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """Cloud by s2cloudless; it knows no shadow.

        Args:
            reflectance: `(H, W)` arrays by slot, all of `SLOTS`, 0…1, at 10 m.
            valid: `(H, W)`, False on nodata.

        Returns:
            uint8 classes.

        Raises:
            MaskError: the package is not installed, or a slot is missing.
        """
        missing = [slot for slot in SLOTS if slot not in reflectance]
        if missing:
            raise MaskError(
                f"--mask s2cloudless: the scene lacks {', '.join(missing)}, and it needs all of "
                "Sentinel-2 L1C; use another --mask"
            )
        spectra = np.stack([np.asarray(reflectance[slot], np.float32) for slot in SLOTS], axis=-1)
        usable = valid & np.isfinite(spectra).all(axis=-1)
        probability = np.zeros(usable.shape, np.float32)
        if usable.any():
            probability[usable] = _probabilities(spectra[usable])
        result = np.where(_smooth(probability, usable), np.uint8(CLOUD), np.uint8(CLEAR))
        result[~usable] = NODATA
        return result


cloud_mask = _S2Cloudless()
"""The detector's entry point."""


@cache
def _detector() -> Any:
    try:
        from s2cloudless import S2PixelCloudDetector
    except ImportError:
        raise MaskError(
            "--mask s2cloudless: the package is not installed; run pip install 'cloudfix[s2cloudless]'"
        ) from None
    return S2PixelCloudDetector()


def _probabilities(spectra: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cloud probability of each of `(N, 10)` spectra."""
    maps = _detector().get_cloud_probability_maps(spectra[None, None])
    return np.asarray(maps[0, 0], np.float32)


def _smooth(probability: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where the mean probability around a pixel is above the threshold, dilated."""
    levels = np.rint(probability * np.float32(_LEVELS))
    cloudy = _disk_sum(levels) > _THRESHOLD * _LEVELS * _disk_sum(usable)
    if not cloudy.any():
        return cloudy
    reached: NDArray[np.bool_] = ndimage.distance_transform_edt(~cloudy) <= _DILATION_RADIUS
    return reached


def _disk_sum(values: NDArray[Any]) -> NDArray[np.float64]:
    """Sums of integers over the averaging disk; rounding makes the transform's result exact again."""
    offsets = np.arange(-_AVERAGE_RADIUS, _AVERAGE_RADIUS + 1)
    disk = offsets[:, None] ** 2 + offsets**2 <= _AVERAGE_RADIUS**2
    sums: NDArray[np.float64] = np.rint(signal.fftconvolve(values.astype(np.float64), disk, mode="same"))
    return sums
