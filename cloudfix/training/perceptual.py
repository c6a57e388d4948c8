"""The perceptual loss: images are alike when VGG-16 (Simonyan & Zisserman 2015) sees the same in them."""

from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING, TypeAlias

import torch.nn.functional as F

from cloudfix.errors import CloudfixWarning, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

Features: TypeAlias = "Callable[[Tensor], tuple[Tensor, ...]]"
"""From images (B, 3, H, W) in 0…1 to maps of features."""

_LAYERS = {3: "relu1_2", 8: "relu2_2", 15: "relu3_3"}
"""Places in torchvision's `features` of VGG-16."""


class PerceptualLoss:
    """Mean over several maps of features of the mean squared difference between two images.

    Args:
        features: what makes the maps.
    """

    def __init__(self, features: Features) -> None:
        self._features = features

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """A scalar from two images, (B, 3, H, W) in 0…1."""
        pairs = zip(self._features(prediction), self._features(target), strict=True)
        losses = [F.mse_loss(found, wanted) for found, wanted in pairs]
        return sum(losses[1:], start=losses[0]) / len(losses)


class VggFeatures:
    """The maps of VGG-16 that ThiefCloud's loss compares, from images in 0…1 that are not normalised, as published.

    Args:
        layers: the layers of VGG-16 up to relu3_3; they are not trained.
    """

    def __init__(self, layers: nn.Sequential) -> None:
        self._layers = layers.eval().requires_grad_(requires_grad=False)

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """relu1_2, relu2_2 and relu3_3 of (B, 3, H, W)."""
        maps = []
        for index, layer in enumerate(self._layers.to(images.device)):
            images = layer(images)
            if index in _LAYERS:
                maps.append(images)
        return tuple(maps)


def installed() -> bool:
    """Whether torchvision is there."""
    return importlib.util.find_spec("torchvision") is not None


def vgg_features() -> VggFeatures | None:
    """VGG-16 with the weights of torchvision, or None, with a note, where that is not installed.

    Raises:
        ModelError: its weights are neither on this machine nor can they be fetched.
    """
    if not installed():
        warnings.warn(
            "perceptual loss: torchvision is not installed, so the loss goes without it; "
            "pip install 'cloudfix[perceptual]', or set loss.perceptual=0",
            CloudfixWarning,
            stacklevel=2,
        )
        return None
    from torchvision.models import VGG16_Weights, vgg16

    try:
        layers = vgg16(weights=VGG16_Weights.IMAGENET1K_V1).features
    except OSError as error:
        raise ModelError(
            f"perceptual loss: the weights of VGG-16 cannot be fetched ({error}); go online once, "
            "or set loss.perceptual=0"
        ) from error
    return VggFeatures(layers[: max(_LAYERS) + 1])


def described(weight: float) -> str:
    """What the card says about the term of that `weight` in the recipe."""
    if not weight:
        return "none"
    return f"VGG-16, weight {weight:g}" if installed() else f"none: torchvision is not installed, weight {weight:g}"
