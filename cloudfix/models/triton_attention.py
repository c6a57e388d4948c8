"""AC-Attention on a GPU, one pass over the keys, by the kernels of triton_kernels.py, with its gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
import triton
from torch import Tensor

from cloudfix.models import triton_kernels as kernels
from cloudfix.models.plain_attention import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping


def attend(
    query: Tensor, key: Tensor, value: Tensor, threshold: Tensor, products: torch.dtype = torch.float32
) -> Tensor:
    """`plain_attention.attend_dense` without its floor.

    Args:
        query: (B, N, C) float32.
        key: (B, N, C) float32.
        value: (B, N, C) float32.
        threshold: (B, N, 1) float32.
        products: float32, bfloat16 or float16, to which the operands of products are rounded; sums are in float32.

    Returns:
        (B, N, C) float32.
    """
    run: Any = _Attention.apply
    return cast("Tensor", run(query * ROOT, key, value, threshold * ROOT, products))


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, threshold: Tensor, products: torch.dtype
    ) -> Tensor:
        query, key, value = (tokens.to(products).contiguous() for tokens in (query, key, value))
        threshold = threshold.contiguous()
        batch, positions, channels = query.shape
        gathered = torch.empty(query.shape, dtype=torch.float32, device=query.device)
        log_sum = torch.empty_like(threshold)
        tile = _tile(query, operands=1)
        grid = (triton.cdiv(positions, tile["size"]), batch)
        kernels.forward[grid](query, key, value, threshold, gathered, log_sum, positions, channels, **tile)
        ctx.save_for_backward(query, key, value, threshold, gathered, log_sum)
        return gathered

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        query, key, value, threshold, gathered, log_sum = ctx.saved_tensors
        batch, positions, channels = query.shape
        grad = grad.to(query.dtype).contiguous()
        shared = (grad * gathered).sum(dim=2, keepdim=True)
        grads = [torch.empty_like(gathered) for _ in range(3)]
        grad_threshold = torch.empty_like(threshold)
        inputs = (query, key, value, threshold, grad, log_sum, shared)
        tile = _tile(query, operands=2)
        grid = (triton.cdiv(positions, tile["size"]), batch)
        kernels.backward_queries[grid](*inputs, grads[0], grad_threshold, positions, channels, **tile)
        kernels.backward_keys[grid](*inputs, grads[1], grads[2], positions, channels, **tile)
        return grads[0], grads[1], grads[2], grad_threshold, None


def _tile(query: Tensor, operands: int) -> Mapping[str, Any]:
    """How a kernel is cut, by the memory it takes: `size` rows of its own against `step` others at a time.

    Args:
        query: (B, N, C).
        operands: how many tensors a program keeps of its own rows.
    """
    width = max(triton.next_power_of_2(query.shape[2]), 16)
    wide = width * query.element_size() * operands > 256
    return {
        "width": width,
        "size": 64 if wide else 128,
        "step": 32 if wide else 64,
        "num_warps": 8 if width * operands > 64 else 4,
        "num_stages": 2,
    }
