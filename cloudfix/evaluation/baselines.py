"""What a network has to beat: restorations that need no learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scipy import ndimage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def copy(cloudy: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:  # noqa: ARG001 - one signature for all
    """The cloudy image itself."""
    return cloudy.copy()


def nearest_clear(cloudy: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """The cloudy image with each masked pixel replaced by the spectrum of the nearest clear pixel.

    Args:
        cloudy: the image, `(C, H, W)`.
        mask: `(H, W)`, True where cloud or shadow is.

    Returns:
        A new array; equal to `cloudy` where no pixel is clear.
    """
    if mask.all():
        return cloudy.copy()
    rows, columns = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    filled: NDArray[Any] = cloudy[:, rows, columns]
    return filled
