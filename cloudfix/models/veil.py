"""What a network restored, made exact where a veil that hardly changes explains what it took away."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cloudfix.models.density import VeilDensity
from cloudfix.models.transmission_map import CELL, TransmissionMap

_LEAST = 0.15
"""Transmission below which nothing is taken for a veil that can be undone."""

_STEPS = 851
_CELLS, _FEW_CELLS = 11, 3
"""Where a veil changes the transmission is that of squares of so many cells of so many pixels a side; of the few where
it changes within these, too."""

_CHANGES, _CHANGES_SIDE = (0.45, 0.65), 127
"""A veil changes where that of smaller squares leaves at most the first share of what that of larger ones cannot
explain, over squares of so many pixels a side; where it leaves the second, what is finer is the network's error."""

_LOOKS = (0.2, 0.8)
"""What the look of the image as a whole counts for in how dense its veil is; the rest is what the network says. The
second where no veil explains what the network did and the look is a known one."""

_STRAYS = (0.01, 0.02)
"""The mean difference between what the network shows and the image without a veil, on 0…1, up to which the network
knows the ground, and from which on it does not."""

_NOVEL = (0.6, 0.9)
"""How far the look of the image is from all that are known (`VeilDensity`) where it begins to be, and is, another."""

_THIN = 0.1
"""What a veil takes away below which the look of the image counts for less: ground without a veil may look as if."""

_UNEVEN = 0.07
"""How far the transmission of a place is from that of all the image where the look of this tells nothing of that."""

_PATCHY = (0.1, 0.15)
"""The deviation of a veil's transmission within an image, relative to its mean, from which on `TransmissionMap` has a
say, and alone."""

_SIDE, _BELIEVED = 17, (0.1, 0.2)
"""Squares of so many pixels a side, and the mean difference over them, on 0…1, up to which the veil is believed, and
from which on it is not."""


class EvenVeil(nn.Module):
    """Undoes a grey veil that hardly changes from place to place by the scattering model, as dense as the output says.

    x = t y + (1 − t) A with A = 1 − t: the denser a veil, the brighter (RICE-I, docs/training-log.md). At t = 0.5 an
    error of 0.01 in t moves y by 0.01 to 0.03, and an error of the network by pixels is gone. How dense the veil is
    over all of the image, the network says where a veil explains what it did, and `VeilDensity` where none does: then
    the network does not know this ground. How dense it is around a pixel the network says, where the veil changes.
    Where no veil explains what it did and the look of the image tells nothing, the restored image stays. Both are lost
    where a veil is thick here and thin there: that, `TransmissionMap` sees.
    """

    def __init__(self) -> None:
        super().__init__()
        self.density = VeilDensity()
        self.map = TransmissionMap()

    def forward(self, image: Tensor, restored: Tensor) -> Tensor:
        """The restored image, its veil undone.

        Args:
            image: (B, 3, H, W) in 0…1, with cloud; H and W divide by 8.
            restored: the same without it, as the network has it.

        Returns:
            (B, 3, H, W) in float32.
        """
        with torch.autocast(image.device.type, enabled=False):
            image, restored = image.float(), restored.float()
            shown = restored.clamp(0, 1)
            moments = _moments(image, shown)
            overall = _overall(moments)
            veil = _as_it_changes(image, shown, moments, overall)
            difference = _difference(image, shown, veil)
            looks, novelty = (values[:, None, None, None] for values in self.density(image))
            lost = _ramp(difference.mean((2, 3), keepdim=True), _STRAYS) * (1 - _ramp(novelty, _NOVEL))
            even = (1 - ((veil - overall) / _UNEVEN) ** 2).clamp_min(0)
            least, most = _LOOKS
            say = (least + (most - least) * lost) * even * _ramp(1 - veil, (0, _THIN))
            say = say.masked_fill(looks.isnan(), 0)
            t = (veil + say * (looks.nan_to_num(0).clamp(_LEAST, 1) - overall)).clamp(_LEAST, 1)
            believed = torch.maximum(1 - _ramp(_smoothed(difference, _SIDE), _BELIEVED), say)
            mapped, patchy = self._mapped(image)
            t, believed = torch.lerp(t, mapped, patchy), torch.maximum(believed, patchy)
            return torch.lerp(restored, undone(image, t), believed)

    def _mapped(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, H, W) the transmission as it is mapped, and (B, 1, 1, 1) how much that counts for."""
        cells = self.map(image)
        deviation, mean = torch.std_mean(cells, (2, 3), correction=0, keepdim=True)
        return _at_pixels(cells), self.map.fitted * _ramp(deviation / mean, _PATCHY)


def transmission(image: Tensor, restored: Tensor) -> Tensor:
    """(B, 1, H, W) the transmission of the veil that leads from `restored` to `image`, by least squares around a pixel.

    Args:
        image: (B, 3, H, W) in 0…1; H and W divide by 8.
        restored: the same.
    """
    return _around(_moments(image, restored), _CELLS)


def overall_transmission(image: Tensor, restored: Tensor) -> Tensor:
    """(B, 1, 1, 1) the same, by least squares over all of an image."""
    return _overall(_moments(image, restored))


def veiled(clear: Tensor, t: Tensor | float) -> Tensor:
    """(B, 3, H, W) an image in 0…1 under a veil of transmission t."""
    return t * clear + (1 - t) ** 2


def undone(image: Tensor, t: Tensor) -> Tensor:
    """(B, 3, H, W) the image without a veil of transmission t, in 0…1."""
    return ((image - (1 - t) ** 2) / t).clamp(0, 1)


def _moments(image: Tensor, restored: Tensor) -> Tensor:
    """(B, 5, H / 8, W / 8) means over squares and bands of what the error of a transmission is made of."""
    products = (image, restored, image**2, image * restored, restored**2)
    return F.avg_pool2d(torch.stack([values.double().mean(1) for values in products], dim=1), CELL)


def _as_it_changes(image: Tensor, shown: Tensor, moments: Tensor, overall: Tensor) -> Tensor:
    """(B, 1, H, W) the transmission around each pixel: of all the image, or nearer around as it changes."""
    veil = overall.expand(-1, -1, *image.shape[-2:])
    levels = [veil, _around(moments, _CELLS), _around(moments, _FEW_CELLS)]
    left = [_smoothed(_difference(image, shown, level), _CHANGES_SIDE) for level in levels]
    for (_, unexplained), (finer, less) in pairwise(zip(levels, left, strict=True)):
        veil = torch.lerp(finer, veil, _ramp(less / unexplained.clamp_min(1e-6), _CHANGES))
    return veil


def _difference(image: Tensor, shown: Tensor, t: Tensor) -> Tensor:
    """(B, 1, H, W) mean difference between what the network shows and the image without a veil of transmission t."""
    return (undone(image, t) - shown).abs().mean(1, keepdim=True)


def _ramp(values: Tensor, ends: tuple[float, float]) -> Tensor:
    """0 up to the first of `ends`, 1 from the second on."""
    return ((values - ends[0]) / (ends[1] - ends[0])).clamp(0, 1)


def _around(moments: Tensor, cells: int) -> Tensor:
    """(B, 1, H, W) the transmission around each pixel."""
    around = F.avg_pool2d(moments, cells, 1, cells // 2, count_include_pad=False)
    return _at_pixels(_best(around))


def _at_pixels(cells: Tensor) -> Tensor:
    """(B, 1, h, w) to (B, 1, H, W)."""
    return F.interpolate(cells, scale_factor=CELL, mode="bilinear", align_corners=False)


def _overall(moments: Tensor) -> Tensor:
    """(B, 1, 1, 1) the transmission over all of an image."""
    return _best(moments.mean((2, 3), keepdim=True))


def _best(moments: Tensor) -> Tensor:
    """(B, 1, h, w) the transmission of the least error."""
    x, y, xx, xy, yy = moments[..., None].unbind(1)
    t = torch.linspace(_LEAST, 1, _STEPS, device=moments.device, dtype=torch.float64)
    veil = (1 - t) ** 2
    # The mean of ((x − veil) / t − y)², for all t at once.
    error = (xx - 2 * t * xy + t**2 * yy - 2 * veil * (x - t * y) + veil**2) / t**2
    return t[error.argmin(dim=-1)].float()[:, None]


def _smoothed(values: Tensor, side: int) -> Tensor:
    """Means of (B, 1, H, W) over squares, by rows and then by columns."""
    for window in ((side, 1), (1, side)):
        above, left = (length // 2 for length in window)
        values = F.avg_pool2d(F.pad(values, (left, left, above, above), mode="replicate"), window, 1)
    return values
