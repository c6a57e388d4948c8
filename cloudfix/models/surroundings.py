"""What cloud hides, from what is seen around it."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cloudfix.models.confidence import Confidence
from cloudfix.models.radar_colours import RadarColours
from cloudfix.models.squares import at_size_of, means

_NEAR = (3, 4, 5, 6)
"""Levels of the pyramid that tell how much is seen nearby: squares of 8 to 64 pixels."""

_FAR = -2.0
"""Logit of the share before training where nothing is seen nearby: 12 %."""

_SHARE = 0.2
"""Of the input, before training: where no more is seen, half of a difference is made up."""

_SURELY = 4
"""Power of how likely a cell was restored: what may be a guess hardly counts beside what surely is none."""

_FEW = 0.005
"""Share of the input that was surely restored at which half of a guess gives way."""

_LEAST = 1e-6


class Filling(nn.Module):
    """Gives opaque cloud the colours of what is seen around it, as far as that is near.

    A network of convolutions sees some tens of pixels, and has to guess what is under a larger cloud. The pyramid of
    `pull_push` reaches across all of the input. Where hardly anything of that is seen, and something is known of the
    ground around it, what is hidden gets the mean colours of that: guesses differ from tile to tile.
    """

    logits: ClassVar = 2
    """Maps that the network gives for it: trust and share."""

    def __init__(self) -> None:
        super().__init__()
        self.nearness = nn.Conv2d(len(_NEAR), 1, 1)
        for parameter, value in zip(self.nearness.parameters(), (1.0, _FAR), strict=True):
            nn.init.constant_(parameter, value)

    def forward(
        self, image: Tensor, restored: Tensor, trust: Tensor, share: Tensor, ground: Tensor | None = None
    ) -> Tensor:
        """The restored image, with a share of the surroundings.

        Args:
            image: (B, C, H, W), with cloud.
            restored: the same without it, as the convolutions have it.
            trust: (B, 1, H, W) logits of how far a pixel of `image` shows the ground.
            share: (B, 1, H, W) logits of how much of a pixel comes from its surroundings.
            ground: as in `Matching.forward`.

        Returns:
            (B, C, H, W) in float32.
        """
        with torch.autocast(image.device.type, enabled=False):
            image, restored, trust, share = (x.float() for x in (image, restored, trust, share))
            seen = torch.sigmoid(trust)
            filled = pull_push(image, seen)
            portion = torch.sigmoid(share + self.nearness(_seen_nearby(seen)))
            hidden = 1 - seen
            painted = torch.lerp(restored, filled, hidden * portion)
            if ground is None:
                return painted
            around, counts = _known_around(seen.mean((2, 3), keepdim=True), ground[:, :, None, None].float())
            return painted + hidden * counts * (around - _mean(painted, hidden))


class Matching(nn.Module):
    """Shifts each band of what is hidden towards the mean of what is seen in the same input.

    Under cloud a network paints what places mostly look like; how bright this one is on this day, shows beside the
    cloud. The less is seen, the less is shifted, unless something is known of the ground around the input, which then
    counts for what is hidden of it. Radar, if it is to, tells how the one should differ from the other. With radar's
    colours comes `Confidence`: a guess becomes more like what was surely restored near it.

    Args:
        radar_bands: bands whose colours radar tells (`RadarColours`); 0 for a network that does without.
    """

    logits: ClassVar = 1
    """Maps that the network gives for it: trust."""

    def __init__(self, radar_bands: int = 0) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(math.log(_SHARE)))
        self.colours = RadarColours(radar_bands) if radar_bands else None
        self.confidence = Confidence() if radar_bands else None

    def forward(
        self, image: Tensor, restored: Tensor, trust: Tensor, ground: Tensor | None = None, radar: Tensor | None = None
    ) -> Tensor:
        """The restored image, its hidden part shifted.

        Args:
            image: (B, C, H, W), with cloud.
            restored: the same without it, as the convolutions have it.
            trust: (B, 1, H, W) logits of how far a pixel of `image` shows the ground.
            ground: (B, C + 1) mean of the ground around the image, NaN where it is not known, and the share of what is
                hidden there; None if nothing is known.
            radar: (B, 2, H, W) VV and VH from 0 up, 0 where there is none; looked at by a network that does not do
                without.

        Returns:
            (B, C, H, W) in float32.
        """
        with torch.autocast(image.device.type, enabled=False):
            image, restored, seen = image.float(), restored.float(), torch.sigmoid(trust.float())
            hidden = 1 - seen
            mean, share = _mean(image, seen), seen.mean((2, 3), keepdim=True)
            differing = torch.zeros_like(mean)
            if self.colours is not None and radar is not None:
                restored, differing = self.colours(radar.float(), image, restored, hidden)
                mean = mean + _mean(differing, hidden) - _mean(differing, seen)
            if ground is not None:
                mean, share = _with_ground(mean, share, ground[:, :, None, None].float())
            shift = mean - _mean(restored, hidden)
            matched = restored + hidden * shift * share / (share + self.share.exp())
            if self.confidence is None:
                return matched
            return _filled(matched, self.confidence(image, matched.detach()), differing)


def _filled(image: Tensor, likely: Tensor, differing: Tensor) -> Tensor:
    """Draw guesses towards what was surely restored near them.

    Args:
        image: (B, C, H, W).
        likely: (B, 1, h, w) how likely each cell was restored.
        differing: (B, C, H, W), how far each pixel is expected to be from the mean of the image.

    Returns:
        (B, C, H, W); what was surely restored stays.
    """
    # A cell beside a guess is partly one, and would be the nearest of all.
    inner = -F.max_pool2d(-likely, 3, stride=1, padding=1)
    surely, guessed = at_size_of(inner**_SURELY, image), at_size_of(1 - likely, image)
    count = surely.mean((2, 3), keepdim=True)
    near = differing + pull_push(image - differing, surely)
    return torch.lerp(image, near, guessed * count / (count + _FEW))


def pull_push(image: Tensor, weight: Tensor) -> Tensor:
    """Fill an image smoothly from its pixels of weight 1 (Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.4).

    Args:
        image: (B, C, H, W).
        weight: (B, 1, H, W) in 0…1.

    Returns:
        (B, C, H, W): the image where the weight is 1, and where it is 0 what pixels of more weight around it have; 0
        where there is no weight at all.
    """
    if max(image.shape[-2:]) == 1:
        return image * weight / weight.clamp_min(_LEAST)
    total, covered = (means(x, 2) for x in (image * weight, weight))
    # One pixel of four suffices to know the four.
    coarse = pull_push(total / covered.clamp_min(_LEAST), (4 * covered).clamp_max(1))
    return torch.lerp(at_size_of(coarse, image), image, weight)


def _seen_nearby(seen: Tensor) -> Tensor:
    """(B, 1, H, W) to (B, len(_NEAR), H, W): its means over squares of several sizes, one map for each."""
    nearby, coarse = [], seen
    for level in range(1, max(_NEAR) + 1):
        if max(coarse.shape[-2:]) > 1:
            coarse = means(coarse, 2)
        if level in _NEAR:
            nearby.append(at_size_of(coarse, seen))
    return torch.cat(nearby, dim=1)


def _with_ground(mean: Tensor, share: Tensor, ground: Tensor) -> tuple[Tensor, Tensor]:
    """What is seen of an image, its mean (B, C, 1, 1) and its share, and the ground around it as so much more."""
    around, more = _known_around(share, ground)
    both = share + more
    return (share * mean + more * around) / both.clamp_min(_LEAST), both


def _known_around(share: Tensor, ground: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the ground around an image of which a share is seen, and how much that counts, by band (B, C, 1, 1).

    A part of the image itself tells more of the rest than its surroundings do: hence the square. Where a mask hides
    less than the network does, there is haze, and haze is in what the mask leaves: it does not count.
    """
    around, hidden = ground[:, :-1], ground[:, -1:]
    return around.nan_to_num(), torch.where(around.isnan(), 0, torch.minimum(1 - share, hidden) ** 2)


def _mean(image: Tensor, weight: Tensor) -> Tensor:
    """Of (B, C, H, W), weighted by (B, 1, H, W): (B, C, 1, 1)."""
    return (image * weight).mean((2, 3), keepdim=True) / weight.mean((2, 3), keepdim=True).clamp_min(_LEAST)
