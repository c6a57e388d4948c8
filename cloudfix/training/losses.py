"""What is minimised, as the papers define it. Everything is in network units, and only slots that were shown count."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import torch
from torch.nn import functional as F

from cloudfix.training.perceptual import PerceptualLoss, vgg_features

if TYPE_CHECKING:
    from torch import Tensor

    from cloudfix.training.perceptual import Features
    from cloudfix.training.recipe import Loss

Outputs: TypeAlias = "Tensor | tuple[Tensor, ...]"
"""What a network returns: the answer, or a tuple that begins with it."""

_DEEP_WEIGHTS = (2.4, 0.3, 0.3)
"""Of ThiefCloud's outputs: the answer, from quarter and from half resolution."""

_DARK = 0.25
"""Length of a spectrum, in network units, below which it has less and less of a direction."""

_STRAIGHT = 1e-6
"""Below it the root has no slope."""


class Truth(NamedTuple):
    """What a batch's outputs are judged by, in network units.

    Attributes:
        clear: (B, C, H, W), what the answer should be.
        cloudy: (B, C, H, W), the optical input.
        mask: (B, 1, H, W), 1 under cloud or shadow and where nobody knows, 0 under clear sky.
        present: (B, C), 1 for the slots that were shown and are judged, else 0.
    """

    clear: Tensor
    cloudy: Tensor
    mask: Tensor
    present: Tensor


class LossFunction(Protocol):
    """A loss of a network's outputs, after the card's activation."""

    def __call__(self, outputs: Outputs, truth: Truth) -> Tensor:
        """A scalar."""
        ...


def build(loss: Loss, features: Features | None = None) -> LossFunction:
    """The loss that a recipe names.

    Args:
        loss: which.
        features: of the perceptual term; None takes VGG-16 where it is installed, and says so where it is not.
    """
    if loss.name == "l1":
        return partial(l1, square=loss.square)
    if loss.name == "carl":
        return partial(shown_carl, weight=loss.weight, square=loss.square, angle=loss.angle)
    features = features or (vgg_features() if loss.perceptual else None)
    perceptual = PerceptualLoss(features) if features else None
    return partial(thiefcloud, perceptual=perceptual, weight=loss.perceptual)


def l1(outputs: Outputs, truth: Truth, *, square: float = 0.0) -> Tensor:
    """Mean absolute error of the answer, and `square` times its mean squared error."""
    error = _answer(outputs) - truth.clear
    return _mean(error.abs() + square * error.square() if square else error.abs(), truth.present)


def shown_carl(outputs: Outputs, truth: Truth, *, weight: float, square: float = 0.0, angle: float = 0.0) -> Tensor:
    """`carl` over the slots that were shown, `square` times the mean squared error, and `angle` times `spectral_angle`.

    Where nobody knows the mask it is 1 and asks for the truth alone, so without any mask this is L1, times 1 + λ.
    """
    shown = truth.present[:, :, None, None].to(truth.clear.dtype)
    prediction, cloudy, clear = (image * shown for image in (_answer(outputs), truth.cloudy, truth.clear))
    loss = carl(prediction, cloudy, clear, truth.mask, weight)
    if square:
        loss = loss + square * (prediction - clear).square().mean()
    loss = loss / shown.mean()
    return loss + angle * spectral_angle(prediction, clear) if angle else loss


def spectral_angle(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over pixels of the chord between spectra of length 1, which is the angle in radians where that is small.

    Args:
        prediction: (N, C, H, W), in units whose zero is reflectance 0.
        target: likewise; spectra that are nearly 0 have no direction and count less.
    """
    cosine = F.cosine_similarity(prediction, target, dim=1, eps=_DARK)
    return (2 - 2 * cosine).clamp_min(_STRAIGHT).sqrt().mean()


def carl(prediction: Tensor, cloudy: Tensor, target: Tensor, mask: Tensor, weight: float = 1.0) -> Tensor:
    """Cloud-adaptive regularised loss: the truth under cloud, the input under clear sky.

    mean(m·|p − y| + (1 − m)·|p − x|) + λ·mean|p − y|, from Meraner et al. 2020, "Cloud removal in Sentinel-2
    imagery using a deep residual neural network and SAR-optical data fusion".

    Args:
        prediction: the network's output p, `(N, C, H, W)`, network units.
        cloudy: its optical input x, likewise.
        target: the clear truth y, likewise.
        mask: m, `(N, 1, H, W)`: 1 under cloud or shadow, 0 under clear sky.
        weight: λ.

    Returns:
        A scalar.
    """
    error = (prediction - target).abs()
    change = (prediction - cloudy).abs()
    return (mask * error + (1 - mask) * change).mean() + weight * error.mean()


def thiefcloud(outputs: Outputs, truth: Truth, *, perceptual: PerceptualLoss | None, weight: float) -> Tensor:
    """2.4·MSE(out) + 0.3·MSE(out_x4) + 0.3·MSE(out_x2) + weight·Σ perceptual, from the published ThiefCloud.

    Args:
        outputs: (out, out_x4, out_x2), each (B, 3, H, W).
        truth: of the batch.
        perceptual: the perceptual loss of one output, or None to go without.
        weight: of their sum; 0.04 as published.
    """
    pairs = zip(_DEEP_WEIGHTS, outputs, strict=True)
    parts = [part * _mean((output - truth.clear).square(), truth.present) for part, output in pairs]
    if perceptual is not None:
        parts += [weight * perceptual(output, truth.clear) for output in outputs]
    return torch.stack(parts).sum()


def _answer(outputs: Outputs) -> Tensor:
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _mean(error: Tensor, present: Tensor) -> Tensor:
    """Mean of (B, C, H, W) over the slots that count."""
    shown = present[:, :, None, None].to(error.dtype)
    return (error * shown).mean() / shown.mean()
