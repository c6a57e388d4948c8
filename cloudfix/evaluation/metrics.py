"""Image quality of a restored scene against the clear truth.

All metrics take `(C, H, W)` arrays in 0…1 (reflectance clipped to 0…1 for multispectral data) and compute in
float64. `where`, a boolean `(H, W)` array, restricts them to some pixels; a metric over no pixel is NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Image: TypeAlias = NDArray[np.floating[Any]]
    Pixels: TypeAlias = NDArray[np.bool_]

_SSIM_C1 = 0.01**2
_SSIM_C2 = 0.03**2
_offsets = np.arange(11) - 5
_SSIM_TAPS = np.exp(-(_offsets**2) / (2 * 1.5**2))
_SSIM_TAPS /= _SSIM_TAPS.sum()


@dataclass(frozen=True)
class Scores:
    """The metrics of one image, or of some of its pixels.

    Attributes:
        pixels: how many pixels were judged.
        mae: mean absolute error.
        rmse: root of the mean squared error over all bands.
        psnr: peak signal-to-noise ratio, dB.
        ssim: structural similarity, at most 1.
        sam_degrees: mean spectral angle, degrees.
        ndvi: mean absolute error of the vegetation index; NaN where its bands are not known.
        changed: mean absolute difference from the cloudy input; NaN where there is none.
    """

    pixels: int
    mae: float
    rmse: float
    psnr: float
    ssim: float
    sam_degrees: float
    ndvi: float = math.nan
    changed: float = math.nan


def mae(target: Image, prediction: Image, where: Pixels | None = None) -> float:
    """Mean absolute error over bands and pixels."""
    return _mean(np.abs(_difference(target, prediction, where)))


def mse(target: Image, prediction: Image, where: Pixels | None = None) -> float:
    """Mean squared error over bands and pixels."""
    return _mean(_difference(target, prediction, where) ** 2)


def rmse(target: Image, prediction: Image, where: Pixels | None = None) -> float:
    """Root of the mean squared error over bands and pixels."""
    return math.sqrt(mse(target, prediction, where))


def band_rmse(target: Image, prediction: Image, where: Pixels | None = None) -> float:
    """Mean over bands of each band's own RMSE."""
    squares = _difference(target, prediction, where) ** 2
    if squares.size == 0:
        return math.nan
    return _mean(np.sqrt(squares.mean(axis=1)))


def psnr(target: Image, prediction: Image, where: Pixels | None = None) -> float:
    """Peak signal-to-noise ratio for a peak of 1, in dB; infinite where the images are equal."""
    error = rmse(target, prediction, where)
    return math.inf if error == 0 else -20 * math.log10(error)


def ssim(target: Image, prediction: Image, where: Pixels | None = None) -> float:
    """Structural similarity: mean of `ssim_map` over the pixels (Wang et al. 2004)."""
    return _mean(_select(ssim_map(target, prediction), where))


def ssim_map(target: Image, prediction: Image) -> NDArray[np.float64]:
    """Structural similarity at each pixel, `(H, W)`, mean over bands.

    Gaussian window of 11 pixels with σ = 1.5, zero padding, C1 = 0.01², C2 = 0.03² (Wang et al. 2004).

    Raises:
        ValueError: the images are not `(C, H, W)` of one shape.
    """
    x, y = _pair(target, prediction)
    mean_x, mean_y = _blur(x), _blur(y)
    covariance = _blur(x * y) - mean_x * mean_y
    variances = _blur(x * x) - mean_x**2 + _blur(y * y) - mean_y**2
    luminance = (2 * mean_x * mean_y + _SSIM_C1) / (mean_x**2 + mean_y**2 + _SSIM_C1)
    structure = (2 * covariance + _SSIM_C2) / (variances + _SSIM_C2)
    similarity: NDArray[np.float64] = (luminance * structure).mean(axis=0)
    return similarity


def sam_degrees(target: Image, prediction: Image, where: Pixels | None = None) -> float:
    """Mean angle between the spectra of each pixel, in degrees; pixels with a zero spectrum are left out."""
    x, y = (_select(image, where) for image in _pair(target, prediction))
    norms = np.linalg.norm(x, axis=0) * np.linalg.norm(y, axis=0)
    seen = norms > 0
    cosines = (x * y).sum(axis=0)[seen] / norms[seen]
    return math.degrees(_mean(np.arccos(np.clip(cosines, -1, 1))))


def ndvi_error(target: Image, prediction: Image, red: int, near_infrared: int, where: Pixels | None = None) -> float:
    """Mean absolute error of NDVI = (NIR − red)/(NIR + red), Tucker 1979; 0 where both are dark.

    Args:
        target: the clear truth.
        prediction: the restored image.
        red: index of the red band.
        near_infrared: index of the near infrared band.
        where: the pixels to judge.
    """
    truth, restored = (_ndvi(image, red, near_infrared) for image in _pair(target, prediction))
    return _mean(np.abs(_select(restored - truth, where)))


def score(
    target: Image,
    prediction: Image,
    mask: Pixels | None = None,
    *,
    cloudy: Image | None = None,
    slots: Sequence[str] = (),
) -> dict[str, Scores]:
    """All metrics over all pixels, and with a `mask` over cloudy and over clear pixels alone.

    Args:
        target: the clear truth, `(C, H, W)`, 0…1.
        prediction: the restored image, likewise.
        mask: `(H, W)`, True where cloud or shadow was.
        cloudy: the input, `(C, H, W)`, 0…1; with it, `changed` is measured.
        slots: of the C bands; with red and a near infrared among them, `ndvi` is measured.

    Returns:
        Scores under "all", and with a mask under "cloudy" and "clear"; those without a pixel are NaN.
    """
    similarity = ssim_map(target, prediction)
    near_infrared = next((slot for slot in ("nir", "nir08") if slot in slots), None)
    vegetation = (slots.index("red"), slots.index(near_infrared)) if near_infrared and "red" in slots else None
    regions: dict[str, Pixels | None] = {"all": None}
    if mask is not None:
        regions |= {"cloudy": mask, "clear": ~mask}
    results = {}
    for name, where in regions.items():
        selected = _select(similarity, where)
        results[name] = Scores(
            pixels=selected.size,
            mae=mae(target, prediction, where),
            rmse=rmse(target, prediction, where),
            psnr=psnr(target, prediction, where),
            ssim=_mean(selected),
            sam_degrees=sam_degrees(target, prediction, where),
            ndvi=ndvi_error(target, prediction, *vegetation, where) if vegetation else math.nan,
            changed=math.nan if cloudy is None else mae(cloudy, prediction, where),
        )
    return results


def _pair(target: Image, prediction: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if target.ndim != 3 or target.shape != prediction.shape:
        raise ValueError(f"target {target.shape}, prediction {prediction.shape}: expected one (C, H, W)")
    return target.astype(np.float64), prediction.astype(np.float64)


def _select(values: NDArray[np.float64], where: Pixels | None) -> NDArray[np.float64]:
    """The values at the chosen pixels, the two pixel axes joined into one."""
    return values.reshape(*values.shape[:-2], -1) if where is None else values[..., where]


def _difference(target: Image, prediction: Image, where: Pixels | None) -> NDArray[np.float64]:
    x, y = _pair(target, prediction)
    return _select(y - x, where)


def _ndvi(image: NDArray[np.float64], red: int, near_infrared: int) -> NDArray[np.float64]:
    total = image[near_infrared] + image[red]
    difference = image[near_infrared] - image[red]
    index: NDArray[np.float64] = np.divide(difference, total, out=np.zeros_like(total), where=total > 0)
    return index


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan


def _blur(bands: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = ndimage.correlate1d(bands, _SSIM_TAPS, axis=1, mode="constant")
    blurred: NDArray[np.float64] = ndimage.correlate1d(rows, _SSIM_TAPS, axis=2, mode="constant")
    return blurred
