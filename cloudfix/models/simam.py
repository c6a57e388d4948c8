"""SimAM, attention without parameters (Yang et al., ICML 2021), with the constants that ThiefCloud uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

_REGULARISATION = 1e-4


def simam(x: Tensor) -> Tensor:
    """Weigh each value of (B, C, H, W) features by how far it stands out of its channel plane.

    The statistics are taken in float32 whatever the precision of `x`, which the result keeps.
    """
    with torch.autocast(x.device.type, enabled=False):
        plane = x.to(torch.promote_types(x.dtype, torch.float32))
        deviation = (plane - plane.mean(dim=(2, 3), keepdim=True)).square()
        others = x.shape[2] * x.shape[3] - 1
        variance = deviation.sum(dim=(2, 3), keepdim=True) / others
        weighted = plane * torch.sigmoid(deviation / (4 * (variance + _REGULARISATION)) + 0.5)
    return weighted.to(x.dtype)
