"""What weights are judged on: the images of held-back regions, as they are and with fixed simulated cloud."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from cloudfix.clouds.simulation import simulate
from cloudfix.models.inputs import assemble, to_reflectance
from cloudfix.sensors import SAR_SLOTS, SLOTS
from cloudfix.training.datasets import CLOUD_FROM

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from cloudfix.models.cards import Card
    from cloudfix.training.corpus import Sample, Window

_LEAST_COVER = 0.1


@dataclass(frozen=True)
class Case:
    """One cloudy image with its truth.

    Attributes:
        name: unique among the cases.
        cloudy: (13, H, W) reflectance in the order of `sensors.SLOTS`.
        clear: (13, H, W), the truth.
        mask: (H, W) True under cloud or shadow.
        slots: which slots are real.
        sar: (2, H, W) VV and VH in dB, or None.
        simulated: whether the cloud is.
    """

    name: str
    cloudy: NDArray[np.float32]
    clear: NDArray[np.float32]
    mask: NDArray[np.bool_]
    slots: tuple[str, ...]
    sar: NDArray[np.float32] | None = None
    simulated: bool = False

    def without_sar(self) -> Case:
        """The same without its SAR."""
        return replace(self, name=f"{self.name}, no SAR", sar=None)

    def with_slots(self, kept: Collection[str]) -> Case:
        """The same as a sensor with the `kept` slots would give it."""
        return replace(self, slots=tuple(slot for slot in self.slots if slot in kept))

    def judged(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """The real slots of `image`, clipped to 0…1 as the metrics want it."""
        return image[[SLOTS.index(slot) for slot in self.slots]].clip(0, 1)


def real_cases(samples: Iterable[Sample]) -> list[Case]:
    """The pairs among `samples`."""
    return [
        Case(
            sample.name,
            sample.reflectance("cloudy"),
            sample.reflectance("clear"),
            sample.mask,
            sample.slots,
            sample.sar,
        )
        for sample in samples
        if sample.cloudy is not None and sample.mask is not None
    ]


def simulated_cases(samples: Iterable[Sample], seed: int) -> list[Case]:
    """The samples' clear images with cloud that depends on `seed` alone, where that drew enough cloud."""
    return [case for case in _simulated(samples, seed) if case.mask.mean() > _LEAST_COVER]


def restore(network: nn.Module, card: Card, case: Case, *, tile: int, bf16: bool = True) -> NDArray[np.float32]:
    """(13, H, W) plain output of the network, on tiles of at most `tile` pixels a side, without overlap."""
    height, width = (side - side % 2 for side in case.cloudy.shape[1:])
    restored = case.cloudy.copy()
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            window = (..., slice(top, min(top + tile, height)), slice(left, min(left + tile, width)))
            restored[window] = _restore(network, card, case, window, bf16=bf16)
    return restored


def _simulated(samples: Iterable[Sample], seed: int) -> Iterator[Case]:
    for index, sample in enumerate(samples):
        generator = torch.Generator().manual_seed(seed + index)
        clear = torch.from_numpy(sample.reflectance("clear"))[None]
        made = simulate(clear, SLOTS, generator)
        mask = torch.maximum(made.thickness, made.shadow)[0, 0].numpy() > CLOUD_FROM
        name = f"{sample.name}, simulated"
        yield Case(name, made.cloudy[0].numpy(), clear[0].numpy(), mask, sample.slots, sample.sar, simulated=True)


@torch.inference_mode()
def _restore(network: nn.Module, card: Card, case: Case, window: Window, *, bf16: bool) -> NDArray[np.float32]:
    def tensor(array: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(array)[None]

    cloudy = case.cloudy[window]
    optical = {slot: tensor(cloudy[SLOTS.index(slot)]) for slot in case.slots}
    sar = None if case.sar is None else dict(zip(SAR_SLOTS, map(tensor, case.sar[window]), strict=True))
    inputs = assemble(card, optical, sar).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        output = network(inputs)
    restored: NDArray[np.float32] = to_reflectance(card, output)[0].numpy()
    return restored
