"""AC-Attention and dense attention by the kernels of attention.c, with their gradients."""

from __future__ import annotations

import ctypes
import math
from typing import Any, cast

import torch
from torch import Tensor

from cloudfix.models.native.library import parallel, spans
from cloudfix.models.native.operands import LANES, pack, pad, round_up

_KEYS = 64
_QUERIES = 96
_ROWS = 6


class _Sample(ctypes.Structure):
    """One sample, as `cloudfix_attend_gradients` takes it."""

    _fields_ = (
        *(
            (name, ctypes.c_void_p)
            for name in (
                "query", "query_channels", "key", "key_rows", "value", "grad", "grad_channels",
                "threshold", "log_sum", "shared", "grad_query", "grad_key", "grad_value", "grad_threshold",
            )
        ),
        ("positions", ctypes.c_int),
        ("channels", ctypes.c_int),
    )  # fmt: skip


def attend(kernels: ctypes.CDLL, query: Tensor, key: Tensor, value: Tensor, threshold: Tensor) -> Tensor:
    """`ac_attention.attend_dense` without its floor, products in bfloat16, sums in float32.

    Args:
        kernels: the compiled library.
        query: (B, N, C).
        key: (B, N, C).
        value: (B, N, C).
        threshold: (B, N, 1); −∞ for dense attention, in which the logit is the similarity itself.

    Returns:
        (B, N, C) float32.
    """
    return cast("Tensor", _Attention.apply(kernels, query, key, value, threshold))  # type: ignore[no-untyped-call]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernels: ctypes.CDLL, query: Tensor, key: Tensor, value: Tensor, threshold: Tensor) -> Tensor:
        batch, positions, channels = query.shape
        width, rows = round_up(channels, LANES), round_up(positions, _QUERIES)
        queries, thresholds = _rows(query, width), _thresholds(threshold)
        keys = pack(_blocks(key, width).transpose(-1, -2))
        values = pack(_blocks(value, width))
        gathered, log_sum = torch.empty(batch, rows, width), torch.empty(batch, rows)

        def run(first: int, last: int) -> int:
            failed = 0
            for sample, begin, end in spans(first, last, rows):
                tensors = (queries, keys, values, thresholds, gathered, log_sum)
                failed |= kernels.cloudfix_attend(
                    *(_pointer(tensor[sample]) for tensor in tensors), positions, width, begin, min(end, positions)
                )
            return failed

        parallel(run, batch * rows, _QUERIES)
        result = gathered[:, :positions, :channels]
        ctx.kernels = kernels
        ctx.save_for_backward(query, key, value, threshold, result, log_sum)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, threshold, result, log_sum = ctx.saved_tensors
        batch, positions, channels = query.shape
        width, rows, keys = round_up(channels, LANES), log_sum.shape[1], round_up(positions, _KEYS)
        height = round_up(width, _ROWS)
        queries, grads = _rows(query, width), _rows(grad, width)
        key_blocks, value_blocks = _blocks(key, width), _blocks(value, width)
        shared = pad((grads[:, :positions, :channels] * result).sum(dim=2, keepdim=True), rows, 1)
        inputs = (
            queries,
            _by_channel(queries, height),
            pack(key_blocks.transpose(-1, -2)),
            pack(key_blocks),
            pack(value_blocks.transpose(-1, -2)),
            grads,
            _by_channel(grads, height),
            _thresholds(threshold),
            log_sum,
            shared,
        )
        by_channel = (batch, keys // _KEYS, height, _KEYS)
        outputs = (
            torch.zeros(batch, rows, width),
            torch.zeros(by_channel),
            torch.zeros(by_channel),
            torch.zeros(batch, rows, 1),
        )

        def run(first: int, last: int) -> int:
            failed = 0
            for sample in range(first, last):
                pointers = (_pointer(tensor[sample]) for tensor in (*inputs, *outputs))
                job = _Sample(*pointers, positions, width)
                failed |= ctx.kernels.cloudfix_attend_gradients(ctypes.byref(job), 0, positions)
            return failed

        parallel(run, batch)
        grad_key, grad_value = (
            blocks.transpose(2, 3).flatten(1, 2)[:, :positions, :channels] for blocks in outputs[1:3]
        )
        grad_query, grad_threshold = outputs[0][:, :positions, :channels], outputs[3][:, :positions]
        return None, *(
            found.to(given.dtype)
            for found, given in (
                (grad_query, query),
                (grad_key, key),
                (grad_value, value),
                (grad_threshold, threshold),
            )
        )


def _rows(matrix: Tensor, width: int) -> Tensor:
    """(B, N, C) to bfloat16, rows filled up to a block of queries."""
    return pad(matrix.to(torch.bfloat16), round_up(matrix.shape[1], _QUERIES), width).contiguous()


def _blocks(matrix: Tensor, width: int) -> Tensor:
    """(B, N, C) to blocks of keys (B, blocks, 64, width)."""
    return pad(matrix, round_up(matrix.shape[1], _KEYS), width).view(len(matrix), -1, _KEYS, width)


def _by_channel(rows: Tensor, height: int) -> Tensor:
    return pad(rows.transpose(1, 2), height, rows.shape[1]).contiguous()


def _thresholds(threshold: Tensor) -> Tensor:
    """(B, N, 1) to float32; rows that fill up a block let nothing in."""
    return pad(threshold.float(), round_up(threshold.shape[1], _QUERIES), 1, value=math.inf).contiguous()


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())
