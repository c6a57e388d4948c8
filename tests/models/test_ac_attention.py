from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from cloudfix.models import ac_attention, create
from cloudfix.models.ac_attention import FLOOR, AcAttention, attend, attend_dense

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = {"batch": st.integers(1, 3), "positions": st.integers(1, 24), "channels": st.integers(1, 6)}


class LargestTensor(TorchDispatchMode):
    """Records the elements of the largest tensor that any operation returns, and the operations."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0
        self.operations: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        self.operations.append(str(func))
        return result


def tensors(
    batch: int, positions: int, channels: int, *, gain: float = 2.0, shift: float = 0.0
) -> tuple[torch.Tensor, ...]:
    """Query, key, value and threshold in float64, ready for gradients."""
    generator = torch.Generator().manual_seed(positions)

    def normal(last: int) -> torch.Tensor:
        return torch.randn(batch, positions, last, generator=generator, dtype=torch.float64)

    key = torch.nn.functional.normalize(normal(channels), dim=2)
    made = gain * normal(channels), key, normal(channels), 0.5 * normal(1) + shift
    return tuple(tensor.requires_grad_() for tensor in made)


def gradients(function: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    weights = torch.linspace(-1, 1, inputs[2].numel(), dtype=torch.float64).view_as(inputs[2])
    return torch.autograd.grad((function(*inputs) * weights).sum(), inputs)


@settings(max_examples=25, deadline=None)
@given(**SIZES, block=st.integers(1, 4000), gain=st.sampled_from([0.0, 1.0, 8.0]))
def test_blocks_give_what_the_definition_gives(
    batch: int, positions: int, channels: int, block: int, gain: float
) -> None:
    inputs = tensors(batch, positions, channels, gain=gain)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ac_attention, "_BLOCK_ELEMENTS_CPU", block)
        torch.testing.assert_close(attend(*inputs), attend_dense(*inputs), rtol=1e-10, atol=1e-12)
        pairs = zip(gradients(attend, inputs), gradients(attend_dense, inputs), strict=True)
        for found, expected in pairs:
            torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def test_gradients_are_those_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ac_attention, "_BLOCK_ELEMENTS_CPU", 30)
    assert torch.autograd.gradcheck(attend, tensors(2, 9, 4))


def test_gradients_reach_every_parameter() -> None:
    module = AcAttention(8)
    module(torch.randn(2, 8, 5, 7)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@settings(max_examples=20, deadline=None)
@given(**SIZES)
def test_keys_that_are_all_refused_leave_the_floor(batch: int, positions: int, channels: int) -> None:
    query, key, value, threshold = tensors(batch, positions, channels, shift=1e6)
    expected = (FLOOR * value.sum(dim=1, keepdim=True)).expand_as(value)
    torch.testing.assert_close(attend(query, key, value, threshold), expected, rtol=1e-9, atol=1e-15)


@settings(max_examples=20, deadline=None)
@given(**SIZES, gain=st.sampled_from([1e2, 1e6, 1e15]))
def test_huge_logits_stay_finite(batch: int, positions: int, channels: int, gain: float) -> None:
    inputs = tuple(tensor.detach().float().requires_grad_() for tensor in tensors(batch, positions, channels))
    large = (inputs[0] * gain, *inputs[1:])
    result = attend(*large)
    assert result.isfinite().all()
    # Softmax weights sum to one at most: only the floor can take the result beyond the largest value.
    assert result.abs().max() <= inputs[2].abs().max() * (1 + positions * FLOOR) * (1 + 1e-5)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(result.sum(), inputs))


@settings(max_examples=20, deadline=None)
@given(**SIZES, seed=st.integers(0, 100))
def test_order_of_the_keys_does_not_matter(batch: int, positions: int, channels: int, seed: int) -> None:
    query, key, value, threshold = tensors(batch, positions, channels)
    order = torch.randperm(positions, generator=torch.Generator().manual_seed(seed))
    shuffled = attend(query, key[:, order], value[:, order], threshold)
    torch.testing.assert_close(shuffled, attend(query, key, value, threshold))


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), channels=st.sampled_from([1, 3, 4, 10]))
def test_module_takes_any_size(height: int, width: int, channels: int) -> None:
    x = torch.randn(2, channels, height, width)
    module = create("ac-attention", channels=channels).eval()
    y = module(x)
    assert y.shape == x.shape
    assert y.isfinite().all()
    torch.testing.assert_close(module(x[:1]), y[:1])


def test_half_precision_input_is_scored_in_single(monkeypatch: pytest.MonkeyPatch) -> None:
    module = AcAttention(16)
    x = 3 * torch.randn(1, 16, 12, 12)
    expected = module(x)
    scored: list[torch.dtype] = []

    def spy(*inputs: torch.Tensor) -> torch.Tensor:
        scored.extend(tensor.dtype for tensor in inputs)
        return attend(*inputs)

    monkeypatch.setattr(ac_attention, "attend", spy)
    with torch.autocast("cpu", torch.bfloat16):
        half = module(x.bfloat16())
    assert scored == [torch.float32] * 4
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, rtol=0.05, atol=0.1)


def test_no_map_of_all_pairs_is_ever_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake tensors have shapes and no values, so every operation of a large case can be watched."""
    side, limit = 128, ac_attention._BLOCK_ELEMENTS
    assert limit >= ac_attention._BLOCK_ELEMENTS_CPU
    assert 4 * limit <= 32 * 2**20
    monkeypatch.setattr(ac_attention, "_BLOCK_ELEMENTS_CPU", limit)
    with FakeTensorMode():
        module = AcAttention(4)
        with LargestTensor() as forward:
            result = module(torch.randn(1, 4, side, side))
        with LargestTensor() as backward:
            result.sum().backward()
    assert any("bmm" in operation for operation in backward.operations)
    assert side**4 / 30 > limit >= max(forward.elements, backward.elements) > side**2
