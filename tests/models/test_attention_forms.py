"""Every form of AC-Attention against its definition in float64."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.models import plain_attention
from cloudfix.models.ac_attention import attend, attend_to_all
from cloudfix.models.native import attention as in_c
from cloudfix.models.native.library import library
from cloudfix.models.plain_attention import FLOOR, attend_by_blocks, attend_dense

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Attend = Callable[..., torch.Tensor]

SIZES = {"batch": st.integers(1, 3), "positions": st.integers(1, 24), "channels": st.integers(1, 6)}


@dataclass(frozen=True)
class Form:
    """A form of the attention, what its operands are rounded to, and by how much it may differ."""

    attend: Attend
    products: torch.dtype
    tolerance: float


@dataclass(frozen=True)
class Case:
    batch: int
    positions: int
    channels: int
    gain: float = 2.0
    shift: float = 0.0


CASES = {
    "one query": Case(1, 1, 3),
    "more than one block": Case(2, 131, 16),
    "odd channels": Case(1, 67, 21, gain=1.0),
    "wide": Case(1, 40, 80),
    "queries of zero": Case(1, 20, 5, gain=0.0),
    "nearly all let in": Case(2, 65, 24, shift=-3.0),
    "all refused": Case(1, 70, 20, shift=1e6),
}


@pytest.fixture(scope="module")
def triton() -> Iterator[Attend]:
    """The kernels in Triton's interpreter, which reads the environment when it first sees them."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("no Triton here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        yield importlib.import_module("cloudfix.models.triton_attention").attend


# The interpreter multiplies bfloat16 as if it were whole numbers, so that is left to a GPU.
@pytest.fixture(params=["blocks", "c", "triton in float32", "triton in float16"])
def form(request: pytest.FixtureRequest) -> Form:
    if request.param == "blocks":
        return Form(attend_by_blocks, torch.float32, 2e-5)
    if request.param == "c":
        if (kernels := library()) is None:
            pytest.skip("no processor or compiler for the kernels in C")
        return Form(with_floor(partial(in_c.attend, kernels)), torch.bfloat16, 0.01)
    products = torch.float32 if request.param.endswith("32") else torch.float16
    kernel = partial(request.getfixturevalue("triton"), products=products)
    return Form(with_floor(kernel), products, 1e-5 if products == torch.float32 else 0.002)


def with_floor(kernel: Attend) -> Attend:
    return lambda *inputs: kernel(*inputs) + FLOOR * inputs[2].sum(dim=1, keepdim=True)


def tensors(case: Case, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    """Query, key, value and threshold, ready for gradients."""
    generator = torch.Generator().manual_seed(case.positions)

    def normal(last: int) -> torch.Tensor:
        return torch.randn(case.batch, case.positions, last, generator=generator, dtype=torch.float64)

    key = torch.nn.functional.normalize(normal(case.channels), dim=2)
    made = case.gain * normal(case.channels), key, normal(case.channels), 0.5 * normal(1) + case.shift
    return tuple(tensor.to(dtype).requires_grad_() for tensor in made)


def gradients(function: Attend, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    weights = torch.linspace(-1, 1, inputs[2].numel(), dtype=inputs[2].dtype).view_as(inputs[2])
    return torch.autograd.grad((function(*inputs) * weights).sum(), inputs)


def rounded(inputs: tuple[torch.Tensor, ...], products: torch.dtype) -> tuple[torch.Tensor, ...]:
    operands = [tensor.detach().to(products) for tensor in inputs[:3]] + [tensor.detach() for tensor in inputs[3:]]
    return tuple(tensor.float().requires_grad_() for tensor in operands)


def assert_near(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    error = (found.double() - expected).square().mean().sqrt()
    assert error <= tolerance * expected.square().mean().sqrt() + 1e-6, f"{error:.2g} in {expected.std():.2g}"


@pytest.mark.parametrize("case", CASES)
def test_forms_give_what_the_definition_gives(form: Form, case: str) -> None:
    inputs = rounded(tensors(CASES[case]), form.products)
    exact = tuple(tensor.detach().double().requires_grad_() for tensor in inputs)
    assert_near(form.attend(*inputs), attend_dense(*exact), form.tolerance)
    *others, threshold = zip(gradients(form.attend, inputs), gradients(attend_dense, exact), strict=True)
    for found, expected in others:
        assert_near(found, expected, 5 * form.tolerance)
    # It is what remains of a sum of both signs.
    assert_near(*threshold, 20 * form.tolerance)


@pytest.mark.parametrize("gain", [1e2, 1e3, 1e15])
def test_huge_logits_stay_finite(form: Form, gain: float) -> None:
    if gain > torch.finfo(form.products).max / 20:
        pytest.skip("no such numbers in float16")
    inputs = tensors(Case(2, 70, 6), torch.float32)
    large = (inputs[0] * gain, *inputs[1:])
    result = form.attend(*large)
    assert result.isfinite().all()
    # Softmax weights sum to one at most: only rounding and the floor can take it beyond the largest value.
    assert result.abs().max() <= inputs[2].abs().max() * 1.005
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(result.sum(), inputs))


@settings(max_examples=15, deadline=None)
@given(**SIZES, block=st.integers(1, 4000), gain=st.sampled_from([0.0, 1.0, 8.0]))
def test_blocks_of_any_size_are_exact(batch: int, positions: int, channels: int, block: int, gain: float) -> None:
    inputs = tensors(Case(batch, positions, channels, gain))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_attention, "_BLOCK_ELEMENTS_CPU", block)
        torch.testing.assert_close(attend(*inputs), attend_dense(*inputs), rtol=1e-10, atol=1e-12)
        pairs = zip(gradients(attend, inputs), gradients(attend_dense, inputs), strict=True)
        for found, expected in pairs:
            torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def test_gradients_are_those_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_attention, "_BLOCK_ELEMENTS_CPU", 30)
    assert torch.autograd.gradcheck(attend, tensors(Case(2, 9, 4)))


@settings(max_examples=10, deadline=None)
@given(**SIZES, seed=st.integers(0, 100))
def test_order_of_the_keys_does_not_matter(batch: int, positions: int, channels: int, seed: int) -> None:
    query, key, value, threshold = tensors(Case(batch, positions, channels))
    order = torch.randperm(positions, generator=torch.Generator().manual_seed(seed))
    shuffled = attend(query, key[:, order], value[:, order], threshold)
    torch.testing.assert_close(shuffled, attend(query, key, value, threshold))


def test_the_floor_is_what_refused_keys_get() -> None:
    query, key, value, threshold = tensors(Case(2, 9, 4, shift=1e6))
    expected = (FLOOR * value.sum(dim=1, keepdim=True)).expand_as(value)
    torch.testing.assert_close(attend(query, key, value, threshold), expected, rtol=1e-9, atol=1e-15)
    half = attend(*(tensor.float() for tensor in (query, key, value, threshold)), products=torch.bfloat16)
    torch.testing.assert_close(half.double(), expected, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", ["one query", "more than one block", "odd channels", "queries of zero"])
def test_dense_attention_is_the_softmax_over_all_keys(case: str, products: torch.dtype) -> None:
    def definition(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return torch.softmax(query @ key.transpose(1, 2), dim=-1) @ value

    found = partial(attend_to_all, products=products)
    inputs = rounded(tensors(CASES[case])[:3], products)
    exact = tuple(tensor.detach().double().requires_grad_() for tensor in inputs)
    tolerance = 1e-5 if products == torch.float32 else 0.01
    assert_near(found(*inputs), definition(*exact), tolerance)
    for gradient, expected in zip(gradients(found, inputs), gradients(definition, exact), strict=True):
        assert_near(gradient, expected, 5 * tolerance)


def test_the_number_of_threads_does_not_matter() -> None:
    inputs = tensors(Case(3, 200, 16), torch.float32)
    bfloat16 = partial(attend, products=torch.bfloat16)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append([bfloat16(*inputs), *gradients(bfloat16, inputs)])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
