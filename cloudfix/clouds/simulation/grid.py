"""Points of an image at which fields are looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Evenly spaced points, `height` × `width` of them, in each of B images.

    Attributes:
        top: (B, 1) first row in pixels.
        left: (B, 1) first column.
        height: number of rows.
        width: number of columns.
        step: pixels from one row to the next, and from one column to the next.
    """

    top: Tensor
    left: Tensor
    height: int
    width: int
    step: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def window(cls, top: int, left: int, height: int, width: int, like: Tensor) -> Grid:
        """The pixels of one window, the same for all images.

        Args:
            top: first row.
            left: first column.
            height: number of rows.
            width: number of columns.
            like: (B, …) has the number of images, the dtype and the device.
        """
        first = like.new_zeros(len(like), 1)
        return cls(first + top, first + left, height, width)

    @property
    def rows(self) -> Tensor:
        """(B, height) rows in pixels."""
        return self.top + self.step[0] * torch.arange(self.height, device=self.top.device)

    @property
    def columns(self) -> Tensor:
        """(B, width) columns in pixels."""
        return self.left + self.step[1] * torch.arange(self.width, device=self.left.device)

    def moved(self, down: Tensor, right: Tensor) -> Grid:
        """The points `down` and `right` of these, (B, 1, 1, 1) pixels each."""
        return replace(self, top=self.top + down.flatten(1), left=self.left + right.flatten(1))

    def grown(self, margin: int) -> Grid:
        """The same with `margin` more points on each side."""
        return replace(
            self,
            top=self.top - margin * self.step[0],
            left=self.left - margin * self.step[1],
            height=self.height + 2 * margin,
            width=self.width + 2 * margin,
        )
