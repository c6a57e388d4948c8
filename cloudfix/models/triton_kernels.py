"""The kernels of triton_attention.py: AC-Attention in one pass over the keys, and its gradients.

Tokens are (batch, positions, channels), contiguous. Similarities s and thresholds t come times √(log₂ e), so that
logits s (s − t) are to base 2. With w the attention, G the gradient of the output and D = Σ w (G · v) over the keys
let in, the logit of such a key has gradient w (G · v − D); its similarity has 2s − t times that, the query's
threshold −s times.
"""

import math

import triton
import triton.language as tl

_LN2 = tl.constexpr(math.log(2))
_NEVER = tl.constexpr(1e38)


@triton.jit
def _load(tokens, rows, positions, channels, width: tl.constexpr):
    """The rows of one sample's tokens, (rows, width), 0 where there are none."""
    columns = tl.arange(0, width)
    there = (rows[:, None] < positions) & (columns[None, :] < channels)
    return tl.load(tokens + rows[:, None] * channels + columns[None, :], mask=there, other=0.0)


@triton.jit
def _store(tokens, rows, positions, channels, values, width: tl.constexpr):
    columns = tl.arange(0, width)
    there = (rows[:, None] < positions) & (columns[None, :] < channels)
    tl.store(tokens + rows[:, None] * channels + columns[None, :], values, mask=there)


@triton.jit
def _score(query, key, threshold, there):
    """Queries against keys: similarities, logits, and which keys are let in. Keys not `there` have logit −∞."""
    similarity = tl.dot(query, tl.trans(key), input_precision="ieee")
    above = similarity - threshold[:, None]
    let_in = (above > 0) & there[None, :]
    absent = tl.where(there, 0.0, float("-inf"))
    return similarity, tl.where(let_in, similarity * above, absent[None, :]), let_in


@triton.jit
def forward(
    query, key, value, threshold, gathered, log_sum, positions, channels,
    width: tl.constexpr, size: tl.constexpr, step: tl.constexpr,
):  # fmt: skip
    """What `size` queries gather from all keys, and the logarithm of their sums."""
    sample = tl.program_id(1) * positions
    key += sample * channels
    value += sample * channels
    rows = tl.program_id(0) * size + tl.arange(0, size)
    own = _load(query + sample * channels, rows, positions, channels, width)
    limit = tl.load(threshold + sample + rows, mask=rows < positions, other=0.0)
    peak = tl.full([size], float("-inf"), tl.float32)
    total = tl.zeros([size], tl.float32)
    sums = tl.zeros([size, width], tl.float32)
    for start in range(0, positions, step):
        others = start + tl.arange(0, step)
        _, logit, let_in = _score(own, _load(key, others, positions, channels, width), limit, others < positions)
        raised = tl.maximum(peak, tl.max(logit, axis=1))
        shrink = tl.exp2(peak - raised)
        weight = tl.exp2(logit - raised[:, None])
        total = total * shrink + tl.sum(weight, axis=1)
        values = _load(value, others, positions, channels, width)
        chosen = tl.where(let_in, weight, 0.0).to(values.dtype)
        sums = sums * shrink[:, None] + tl.dot(chosen, values, input_precision="ieee")
        peak = raised
    _store(gathered + sample * channels, rows, positions, channels, sums / total[:, None], width)
    tl.store(log_sum + sample + rows, peak + tl.log2(total), mask=rows < positions)


@triton.jit
def _differentiate(query, key, value, threshold, grad, log_sum, shared, there):
    """Queries against keys: attention, and the gradient of logits and of similarities."""
    similarity, logit, let_in = _score(query, key, threshold, there)
    weight = tl.where(let_in, tl.exp2(logit - log_sum[:, None]), 0.0)
    slope = weight * (tl.dot(grad, tl.trans(value), input_precision="ieee") - shared[:, None])
    return weight, slope * similarity, slope * (2 * similarity - threshold[:, None])


@triton.jit
def _load_queries(query, grad, threshold, log_sum, shared, sample, rows, positions, channels, width: tl.constexpr):
    """Some queries of one sample, and what `_differentiate` takes of each; those that are not there let nothing in."""
    there = rows < positions
    own = _load(query + sample * channels, rows, positions, channels, width)
    own_grad = _load(grad + sample * channels, rows, positions, channels, width)
    limit = tl.load(threshold + sample + rows, mask=there, other=_NEVER)
    own_log_sum = tl.load(log_sum + sample + rows, mask=there, other=0.0)
    own_shared = tl.load(shared + sample + rows, mask=there, other=0.0)
    return own, own_grad, limit, own_log_sum, own_shared


@triton.jit
def backward_queries(
    query, key, value, threshold, grad, log_sum, shared, grad_query, grad_threshold, positions, channels,
    width: tl.constexpr, size: tl.constexpr, step: tl.constexpr,
):  # fmt: skip
    """The gradients of `size` queries and of their thresholds."""
    sample = tl.program_id(1) * positions
    key += sample * channels
    value += sample * channels
    rows = tl.program_id(0) * size + tl.arange(0, size)
    own, own_grad, limit, own_log_sum, own_shared = _load_queries(
        query, grad, threshold, log_sum, shared, sample, rows, positions, channels, width
    )
    sums = tl.zeros([size, width], tl.float32)
    limit_sums = tl.zeros([size], tl.float32)
    for start in range(0, positions, step):
        others = start + tl.arange(0, step)
        keys = _load(key, others, positions, channels, width)
        values = _load(value, others, positions, channels, width)
        _, weighted, slope = _differentiate(
            own, keys, values, limit, own_grad, own_log_sum, own_shared, others < positions
        )
        sums += tl.dot(slope.to(keys.dtype), keys, input_precision="ieee")
        limit_sums -= tl.sum(weighted, axis=1)
    _store(grad_query + sample * channels, rows, positions, channels, sums * _LN2, width)
    tl.store(grad_threshold + sample + rows, limit_sums * _LN2, mask=rows < positions)


@triton.jit
def backward_keys(
    query, key, value, threshold, grad, log_sum, shared, grad_key, grad_value, positions, channels,
    width: tl.constexpr, size: tl.constexpr, step: tl.constexpr,
):  # fmt: skip
    """The gradients of `size` keys and of their values."""
    sample = tl.program_id(1) * positions
    rows = tl.program_id(0) * size + tl.arange(0, size)
    own = _load(key + sample * channels, rows, positions, channels, width)
    own_value = _load(value + sample * channels, rows, positions, channels, width)
    key_sums = tl.zeros([size, width], tl.float32)
    value_sums = tl.zeros([size, width], tl.float32)
    for start in range(0, positions, step):
        others = start + tl.arange(0, step)
        queries, grads, limit, log_sums, shares = _load_queries(
            query, grad, threshold, log_sum, shared, sample, others, positions, channels, width
        )
        weight, _, slope = _differentiate(queries, own, own_value, limit, grads, log_sums, shares, rows < positions)
        key_sums += tl.dot(tl.trans(slope.to(queries.dtype)), queries, input_precision="ieee")
        value_sums += tl.dot(tl.trans(weight.to(grads.dtype)), grads, input_precision="ieee")
    _store(grad_key + sample * channels, rows, positions, channels, key_sums * _LN2, width)
    _store(grad_value + sample * channels, rows, positions, channels, value_sums, width)
