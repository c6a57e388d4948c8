"""Samples brought to another size."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cloudfix.training.datasets.sample import Sample


def resized(sample: Sample, side: int | None) -> Sample:
    """The sample at `side` × `side` pixels: images bilinear and without aliasing, the mask by nearest neighbour."""
    if side is None or sample.clear.shape[1:] == (side, side):
        return sample
    mask = None if sample.mask is None else _nearest(sample.mask, side)
    thickness = None if sample.thickness is None else _bilinear(sample.thickness[None], side)[0]
    cloudy, sar = (None if image is None else _bilinear(image, side) for image in (sample.cloudy, sample.sar))
    return replace(sample, clear=_bilinear(sample.clear, side), cloudy=cloudy, mask=mask, sar=sar, thickness=thickness)


def _bilinear(image: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    tensor = torch.from_numpy(image)[None]
    result = F.interpolate(tensor, (side, side), mode="bilinear", align_corners=False, antialias=True)
    return np.asarray(result[0].numpy(), np.float32)


def _nearest(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    rows, columns = ((np.arange(side) * 2 + 1) * length // (2 * side) for length in mask.shape)
    return mask[np.ix_(rows, columns)]
