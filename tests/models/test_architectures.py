from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.errors import ModelError
from cloudfix.models import architectures, create
from cloudfix.models.aca_crnet import AttentionBlock
from cloudfix.models.deformable import DeformableConv


def test_the_five_architectures_are_there() -> None:
    assert architectures() == ("ac-attention", "aca-crnet", "dsen2-cr", "scpm", "thiefcloud")


@pytest.mark.parametrize(
    ("name", "millions"),
    [("dsen2-cr", 18.9), ("aca-crnet", 20.4), ("scpm", 0.27), ("thiefcloud", 2.06)],
)
def test_defaults_are_as_published(name: str, millions: float) -> None:
    with torch.device("meta"):
        parameters = sum(p.numel() for p in create(name).parameters())
    assert parameters / 1e6 == pytest.approx(millions, rel=0.005)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("aca-crent", {}, "did you mean 'aca-crnet'"),
        ("zzz", {}, "use one of ac-attention, aca-crnet"),
        ("aca-crnet", {"feature": 4}, "unknown option 'feature'; did you mean 'features'"),
        ("aca-crnet", {"features": 0}, "features=0; expected a whole number above 0"),
        ("aca-crnet", {"blocks": 2.5}, "blocks=2.5"),
        ("dsen2-cr", {"features": True}, "features=True"),
        ("dsen2-cr", {"alpha": float("nan")}, "alpha=nan; expected a finite number"),
        ("dsen2-cr", {"in_channels": 3}, "out_channels=13"),
        ("ac-attention", {}, "option 'channels' is missing"),
        ("scpm", {"features": 12}, "unknown option 'features'"),
    ],
)
def test_wrong_names_and_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        create(name, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["dsen2-cr", "aca-crnet"])
def test_long_skip_is_the_last_channels_of_the_input(name: str) -> None:
    network: Any = create(name, in_channels=15, out_channels=13, blocks=4, features=8)
    torch.nn.init.zeros_(network.refine.weight)
    x = torch.randn(2, 15, 8, 8)
    assert torch.equal(network(x), x[:, 2:])


@pytest.mark.parametrize(("blocks", "expected"), [(16, [8, 12]), (8, [4, 6]), (5, [2, 3]), (1, [0])])
def test_attention_sits_halfway_and_three_quarters_along(blocks: int, expected: list[int]) -> None:
    network: Any = create("aca-crnet", blocks=blocks, features=4)
    assert [i for i, block in enumerate(network.blocks) if isinstance(block, AttentionBlock)] == expected


@pytest.mark.parametrize(
    ("name", "shape"),
    [("aca-crnet", (1, 3, 9, 8)), ("scpm", (1, 3, 16, 20)), ("thiefcloud", (1, 3, 12, 16))],
)
def test_sides_that_cannot_be_halved_are_refused(name: str, shape: tuple[int, ...]) -> None:
    options = {"features": 4, "blocks": 2} if name == "aca-crnet" else {}
    with pytest.raises(ModelError, match=f"input of {shape[2]}×{shape[3]} pixels"):
        create(name, **options)(torch.zeros(shape))


def test_a_step_of_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    network = create("aca-crnet", blocks=4, features=8)
    x, target = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(5):
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = (network(x) - target).abs().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    shifts=st.lists(st.floats(-9, 9, width=32), min_size=18, max_size=18),
)
def test_deformable_convolution_is_as_defined(height: int, width: int, shifts: list[float]) -> None:
    conv = DeformableConv(2, 3).double()
    torch.nn.init.constant_(conv.offset.bias, 0)
    assert conv.offset.bias is not None
    conv.offset.bias.data = torch.tensor(shifts, dtype=torch.float64)
    x = torch.randn(1, 2, height, width, dtype=torch.float64)
    expected = torch.zeros(3, height, width, dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            for tap in range(9):
                y = 1 + row + tap // 3 - 1 + shifts[tap]
                z = 1 + column + tap % 3 - 1 + shifts[9 + tap]
                value = sum(wy * wz * x[0, :, iy, iz] for iy, wy in corners(y, height) for iz, wz in corners(z, width))
                expected[:, row, column] += conv.conv.weight[:, :, tap // 3, tap % 3] @ value
    torch.testing.assert_close(conv(x)[0], expected)


def corners(position: float, size: int) -> list[tuple[int, float]]:
    """The definition, one axis: border samples count twice, see `_corners`."""
    if position < 0:
        return [(0, 2.0)]
    if position >= size - 1:
        return [(size - 1, 2.0)]
    low = int(position)
    return [(low, 1 - (position - low)), (low + 1, position - low)]


def test_importing_the_room_does_not_import_torch() -> None:
    code = "import sys, cloudfix.models; cloudfix.models.list_weights(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
