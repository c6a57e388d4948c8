"""The rim around a mask in which a restoration blends into the untouched scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray


def feather(mask: NDArray[np.bool_], radius: int) -> NDArray[np.float32]:
    """Blending weights: 1 on the mask, falling with the distance to it, 0 beyond `radius` pixels.

    The weight at Euclidean distance d ≤ radius is 1 − d / (radius + 1). Distances are exact, so a pixel's
    weight depends on nothing but the mask within `radius` pixels: with that much context (the halo), any
    window gives the same bits as the whole mask.

    Args:
        mask: `(H, W)`, True where the restoration replaces the scene.
        radius: width of the rim in pixels; 0 gives the mask itself.

    Returns:
        `(H, W)`, 0…1.
    """
    if radius == 0 or mask.all() or not mask.any():
        return mask.astype(np.float32)
    distance = ndimage.distance_transform_edt(~mask)
    return np.where(distance <= radius, 1 - distance / (radius + 1), 0).astype(np.float32)
