"""Cloud and shadow from reflectance alone: the rules of DSen2-CR.

Source: Meraner et al. 2020, "Cloud removal in Sentinel-2 imagery using a deep residual neural network and
SAR-optical data fusion", whose cloud score follows Schmitt et al. 2019 and whose shadow rule follows Zhai et
al. 2018. The rules were written for Sentinel-2 L1C; a ramp whose bands the scene lacks is left out.

All functions take `(H, W)` arrays of reflectance under their slot names. A pixel of the result depends on no
pixel further than `HALO` away, given the same `ShadowThresholds`, and its arithmetic does not depend on how
the image was cut: an interior window with `HALO` pixels of context gives the same bits as the whole image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy import ndimage

from cloudfix.clouds.classes import CLEAR, CLOUD, NODATA, SHADOW
from cloudfix.errors import MaskError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    Reflectance: TypeAlias = Mapping[str, NDArray[np.floating[Any]]]
    Bands: TypeAlias = Mapping[str, NDArray[np.float32]]
    Pixels: TypeAlias = NDArray[np.bool_]

REQUIRED = ("blue", "green", "red", "swir16")
"""Slots without which there is no cloud score; a near infrared, one of `NEAR_INFRARED`, is needed as well."""

NEAR_INFRARED = ("nir", "nir08")
"""The near infrared of the shadow rule, best first: Landsat-8 has only nir08."""

OPTIONAL = ("coastal", "cirrus")
"""Slots that sharpen the cloud score where the scene has them."""

THRESHOLD = 0.2
"""The smoothed score from which a pixel is cloud."""

SLOTS = frozenset((*REQUIRED, *NEAR_INFRARED, *OPTIONAL))
"""All that these rules look at."""

_CLOSING = 5
_MEAN = 7
_MEDIAN = 5
HALO = 2 * (_CLOSING // 2) + _MEAN // 2
"""Pixels of context: dilation and erosion of the closing, then the mean; the shadow's median needs less."""

_FIXED_POINT = 2**40


@dataclass(frozen=True)
class ShadowThresholds:
    """Below both, a pixel is dark enough for shadow.

    Attributes:
        csi: threshold of the cloud shadow index, the mean of near infrared and swir16 reflectance.
        blue: threshold of blue reflectance.
    """

    csi: float
    blue: float


@dataclass(frozen=True)
class ShadowStatistics:
    """Statistics of part of a scene; the parts' sum is the scene's, to the last bit, however it was cut.

    Attributes:
        pixels: how many valid pixels were counted.
        csi_min: smallest cloud shadow index.
        csi_sum: sum of the index in units of 2⁻⁴⁰, an integer so that adding parts is exact in any order.
        blue_min: smallest blue reflectance.
        blue_sum: sum of blue reflectance, as `csi_sum`.
    """

    pixels: int = 0
    csi_min: float = float("inf")
    csi_sum: int = 0
    blue_min: float = float("inf")
    blue_sum: int = 0

    def __add__(self, other: ShadowStatistics) -> ShadowStatistics:
        return ShadowStatistics(
            self.pixels + other.pixels,
            min(self.csi_min, other.csi_min),
            self.csi_sum + other.csi_sum,
            min(self.blue_min, other.blue_min),
            self.blue_sum + other.blue_sum,
        )


def missing_slots(slots: Collection[str]) -> tuple[str, ...]:
    """What `slots` lack for these rules; empty where they suffice."""
    lacking = [slot for slot in REQUIRED if slot not in slots]
    if not any(slot in slots for slot in NEAR_INFRARED):
        lacking.append(NEAR_INFRARED[0])
    return tuple(lacking)


def shadow_statistics(reflectance: Reflectance, valid: Pixels | None = None) -> ShadowStatistics:
    """Statistics of one part of a scene, over its valid pixels, for `shadow_thresholds`.

    Raises:
        MaskError: a slot that the rules need is missing.
    """
    return _statistics(*_prepare(reflectance, valid))


def shadow_thresholds(parts: Iterable[ShadowStatistics]) -> ShadowThresholds:
    """The thresholds of the scene that `parts` make up; without a valid pixel nothing is shadow."""
    total = reduce(ShadowStatistics.__add__, parts, ShadowStatistics())
    if total.pixels == 0:
        return ShadowThresholds(float("-inf"), float("-inf"))
    csi_mean = total.csi_sum / (_FIXED_POINT * total.pixels)
    blue_mean = total.blue_sum / (_FIXED_POINT * total.pixels)
    return ShadowThresholds(
        csi=total.csi_min + 3 / 4 * (csi_mean - total.csi_min),
        blue=total.blue_min + 5 / 6 * (blue_mean - total.blue_min),
    )


def cloud_score(reflectance: Reflectance, valid: Pixels | None = None) -> NDArray[np.float32]:
    """The smoothed cloud score of each pixel, 1e-5…1; cloud from `THRESHOLD` on.

    Args:
        reflectance: `(H, W)` arrays by slot: `REQUIRED`, one of `NEAR_INFRARED`, any of `OPTIONAL`.
        valid: `(H, W)`, False on nodata. Invalid and non-finite pixels count as score 0 in their neighbours'
            smoothing, as the published mean filter has it beyond the image.

    Raises:
        MaskError: a slot that the rules need is missing.
    """
    return _cloud_score(*_prepare(reflectance, valid))


def any_cloud(reflectance: Reflectance, valid: Pixels | None = None) -> bool:
    """Whether `cloud_score` may reach `THRESHOLD` anywhere: False, in a tenth of the time, only where it does not.

    Neither the closing nor the mean can exceed the largest score that goes in, nor that the first of its ramps.

    Args:
        reflectance: as for `cloud_score`.
        valid: as for `cloud_score`.

    Raises:
        MaskError: a slot that the rules need is missing.
    """
    bands, least = _bands(reflectance), None
    # What is not finite is no cloud, and cannot be compared either.
    with np.errstate(invalid="ignore"):
        for ramp in _ramps(bands):
            least = ramp if least is None else np.minimum(least, ramp, out=least)
            if not np.any(least >= THRESHOLD, where=True if valid is None else valid):
                return False
    return True


def cloud_shadow_mask(
    reflectance: Reflectance, thresholds: ShadowThresholds | None = None, valid: Pixels | None = None
) -> NDArray[np.int8]:
    """The published mask: 1 cloud, −1 shadow, 0 clear (and where invalid).

    Args:
        reflectance: `(H, W)` arrays by slot: `REQUIRED`, one of `NEAR_INFRARED`, any of `OPTIONAL`.
        thresholds: the scene's; None takes `reflectance` for the whole scene.
        valid: `(H, W)`, False on nodata.

    Raises:
        MaskError: a slot that the rules need is missing.
    """
    return _mask(*_prepare(reflectance, valid), thresholds)


def classes(
    reflectance: Reflectance, thresholds: ShadowThresholds | None = None, valid: Pixels | None = None
) -> NDArray[np.uint8]:
    """`cloud_shadow_mask` in the package's classes, with NODATA where a pixel is invalid or not finite.

    Raises:
        MaskError: a slot that the rules need is missing.
    """
    bands, usable = _prepare(reflectance, valid)
    mask = _mask(bands, usable, thresholds)
    result = np.full(mask.shape, CLEAR, np.uint8)
    result[mask == 1] = CLOUD
    result[mask == -1] = SHADOW
    result[~usable] = NODATA
    return result


def _prepare(reflectance: Reflectance, valid: Pixels | None) -> tuple[dict[str, NDArray[np.float32]], Pixels]:
    """The bands as float32, invalid pixels zeroed, and where they are usable."""
    bands = _bands(reflectance)
    usable = np.logical_and.reduce([np.isfinite(band) for band in bands.values()])
    if valid is not None:
        usable &= valid
    if not usable.all():
        bands = {slot: np.where(usable, band, np.float32(0)) for slot, band in bands.items()}
    return bands, usable


def _bands(reflectance: Reflectance) -> dict[str, NDArray[np.float32]]:
    """Those that the rules look at, as float32."""
    lacking = missing_slots(reflectance)
    if lacking:
        raise MaskError(
            f"spectral cloud mask: the scene has {', '.join(reflectance) or 'no known band'}, and lacks "
            f"{', '.join(lacking)}; give a mask with --mask, or name the bands with --bands"
        )
    return {
        slot: np.asarray(reflectance[slot], np.float32)
        for slot in (*REQUIRED, _near_infrared(reflectance), *OPTIONAL)
        if slot in reflectance
    }


def _near_infrared(slots: Collection[str]) -> str:
    return next(slot for slot in NEAR_INFRARED if slot in slots)


def _mask(bands: Bands, usable: Pixels, thresholds: ShadowThresholds | None) -> NDArray[np.int8]:
    thresholds = thresholds or shadow_thresholds([_statistics(bands, usable)])
    mask = np.where(_shadow(bands, usable, thresholds), np.int8(-1), np.int8(0))
    mask[_cloud_score(bands, usable) >= THRESHOLD] = 1
    mask[~usable] = 0
    return mask


def _statistics(bands: Bands, usable: Pixels) -> ShadowStatistics:
    csi, blue = _shadow_index(bands)[usable], bands["blue"][usable]
    if csi.size == 0:
        return ShadowStatistics()
    return ShadowStatistics(csi.size, float(csi.min()), _exact_sum(csi), float(blue.min()), _exact_sum(blue))


def _cloud_score(bands: Bands, usable: Pixels) -> NDArray[np.float32]:
    raw = np.where(usable, _raw_score(bands), np.float32(0))
    closed = ndimage.grey_closing(raw, size=(_CLOSING, _CLOSING), mode="reflect")
    return np.clip(_box_sum(closed.astype(np.float64)) / _MEAN**2, 1e-5, 1).astype(np.float32)


def _raw_score(bands: Bands) -> NDArray[np.float32]:
    """The least of the ramps, none of them clipped below."""
    return reduce(np.minimum, _ramps(bands), np.ones_like(bands["blue"]))


def _ramps(bands: Bands) -> Iterator[NDArray[np.float32]]:
    blue, green, red, swir16 = (bands[slot] for slot in REQUIRED)
    yield _ramp(blue, 0.1, 0.5)
    yield _ramp(red + green + blue, 0.2, 0.8)
    if "coastal" in bands:
        yield _ramp(bands["coastal"], 0.1, 0.3)
    if "coastal" in bands and "cirrus" in bands:
        yield _ramp(bands["coastal"] + bands["cirrus"], 0.15, 0.2)
    brightness = green + swir16
    # A pixel without light in both bands is no snow: 0 leaves the decision to the brightness ramps.
    ndsi = np.divide(green - swir16, brightness, out=np.zeros_like(brightness), where=brightness > 0)
    yield _ramp(ndsi, 0.8, 0.6)


def _ramp(values: NDArray[np.float32], zero: float, one: float) -> NDArray[np.float32]:
    return (values - np.float32(zero)) / np.float32(one - zero)


def _box_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over the mean filter's window, zero beyond the image.

    Not `uniform_filter`: its running sum carries rounding along the row, so that a pixel's last bits would
    depend on where the image was cut.
    """
    taps = np.ones(_MEAN)
    rows = ndimage.correlate1d(values, taps, axis=0, mode="constant")
    sums: NDArray[np.float64] = ndimage.correlate1d(rows, taps, axis=1, mode="constant")
    return sums


def _shadow_index(bands: Bands) -> NDArray[np.float32]:
    """CSI of Zhai et al. 2018."""
    return (bands[_near_infrared(bands)] + bands["swir16"]) / np.float32(2)


def _shadow(bands: Bands, usable: Pixels, thresholds: ShadowThresholds) -> NDArray[np.bool_]:
    dark = usable & (_shadow_index(bands) < thresholds.csi) & (bands["blue"] < thresholds.blue)
    if not dark.any():
        return dark
    taps = np.ones(_MEDIAN)
    counts = ndimage.correlate1d(dark.astype(np.uint8), taps, axis=0, mode="constant")
    counts = ndimage.correlate1d(counts, taps, axis=1, mode="constant")
    # The median of zeros and ones is one where ones are the majority.
    majority: NDArray[np.bool_] = counts > _MEDIAN**2 // 2
    return majority


def _exact_sum(values: NDArray[np.float32]) -> int:
    fixed = np.rint(values.astype(np.float64) * _FIXED_POINT).astype(np.int64)
    # In two halves, whose sums 64 bits hold for any chunk.
    return (int((fixed >> 32).sum()) << 32) + int((fixed & 0xFFFFFFFF).sum())
