"""From samples to batches: crops, turns, dropped slots and SAR, simulated cloud; all of it from one seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cloudfix.clouds.simulation import simulate
from cloudfix.errors import UsageError
from cloudfix.models.inputs import assemble
from cloudfix.sensors import SAR_SLOTS, SENTINEL_2_STACK_10, SLOTS, get

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from cloudfix.models.cards import Card
    from cloudfix.training.corpus import Sample, Window
    from cloudfix.training.recipe import Sampling

BAND_SETS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "sentinel-2-l1c": frozenset(get("sentinel-2-l1c").slots.values()),
        "sentinel-2-l2a": frozenset(get("sentinel-2-l2a").slots.values()),
        "stack-10": frozenset(get("sentinel-2-l1c").slots[band] for band in SENTINEL_2_STACK_10),
        "landsat-8-l1": frozenset(get("landsat-8-l1").slots.values()),
        "landsat-8-l2": frozenset(get("landsat-8-l2").slots.values()),
    }
)
"""The slots that the common products fill."""

CLOUD_FROM = 0.03
"""Thickness or shadow from which a simulated pixel counts as cloudy."""

_ESSENTIAL = frozenset({"blue", "green", "red"})


@dataclass(frozen=True)
class Batch:
    """What one step learns from, in reflectance and dB.

    Attributes:
        cloudy: (B, 13, H, W).
        clear: (B, 13, H, W).
        mask: (B, 1, H, W), 1.0 under cloud or shadow.
        sar: (B, 2, H, W) dB, NaN where there is none.
        present: (B, 13) bool, which slots are shown and judged.
    """

    cloudy: Tensor
    clear: Tensor
    mask: Tensor
    sar: Tensor
    present: Tensor

    def split(self, parts: int) -> list[tuple[Batch, float]]:
        """At most `parts` batches of about one size, each with its share of the images."""
        fields = (self.cloudy, self.clear, self.mask, self.sar, self.present)
        chunks = zip(*(field.chunk(parts) for field in fields), strict=True)
        return [(Batch(*chunk), len(chunk[0]) / len(self.cloudy)) for chunk in chunks]

    def network_input(self, card: Card) -> Tensor:
        """(B, C, H, W) input of the card's network: exactly what it gets in use."""
        return torch.cat(
            [
                assemble(
                    card,
                    {slot: image[None, i] for i, slot in enumerate(SLOTS) if shown[i]},
                    {slot: sar[None, i] for i, slot in enumerate(SAR_SLOTS)},
                )
                for image, sar, shown in zip(self.cloudy, self.sar, self.present, strict=True)
            ]
        )


class BatchSampler:
    """Draws batches without end; the same seed gives the same batches.

    Regions weigh as the square root of the number of their samples: a long series does not drown the rest.

    Args:
        samples: real pairs, and clear images for simulated cloud; pairs serve as both.
        sampling: how to draw.
        seed: decides everything.

    Raises:
        UsageError: there is nothing to draw from.
    """

    def __init__(self, samples: Sequence[Sample], sampling: Sampling, seed: int) -> None:
        if not samples:
            raise UsageError("training data: no sample outside the validation and test regions; check --data")
        self._pairs = [sample for sample in samples if sample.cloudy is not None]
        self._clear = list({sample.clear.tobytes(): sample for sample in samples}.values())
        self._sampling = sampling
        self._random = np.random.default_rng(seed)
        self._clouds = torch.Generator().manual_seed(seed)

    def batch(self, crop: int, size: int) -> Batch:
        """`size` crops of `crop` × `crop` pixels.

        Raises:
            UsageError: no image is large enough.
        """
        real = self._random.random(size) < (self._sampling.real if self._pairs else 0)
        drawn = [self._crop(self._pairs if pair else self._clear, crop, paired=bool(pair)) for pair in real]
        clear, cloudy, mask, sar, present = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
        made = torch.from_numpy(~real)
        if made.any():
            simulated = simulate(clear[made], SLOTS, self._clouds)
            cloudy[made] = simulated.cloudy
            mask[made] = (torch.maximum(simulated.thickness, simulated.shadow) > CLOUD_FROM).float()
        return Batch(cloudy, clear, mask, sar, present)

    def _crop(self, samples: list[Sample], crop: int, *, paired: bool) -> tuple[NDArray[Any], ...]:
        """Clear, cloudy, mask, SAR and present slots; cloudy is clear where cloud is still to come."""
        sample = self._choose([sample for sample in samples if min(sample.clear.shape[1:]) >= crop], crop)
        top, left = (int(self._random.integers(0, side - crop + 1)) for side in sample.clear.shape[1:])
        window: Window = (..., slice(top, top + crop), slice(left, left + crop))
        gain = self._gain() * np.float32(1e-4)
        clear = sample.clear[window] * gain
        cloudy, mask = clear, np.zeros((1, crop, crop), np.float32)
        if paired and sample.cloudy is not None and sample.mask is not None:
            cloudy, mask = sample.cloudy[window] * gain, sample.mask[window][None].astype(np.float32)
        parts = self._turn([clear, cloudy, mask, self._sar(sample, window, crop)])
        return (*parts, self._present(sample.slots))

    def _choose(self, samples: list[Sample], crop: int) -> Sample:
        if not samples:
            raise UsageError(f"training data: no image of {crop} pixels a side; choose smaller crops")
        counts = Counter(sample.region for sample in samples)
        weights = np.array([counts[sample.region] ** -0.5 for sample in samples])
        return samples[int(self._random.choice(len(samples), p=weights / weights.sum()))]

    def _gain(self) -> NDArray[np.float32]:
        """(13, 1, 1) factors near 1: another sun, another soil."""
        whole, band = self._sampling.gain
        factors = np.exp(self._random.uniform(-whole, whole) + self._random.uniform(-band, band, (len(SLOTS), 1, 1)))
        return factors.astype(np.float32)

    def _sar(self, sample: Sample, window: Window, crop: int) -> NDArray[np.float32]:
        """(2, crop, crop) dB, NaN where withheld."""
        sampling = self._sampling
        nothing = np.full((len(SAR_SLOTS), crop, crop), np.nan, np.float32)
        fate = self._random.random()
        if sample.sar is None or fate < sampling.sar_dropped:
            return nothing
        gain = self._random.uniform(-sampling.sar_gain, sampling.sar_gain, (len(SAR_SLOTS), 1, 1))
        sar = sample.sar[window] + gain.astype(np.float32)
        if fate < 1.5 * sampling.sar_dropped:
            sar[int(self._random.integers(len(SAR_SLOTS)))] = np.nan
        return sar

    def _turn(self, images: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        turns, mirrored = int(self._random.integers(4)), bool(self._random.integers(2))
        turned = (np.rot90(image, turns, (-2, -1)) for image in images)
        return [np.ascontiguousarray(image[..., ::-1] if mirrored else image) for image in turned]

    def _present(self, slots: tuple[str, ...]) -> NDArray[np.bool_]:
        """(13,) which slots the network is shown."""
        kept = set(slots)
        fate = self._random.random()
        for name, share in self._sampling.band_sets.items():
            if 0 <= fate < share:
                kept &= BAND_SETS[name]
            fate -= share
        if self._random.random() < self._sampling.slot_dropped:
            kept.discard(sorted(kept - _ESSENTIAL)[int(self._random.integers(len(kept - _ESSENTIAL)))])
        return np.array([slot in kept for slot in SLOTS])
