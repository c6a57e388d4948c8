from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from cloudfix.models import ac_attention, create, plain_attention
from cloudfix.models.ac_attention import AcAttention


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


def test_gradients_reach_every_parameter() -> None:
    module = AcAttention(8)
    module(torch.randn(2, 8, 5, 7)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@settings(max_examples=8, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), channels=st.sampled_from([1, 3, 4, 10]))
def test_module_takes_any_size(height: int, width: int, channels: int) -> None:
    x = torch.randn(2, channels, height, width)
    module = create("ac-attention", channels=channels).eval()
    y = module(x)
    assert y.shape == x.shape
    assert y.isfinite().all()
    torch.testing.assert_close(module(x[:1]), y[:1])


@pytest.mark.parametrize("attention", ["dense", "attentive"])
def test_half_precision_is_scored_in_single(
    monkeypatch: pytest.MonkeyPatch, attention: Literal["dense", "attentive"]
) -> None:
    module = AcAttention(16, attention)
    x = 3 * torch.randn(1, 16, 12, 12)
    expected = module(x)
    given: list[torch.dtype] = []
    name = {"dense": "attend_to_all", "attentive": "attend"}[attention]
    plain = getattr(ac_attention, name)

    def spy(*inputs: Any) -> torch.Tensor:
        given.extend(tensor.dtype for tensor in inputs[:-1])
        given.append(inputs[-1])
        return plain(*inputs)

    monkeypatch.setattr(ac_attention, name, spy)
    with torch.autocast("cpu", torch.bfloat16):
        half = module(x.bfloat16())
    assert set(given[:-1]) == {torch.float32}
    assert given[-1] == torch.bfloat16
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, rtol=0.05, atol=0.1)


def test_dense_module_attends_to_all_keys() -> None:
    module = AcAttention(6, "dense")
    x = torch.randn(2, 6, 5, 7)
    query, value = (conv(x).flatten(2).transpose(1, 2) for conv in (module.query, module.value))
    key = torch.nn.functional.normalize(query, dim=2)
    gathered = (torch.softmax(query @ key.transpose(1, 2), dim=-1) @ value).transpose(1, 2).reshape(x.shape)
    expected = x + torch.nn.functional.leaky_relu(module.output(gathered), 0.2)
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("attention", ["dense", "attentive"])
def test_no_map_of_all_pairs_is_ever_made(
    monkeypatch: pytest.MonkeyPatch, attention: Literal["dense", "attentive"]
) -> None:
    """Fake tensors have shapes and no values, so every operation of a large case can be watched."""
    side, limit = 128, plain_attention._BLOCK_ELEMENTS
    assert limit >= plain_attention._BLOCK_ELEMENTS_CPU
    assert 4 * limit <= 32 * 2**20
    monkeypatch.setattr(plain_attention, "_BLOCK_ELEMENTS_CPU", limit)
    with FakeTensorMode():
        module = AcAttention(4, attention)
        with LargestTensor() as forward:
            result = module(torch.randn(1, 4, side, side))
        with LargestTensor() as backward:
            result.sum().backward()
    kernel = {"dense": "flash_attention", "attentive": "bmm"}[attention]
    assert any(kernel in operation for operation in backward.operations)
    assert side**4 / 30 > limit >= max(forward.elements, backward.elements) > side**2
