"""The averaged weights, which are the ones that are judged and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from lightning.pytorch.callbacks import WeightAveraging

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn


class Averaging(WeightAveraging):
    """Exponential moving average of weights and of the statistics of batch norms.

    Args:
        decay: share of the average that each step leaves; less in the first steps, so that it follows quickly.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=self._average)
        self._decay = decay

    @property
    def network(self) -> nn.Module:
        """The network with the averaged weights, while no validation runs.

        Raises:
            RuntimeError: the run has not begun.
        """
        if self._average_model is None:
            raise RuntimeError("there is no average before the run has begun")
        return self._average_model.module.get_submodule("network")

    @torch.no_grad()
    def _average(self, averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        if not averaged[0].is_floating_point():
            for old, new in zip(averaged, current, strict=True):
                old.copy_(new)
            return
        decay = min(self._decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)
