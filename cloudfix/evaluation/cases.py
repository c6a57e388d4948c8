"""What is judged: an image under real or simulated cloud, and which of its pixels are cloudy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from cloudfix.clouds import spectral
from cloudfix.clouds.simulation import CLOUD_FROM, simulate
from cloudfix.evaluation.inference import cloudy_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cloudfix.clouds.simulation import CloudRecipe
    from cloudfix.training.datasets.sample import Sample

OWN_MASK = "the data set's own"
SIMULATED = "the simulated cloud"
THICKNESS = "the cloud's thickness"
RULES = "spectral rules after DSen2-CR"
DIFFERENCE = "cloudy against clear image"

_DIFFERS = 0.04
"""What two clear images of one place seldom differ by; between the two modes of RICE-II's differences."""

_SMOOTH = 7
_LEAST_COVER = 0.1
_DRAWS = 8


@dataclass(frozen=True)
class Case:
    """One image to restore, with its truth.

    Attributes:
        sample: with its cloudy image.
        mask: (H, W), True under cloud or shadow.
        told_by: what told these pixels.
        simulated: whether the cloud is.
    """

    sample: Sample
    mask: NDArray[np.bool_]
    told_by: str
    simulated: bool = False

    @property
    def cover(self) -> float:
        """Share of the pixels under cloud or shadow, 0…1."""
        return float(self.mask.mean())


def cases(
    sample: Sample, seed: int, *, simulated: bool = False, thickness: bool = False, recipe: CloudRecipe | None = None
) -> Iterator[Case]:
    """The pair as it is, if it is one; and the clear image under simulated cloud, if it has no pair or that is wanted.

    Args:
        sample: any.
        seed: decides the simulated cloud of this sample.
        simulated: lay cloud over the clear images of pairs too.
        thickness: pairs without the thickness of their cloud do not serve.
        recipe: what simulated cloud is drawn from; the default goes from thin to thick.
    """
    paired = sample.cloudy is not None and not (thickness and sample.thickness is None)
    if paired:
        yield Case(sample, *cloudy_pixels(sample))
    if simulated or not paired:
        made, mask = under_simulated_cloud(sample, seed, recipe)
        yield Case(made, mask, SIMULATED, simulated=True)


def under_simulated_cloud(
    sample: Sample, seed: int, recipe: CloudRecipe | None = None
) -> tuple[Sample, NDArray[np.bool_]]:
    """The clear image of `sample` under the first cloud drawn from `seed` that covers a tenth of it, and its mask.

    Returns:
        The sample with `cloudy`, `mask` and `thickness` of the simulated cloud; the mask, (H, W), once more.
    """
    generator = torch.Generator().manual_seed(seed)
    clear = torch.from_numpy(sample.clear)[None]
    for _ in range(_DRAWS):
        made = simulate(clear, sample.slots, generator, recipe)
        mask: NDArray[np.bool_] = made.mask[0, 0].numpy()
        if mask.mean() >= _LEAST_COVER:
            break
    cloudy, thickness = made.cloudy[0].numpy(), made.thickness[0, 0].numpy()
    return replace(sample, cloudy=cloudy, mask=mask, thickness=thickness), mask


def cloudy_pixels(sample: Sample) -> tuple[NDArray[np.bool_], str]:
    """Where cloud or shadow lies over a pair, (H, W), and what told so.

    That is the sample's own mask; else the thickness of its cloud; else the rules of DSen2-CR where their bands are;
    else where the cloudy image differs from the clear one, averaged over bands and 7 × 7 pixels, by more than 0.04.
    """
    if sample.mask is not None:
        return sample.mask, OWN_MASK
    if sample.thickness is not None:
        return sample.thickness > CLOUD_FROM, THICKNESS
    cloudy = cloudy_of(sample)
    if not spectral.missing_slots(sample.slots):
        return spectral.cloud_shadow_mask(dict(zip(sample.slots, cloudy, strict=True))) != 0, RULES
    difference = np.abs(cloudy - sample.clear).mean(axis=0)
    return ndimage.uniform_filter(difference, _SMOOTH) > _DIFFERS, DIFFERENCE
