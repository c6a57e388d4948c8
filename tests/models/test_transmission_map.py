"""The map of a veil's transmission: of any image, and as the veil is undone with it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from cloudfix.models import load
from cloudfix.models.transmission_map import TransmissionMap
from cloudfix.models.veil import EvenVeil, veiled

CELLS = st.integers(1, 9)


def ground(side: int = 128) -> Tensor:
    coarse = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, (side, side), mode="bilinear") * 0.7


def waves(mean: float, deviation: float, side: int = 128) -> Tensor:
    """(1, 1, side, side) the transmission of a veil that is thick here and thin there."""
    rows = torch.linspace(0, 6.28, side)[:, None]
    return mean + 2 * deviation * (rows.sin() * rows.T.cos())[None, None]


class Known(nn.Module):
    """A map that somebody has drawn."""

    def __init__(self, t: Tensor) -> None:
        super().__init__()
        self.cells, self.fitted = F.avg_pool2d(t, 8), torch.ones(())

    def forward(self, image: Tensor) -> Tensor:
        return self.cells.expand(len(image), -1, -1, -1)


def with_map(t: Tensor) -> EvenVeil:
    veil = EvenVeil()
    veil.map = Known(t)  # type: ignore[assignment]
    return veil


@given(rows=CELLS, columns=CELLS, level=st.floats(0, 1))
def test_any_image_has_a_transmission_in_each_cell(rows: int, columns: int, level: float) -> None:
    t = TransmissionMap()(torch.full((2, 3, 8 * rows, 8 * columns), level))
    assert t.shape == (2, 1, rows, columns)
    assert t.min() >= 0.1
    assert t.max() <= 1


def test_a_patchy_veil_is_undone_as_mapped_whatever_the_network_made_of_it() -> None:
    clear, t = ground(), waves(0.3, 0.06)
    image = veiled(clear, t)
    assert (with_map(t)(image, image) - clear).abs().mean() < 0.03
    assert (EvenVeil()(image, image) - clear).abs().mean() > 0.2


def test_of_a_veil_that_hardly_changes_the_map_says_nothing() -> None:
    clear = ground()
    image = veiled(clear, 0.5)
    torch.testing.assert_close(with_map(waves(0.7, 0.05))(image, clear), EvenVeil()(image, clear))


def test_each_image_of_a_batch_has_its_own_map() -> None:
    t = torch.cat([waves(0.3, 0.06), waves(0.5, 0.01)])
    image = veiled(ground(), t)
    both = with_map(t)(image, image)
    for k in range(2):
        torch.testing.assert_close(both[k : k + 1], with_map(t[k : k + 1])(image[k : k + 1], image[k : k + 1]))


@pytest.mark.parametrize(("mean", "deviation"), [(0.22, 0.045), (0.35, 0.07)])
def test_what_ships_undoes_most_of_a_thick_veil_over_ground_it_never_saw(mean: float, deviation: float) -> None:
    """Also when it had to be seen through hills that darken and brighten the ground."""
    network, _ = load("thiefcloud.rgb")
    hills = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    clear = torch.tensor([0.3, 0.35, 0.25])[:, None, None] * (0.5 + F.interpolate(hills, (256, 256), mode="bicubic"))
    image = veiled(clear, waves(mean, deviation, 256))
    with torch.inference_mode():
        restored = network.eval()(image)[0]
    assert (restored - clear).abs().mean() < 0.3 * (image - clear).abs().mean()
