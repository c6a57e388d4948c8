"""What weights are judged on while they are trained: whole images of the validation split, always the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cloudfix.evaluation.cases import under_simulated_cloud
from cloudfix.evaluation.inference import cloudy_of, restore_image, thickness_image
from cloudfix.evaluation.metrics import mae, psnr, sam_degrees
from cloudfix.training.seeds import derive

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from cloudfix.clouds.simulation import CloudRecipe
    from cloudfix.models.cards import Card
    from cloudfix.training.datasets.sample import Dataset, Sample

_BEST_PSNR = 100.0


@dataclass(frozen=True)
class Judged:
    """An image, and what the network made of it.

    Attributes:
        name: of the sample.
        slots: of the cloudy image.
        cloudy: (C, H, W) reflectance.
        output: (C, H, W) restored, or (1, H, W) thickness.
        truth: what the output should be.
        mask: (H, W), True under cloud or shadow, or None where nobody knows.
        metrics: by name.
    """

    name: str
    slots: tuple[str, ...]
    cloudy: NDArray[np.float32]
    output: NDArray[np.float32]
    truth: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    metrics: dict[str, float]


class Judge:
    """Restores the images of a data set and measures how well.

    Images without a pair get simulated cloud that depends on the seed and their number alone.

    Args:
        dataset: the validation split.
        card: of the network.
        clouds: what simulated cloud is drawn from.
        seed: decides it.
        precision: the arithmetic, "fp32", "bf16" or "fp16".
    """

    def __init__(self, dataset: Dataset, card: Card, clouds: CloudRecipe, seed: int, precision: str) -> None:
        self._dataset, self._card, self._clouds = dataset, card, clouds
        self._seed, self._precision = seed, precision

    def __len__(self) -> int:
        """How many images there are."""
        return len(self._dataset)

    def __call__(self, network: nn.Module, index: int) -> Judged:
        """Image number `index`, judged.

        Raises:
            DataError: it cannot be read.
        """
        sample, cloudy = self._cloudy(index)
        if self._card.role == "thickness":
            output = thickness_image(network, self._card, sample, precision=self._precision)[None]
            truth = np.zeros_like(output) if sample.thickness is None else sample.thickness[None]
            metrics = {"mae": float(np.abs(output - truth).mean())}
        else:
            output = restore_image(network, self._card, sample, precision=self._precision)
            truth, metrics = sample.clear, self._metrics(sample, output)
        return Judged(sample.name, sample.slots, cloudy, output, truth, sample.mask, metrics)

    def _metrics(self, sample: Sample, output: NDArray[np.float32]) -> dict[str, float]:
        """Over the slots that the network restores."""
        known = [channel for channel, slot in enumerate(sample.slots) if slot in self._card.slots]
        clear, restored = sample.clear[known].clip(0, 1), output[known].clip(0, 1)
        return {
            "psnr": min(psnr(clear, restored), _BEST_PSNR),
            "mae": mae(clear, restored),
            "sam": sam_degrees(clear, restored),
        }

    def _cloudy(self, index: int) -> tuple[Sample, NDArray[np.float32]]:
        """The sample under its own cloud, or else under simulated cloud; and its cloudy image."""
        sample = self._dataset[index]
        if sample.cloudy is None or (self._card.role == "thickness" and sample.thickness is None):
            sample = under_simulated_cloud(sample, derive(self._seed, index), self._clouds)[0]
        return sample, cloudy_of(sample)
