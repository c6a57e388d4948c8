"""AC-Attention, the adaptive attention of ACA-CRNet (IEEE TGRS 2024, arXiv 2411.13042).

Dense attention gives every pixel some weight, cloudy ones included. Here each query has a threshold learned
from the data, and keys below it are not let in. `plain_attention.attend_dense` is the definition; `attend` takes
the fastest form of it that the device has.
"""

from __future__ import annotations

import importlib.util
import math
from functools import cache, partial
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloudfix.models.architectures import register
from cloudfix.models.convolution import Conv3x3
from cloudfix.models.native.attention import attend as attend_in_c
from cloudfix.models.native.library import library
from cloudfix.models.plain_attention import FLOOR, attend_by_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    Attend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

Attention = Literal["none", "dense", "attentive"]
"""What a network attends with: nothing, every key by its softmax, or the keys that AC-Attention lets in."""

_NORM_FLOOR = 1e-4


@register("ac-attention")
class AcAttention(nn.Module):
    """AC-Attention with its residual connection and output convolution: (B, C, H, W) in and out.

    It stands alone: any block that holds C-channel features of any height and width can hold it. Scores and
    sums are in float32 whatever the precision around it; products are in that precision where a kernel for it is
    there.

    Args:
        channels: C.
        attention: "attentive", or "dense" for the same without the selection: every key by its softmax, and no
            heads for a threshold.
    """

    def __init__(self, channels: int, attention: Literal["dense", "attentive"] = "attentive") -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.selects = attention == "attentive"
        if self.selects:
            self.weight_head = _head(channels)
            self.bias_head = _head(channels)
        self.output = Conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """The features `x` plus what each position gathered from the positions that it let in."""
        query_map = self.query(x)
        query, value = _tokens(query_map), _tokens(self.value(x))
        heads = [_tokens(head(query_map)) for head in (self.weight_head, self.bias_head)] if self.selects else []
        with torch.autocast(x.device.type, enabled=False):
            key = query / query.norm(dim=2, keepdim=True).clamp_min(_NORM_FLOOR)
            if heads:
                gathered = attend(query, key, value, _threshold(query, key, *heads), query_map.dtype)
            else:
                gathered = attend_to_all(query, key, value, query_map.dtype)
        gathered = gathered.transpose(1, 2).reshape(x.shape).to(x.dtype)
        attended: Tensor = self.output(gathered, slope=0.2, residual=x)
        return attended


def attention_layer(channels: int, attention: Attention) -> nn.Module:
    """What a network of C-channel features attends with; "none" hands the features on."""
    return nn.Identity() if attention == "none" else AcAttention(channels, attention)


def attend(
    query: Tensor, key: Tensor, value: Tensor, threshold: Tensor, products: torch.dtype = torch.float32
) -> Tensor:
    """As `attend_dense`, in memory that is linear in N, forward and backward, by the fastest form that is there.

    The kernels know a query's sum only after its last key, so they give the floor to every key on top of what it has,
    not only to those below it: a channel differs from the definition by at most FLOOR · Σ |value| over the keys let in.

    Args:
        query: (B, N, C) in float32 or float64, and so the others.
        key: (B, N, C), of unit length over C.
        value: (B, N, C).
        threshold: (B, N, 1).
        products: what the products may be rounded to on their way in; sums are in float32.

    Returns:
        (B, N, C).
    """
    kernel = _kernel(query, products)
    if kernel is None:
        return attend_by_blocks(query, key, value, threshold)
    return kernel(query, key, value, threshold) + FLOOR * value.sum(dim=1, keepdim=True)


def attend_to_all(query: Tensor, key: Tensor, value: Tensor, products: torch.dtype = torch.float32) -> Tensor:
    """Dense attention, the softmax over all keys, in memory that is linear in N, forward and backward.

    Args:
        query: (B, N, C), not scaled.
        key: (B, N, C).
        value: (B, N, C).
        products: as in `attend`.

    Returns:
        (B, N, C).
    """
    if query.device.type == "cpu" and (kernel := _kernel(query, products)):
        return kernel(query, key, value, query.new_full((*query.shape[:2], 1), -math.inf))
    # Only with an axis of heads does PyTorch take the forms that never hold the N×N map.
    kind = products if query.dtype == torch.float32 else query.dtype
    heads = [tokens.unsqueeze(1).to(kind) for tokens in (query, key, value)]
    return F.scaled_dot_product_attention(heads[0], heads[1], heads[2], scale=1.0).squeeze(1).to(query.dtype)


def _kernel(query: Tensor, products: torch.dtype) -> Attend | None:
    if query.dtype != torch.float32:
        return None
    if query.device.type == "cpu" and products == torch.bfloat16 and (kernels := library()):
        return partial(attend_in_c, kernels)
    if query.device.type == "cuda" and _has_triton():
        from cloudfix.models.triton_attention import attend as attend_in_triton

        return partial(attend_in_triton, products=products)
    return None


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _threshold(query: Tensor, key: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    # The mean similarity of a query is its product with the mean key: no N×N map is needed for it.
    return query @ key.mean(dim=1, keepdim=True).transpose(1, 2) * weight - bias


def _head(channels: int) -> nn.Sequential:
    hidden = max(channels // 4, 1)
    return nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.LeakyReLU(0.2), nn.Conv2d(hidden, 1, 1))


def _tokens(feature_map: Tensor) -> Tensor:
    """(B, C, H, W) to (B, N, C), in float32 at least."""
    tokens = feature_map.flatten(2).transpose(1, 2)
    return tokens.to(torch.promote_types(tokens.dtype, torch.float32)).contiguous()
