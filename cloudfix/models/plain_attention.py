"""AC-Attention in plain PyTorch, on any device: its definition, and the same by blocks of queries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOOR = 1e-8
"""The least attention that any key gets, as published."""

_BLOCK_ELEMENTS = 2**23
_BLOCK_ELEMENTS_CPU = 2**20  # 4 MB: larger blocks leave the cache, smaller ones drown in calls

ROOT = math.sqrt(math.log2(math.e))
"""Similarities and thresholds times this make logits times log₂ e, so that exp₂ serves: on a CPU it takes a third of
the time of exp, and a twentieth where results vanish, as most do."""


def attend_dense(query: Tensor, key: Tensor, value: Tensor, threshold: Tensor) -> Tensor:
    """The definition of the attention, with its N×N maps in memory.

    Args:
        query: (B, N, C).
        key: (B, N, C), of unit length over C.
        value: (B, N, C).
        threshold: (B, N, 1), what a key's similarity has to exceed for this query.

    Returns:
        (B, N, C): for each query, the values of the keys that it let in, weighted.
    """
    similarity = query @ key.transpose(1, 2)
    selection = F.relu(similarity - threshold)
    attention = torch.softmax(similarity * selection, dim=-1)
    attention = attention.masked_fill(selection == 0, 0).clamp_min(FLOOR)
    return attention @ value


def attend_by_blocks(query: Tensor, key: Tensor, value: Tensor, threshold: Tensor) -> Tensor:
    """As `attend_dense`, in memory that is linear in N, forward and backward.

    The backward pass computes the attention anew; it cannot itself be differentiated.
    """
    blocks: Any = _Blocks.apply
    return cast("Tensor", blocks(query * ROOT, key, value, threshold * ROOT))


class _Blocks(torch.autograd.Function):
    """Logits are to base 2 here: exp₂(s (s − t))."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, threshold: Tensor) -> Tensor:
        gathered = torch.empty_like(query)
        log_sum = torch.empty_like(threshold)
        for block in _blocks(query):
            samples = block[0]
            logits, selection = _scores(query[block], key[samples], threshold[block])
            logits.mul_(selection)
            peak = logits.amax(dim=-1, keepdim=True)
            attention = logits.sub_(peak).exp2_()
            total = attention.sum(dim=-1, keepdim=True)
            # Dividing the short product by the total, not the long map, saves a pass over the map.
            attention.mul_(selection.sign_()).clamp_min_(total * FLOOR)
            gathered[block] = (attention @ value[samples]).div_(total)
            log_sum[block] = total.log2_().add_(peak)
        ctx.save_for_backward(query, key, value, threshold, log_sum)
        return gathered

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        query, key, value, threshold, log_sum = ctx.saved_tensors
        grads = (
            torch.empty_like(query),
            torch.zeros_like(key),
            torch.zeros_like(value),
            torch.empty_like(threshold),
        )
        with torch.autocast(query.device.type, enabled=False):
            for block in _blocks(query):
                samples = block[0]
                grads[0][block], grad_key, grad_value, grads[3][block] = _block_gradients(
                    query[block], key[samples], value[samples], threshold[block], log_sum[block], grad[block]
                )
                grads[1][samples] += grad_key
                grads[2][samples] += grad_value
        return grads


def _blocks(query: Tensor) -> Iterator[tuple[slice, slice]]:
    """Runs of samples and queries whose map against all keys fits a block: whole samples or part of one."""
    batch, positions, _ = query.shape
    limit = _BLOCK_ELEMENTS_CPU if query.device.type == "cpu" else _BLOCK_ELEMENTS
    samples = max(limit // positions**2, 1)
    rows = positions if samples > 1 else max(limit // positions, 1)
    for sample in range(0, batch, samples):
        for row in range(0, positions, rows):
            yield slice(sample, sample + samples), slice(row, row + rows)


def _scores(query: Tensor, key: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    similarity = query @ key.transpose(1, 2)
    return similarity, (similarity - threshold).relu_()


def _block_gradients(
    query: Tensor, key: Tensor, value: Tensor, threshold: Tensor, log_sum: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What one block of queries adds to the gradients of query, key, value and threshold."""
    similarity, selection = _scores(query, key, threshold)
    attention = (similarity * selection).sub_(log_sum).exp2_().mul_(selection.sign_())
    floored = attention.clamp_min(FLOOR)
    grad_value = floored.transpose(1, 2) @ grad
    # Keys that were dropped or raised to the floor pass no gradient to the softmax.
    grad_attention = (grad @ value.transpose(1, 2)).mul_(floored.gt_(FLOOR))
    shared = torch.mul(grad_attention, attention, out=floored).sum(dim=-1, keepdim=True)
    grad_logit = grad_attention.sub_(shared).mul_(attention).mul_(math.log(2))
    # logit = s·(s − t) where a key is let in: dlogit/ds = 2s − t, dlogit/dt = −s.
    weighted = torch.mul(grad_logit, similarity, out=floored)
    grad_threshold = -weighted.sum(dim=-1, keepdim=True)
    grad_similarity = weighted.mul_(2).addcmul_(grad_logit, threshold, value=-1)
    return grad_similarity @ key, grad_similarity.transpose(1, 2) @ query, grad_value, grad_threshold
