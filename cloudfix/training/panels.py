"""Pictures of what a network makes of an image, for TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cloudfix.training.validation import Judged

    Image = NDArray[np.float32]

_HEADROOM = 1.25
_GAP = 4


def panel(judged: Judged) -> NDArray[np.uint8]:
    """Cloudy, output, truth, mask if there is one, and difference side by side, (3, H, W').

    Images are in natural colour, white at a quarter above the brightest percent of the truth; thickness is white at 1.
    """
    colours = [judged.slots.index(slot) for slot in ("red", "green", "blue") if slot in judged.slots]
    shown = colours if len(colours) == 3 else [0]
    cloudy, output, truth = judged.cloudy[shown], judged.output, judged.truth
    if len(output) == len(judged.cloudy):
        output, truth = output[shown], truth[shown]
        white = _white(truth)
        output, truth = output / white, truth / white
    else:
        white = _white(cloudy)
    mask = [] if judged.mask is None else [judged.mask[None].astype(np.float32)]
    return _beside([cloudy / white, output, truth, *mask, np.abs(output - truth)])


def _white(image: Image) -> float:
    return max(float(np.percentile(image, 99)) * _HEADROOM, 1e-3)


def _beside(pictures: list[Image]) -> NDArray[np.uint8]:
    coloured = [np.broadcast_to(picture, (3, *picture.shape[1:])) for picture in pictures]
    gap = np.ones((3, pictures[0].shape[1], _GAP), np.float32)
    row = [part for picture in coloured for part in (picture, gap)][:-1]
    picture: NDArray[np.uint8] = (np.concatenate(row, axis=2).clip(0, 1) * 255).astype(np.uint8)
    return picture
