from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.models import convolution
from cloudfix.models.convolution import Conv3x3
from cloudfix.models.deformable import DeformableConv
from cloudfix.models.native.library import library

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_kernels = pytest.mark.skipif(
    library() is None or bool(convolution.capabilities().get("amx_bf16")), reason="this machine has no such kernel"
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The kernels that were called, as they are."""
    called: list[str] = []

    def spy(*arguments: object, **options: object) -> torch.Tensor:
        called.append("convolve")
        return plain(*arguments, **options)

    plain = convolution.convolve
    monkeypatch.setattr(convolution, "convolve", spy)
    return called


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected).square().mean().sqrt() / expected.square().mean().sqrt()).item()


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("skip", [False, True])
def test_what_follows_the_convolution(slope: float, skip: bool) -> None:
    conv = Conv3x3(3, 5)
    x, residual = torch.randn(2, 3, 6, 7), torch.randn(2, 5, 6, 7) if skip else None
    expected = 0.5 * F.leaky_relu(F.conv2d(x, conv.weight, conv.bias, padding=1), slope)
    expected = expected + residual if residual is not None else expected
    torch.testing.assert_close(conv(x, slope=slope, scale=0.5, residual=residual), expected)
    assert set(conv.state_dict()) == {"weight", "bias"}


@needs_kernels
@settings(max_examples=25, deadline=None)
@given(
    channels=st.tuples(st.integers(16, 90), st.integers(16, 90)),
    sides=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    bias=st.booleans(),
    skip=st.booleans(),
    slope=st.sampled_from([0.0, 0.2, 1.0]),
    last=st.booleans(),
)
def test_winograd_is_near_in_every_shape(
    channels: tuple[int, int], sides: tuple[int, int], bias: bool, skip: bool, slope: float, last: bool
) -> None:
    torch.manual_seed(sum(channels))
    conv = Conv3x3(*channels, bias=bias).bfloat16().requires_grad_(False)
    layout = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(2, channels[0], *sides).bfloat16().contiguous(memory_format=layout)
    residual = torch.randn(2, channels[1], *sides).bfloat16() if skip else None
    exact = copy.deepcopy(conv).double()
    expected = exact(x.double(), slope, 0.5, None if residual is None else residual.double())
    with torch.no_grad():
        found = conv(x, slope, 0.5, residual)
    assert found.dtype == torch.bfloat16
    assert error(found, expected) < 0.02


@needs_kernels
def test_inference_in_bfloat16_takes_it_and_nothing_else(calls: list[str]) -> None:
    conv, x = Conv3x3(16, 16), torch.randn(1, 16, 8, 8)
    with torch.no_grad():
        conv(x)
        Conv3x3(3, 16).bfloat16()(x[:, :3].bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        conv(x)
        assert calls == []
        with torch.inference_mode():
            conv(x)
    assert calls == ["convolve"]


@needs_kernels
def test_processors_with_tiles_do_without(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "capabilities", lambda: {"avx512_bf16": True, "amx_bf16": True})
    with torch.no_grad():
        Conv3x3(16, 16).bfloat16()(torch.randn(1, 16, 8, 8).bfloat16())
    assert calls == []


@needs_kernels
def test_weights_that_change_are_transformed_again(calls: list[str]) -> None:
    conv, x = Conv3x3(16, 16, bias=False).bfloat16(), torch.randn(1, 16, 8, 8).bfloat16()
    with torch.no_grad():
        before = conv(x)
        conv.weight.mul_(2)
        torch.testing.assert_close(conv(x), 2 * before)
        conv.weight.data.mul_(2)  # as averages of weights are swapped in: PyTorch does not count it as a change
        torch.testing.assert_close(conv(x), 4 * before)
        conv.load_state_dict({"weight": torch.zeros_like(conv.weight)})
        assert conv(x).eq(0).all()
    assert len(calls) == 4


@needs_kernels
@torch.no_grad()
def test_frozen_weights_that_change_are_transformed_again() -> None:
    conv, x = Conv3x3(16, 16, bias=False).bfloat16().requires_grad_(False), torch.randn(1, 16, 8, 8).bfloat16()
    before = conv(x)
    conv.weight.mul_(2)
    torch.testing.assert_close(conv(x), 2 * before)
    conv.load_state_dict({"weight": torch.zeros_like(conv.weight)})
    assert conv(x).eq(0).all()
    conv.weight = torch.nn.Parameter(torch.ones_like(conv.weight), requires_grad=False)
    assert conv(x).ne(0).any()


@needs_kernels
@torch.no_grad()
def test_frozen_weights_are_transformed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    transformed: list[torch.Tensor] = []
    plain = convolution.transform
    monkeypatch.setattr(convolution, "transform", lambda weight: transformed.append(weight) or plain(weight))
    conv, x = Conv3x3(16, 16).bfloat16().requires_grad_(False), torch.randn(1, 16, 8, 8).bfloat16()
    for _ in range(3):
        conv(x)
    assert len(transformed) == 1


@needs_kernels
@settings(max_examples=15, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    reach=st.sampled_from([0.0, 1.0, 12.0]),
)
def test_deformable_kernel_samples_as_plain_pytorch(
    sides: tuple[int, int], channels: tuple[int, int], reach: float
) -> None:
    torch.manual_seed(sum(sides))
    conv = DeformableConv(*channels)
    torch.nn.init.normal_(conv.offset.weight, std=reach)
    x = torch.randn(2, channels[0], *sides).bfloat16()
    with torch.no_grad():
        # Both in bfloat16, so that the offsets are the same.
        conv.bfloat16()
        found = conv(x)
    expected = conv(x)
    assert error(found, expected.detach().double()) < 0.02
