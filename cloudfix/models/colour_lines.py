"""How bright a veil is, from the lines on which the colours of small squares lie."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_SIDE = 8
"""Squares have so many pixels a side: of one ground, with light and shade in it."""

_LONGER = 4
_LEAST_VARIANCE = (2 / 255) ** 2
_FARTHEST = 0.05
_FROM_GREY = math.cos(math.radians(8))
"""What a line has to be: so many times the variance across it along it, more than noise, no further from the greys than
this, and not along them, or where it meets them is anyone's guess."""

_SURE = 0.02
"""How well a level is known at best, on 0…1."""


def colour_lines(image: Tensor) -> tuple[Tensor, Tensor]:
    """The level of grey that the colours of each square point at, and how far it is to be trusted.

    Light and shade on one ground scale its colour, which draws a line to black; a grey veil shifts that to its own
    brightness (Fattal, "Dehazing using color-lines", ACM TOG 34, 2014).

    Args:
        image: (B, 3, H, W) in 0…1; H and W divide by 8.

    Returns:
        Levels on 0…1 and trust, 0…1, each (B, N) for N squares.
    """
    pixels = F.unfold(image, _SIDE, stride=_SIDE).reshape(len(image), 3, _SIDE**2, -1).permute(0, 3, 2, 1)
    mean = pixels.mean(2)
    centred = pixels - mean[:, :, None]
    # What is left across a line is a millionth of what lies along it: single precision has no digits for that.
    exact = centred.double()
    variance, directions = (part.to(image.dtype) for part in torch.linalg.eigh(exact.mT @ exact / _SIDE**2))
    along = directions[..., 2] * directions[..., 2].sum(-1, keepdim=True).sign()
    most, second = variance[..., 2], variance[..., 1].clamp_min(0)
    grey = torch.full((3,), 3**-0.5, device=image.device)
    # The two points nearest to each other, one on the line and one on the greys.
    towards, on_grey, on_line = along @ grey, mean @ grey, (mean * along).sum(-1)
    sine = (1 - towards**2).clamp_min(1e-6)
    level = (on_grey - towards * on_line) / sine
    reach = (towards * on_grey - on_line) / sine
    apart = (mean + reach[..., None] * along - level[..., None] * grey).norm(dim=-1)
    level = level / 3**0.5
    is_line = (most > _LONGER * second) & (most > _LEAST_VARIANCE) & (along.amin(-1) > 0)
    points = (towards < _FROM_GREY) & (apart < _FARTHEST) & (level > -0.2) & (level < mean.amin(-1) + _SURE)
    unsure = _SURE + (second / most.clamp_min(1e-12)).sqrt() * reach.abs() / sine.sqrt().clamp_min(_SURE)
    return level.clamp(-0.2, 1), (is_line & points) * (_SURE / unsure) ** 2
