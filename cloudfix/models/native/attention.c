/* AC-Attention in one pass over the keys; `attend_dense` in ac_attention.py is the definition.

   Works in tiles of 6 queries and 64 keys, whose similarities never leave the registers or the first cache. */

#include <stdlib.h>
#include <string.h>

#include "attention.h"

/* For some queries: the largest logit so far, the sum of exp(logit − peak) over all keys, and the same times the values
   of the keys let in. */
typedef struct {
    int channels;
    float *peak, *sum, *gathered;
} State;

static void raise_peak(State state, int query, float peak) {
    float factor = expf(state.peak[query] - peak);
    float *gathered = state.gathered + (ptrdiff_t)query * state.channels;
    state.peak[query] = peak;
    state.sum[query] *= factor;
    for (int c = 0; c < state.channels; c += LANES)
        _mm512_storeu_ps(gathered + c, _mm512_mul_ps(_mm512_loadu_ps(gathered + c), all(factor)));
}

/* exp(logit − peak) of one query and the keys that it lets in, to `weights`; the other keys enter the sum alone. */
INLINE void weigh(const __m512 similarity[WIDEST], float threshold, int keys, State state, int query, bf16 *weights) {
    Choice choice[WIDEST];
    __m512 largest = all(-INFINITY), sum = _mm512_setzero_ps();
    UNROLL for (int v = 0; v < WIDEST; v++) {
        choice[v] = choose(similarity[v], threshold);
        largest = _mm512_mask_max_ps(largest, lanes(keys - LANES * v), largest, choice[v].logit);
    }
    if (_mm512_cmp_ps_mask(largest, all(state.peak[query]), _CMP_GT_OQ))
        raise_peak(state, query, _mm512_reduce_max_ps(largest));
    UNROLL for (int v = 0; v < WIDEST; v++) {
        __mmask16 there = lanes(keys - LANES * v);
        __m512 weight = exp_negative(_mm512_sub_ps(choice[v].logit, all(state.peak[query])));
        sum = _mm512_mask_add_ps(sum, there, sum, weight);
        store_bf16(weights + LANES * v, ALL_LANES, _mm512_maskz_mov_ps(choice[v].let_in & there, weight));
    }
    state.sum[query] += _mm512_reduce_add_ps(sum);
}

/* Adds up to 64 keys to the state of `queries` queries. */
static void attend_to_block(const bf16 *query, const bf16 *key, const bf16 *value, const float *threshold, int queries,
                            int keys, State state) {
    bf16 weights[ROWS * KEYS] __attribute__((aligned(64)));
    for (int first = 0; first < queries; first += ROWS) {
        __m512 similarity[ROWS][WIDEST] = {{all(0)}};
        int line = first / ROWS % WIDEST;
        multiply(query + (ptrdiff_t)first * state.channels, state.channels, key, 2 * KEYS, state.channels / 2,
                 key + KEYS * state.channels + line * 2 * LANES, similarity, WIDEST);
        UNROLL for (int row = 0; row < ROWS; row++)
            weigh(similarity[row], threshold[first + row], keys, state, first + row, weights + row * KEYS);
        multiply_rows(weights, KEYS, value, KEYS / 2, line, state.gathered + (ptrdiff_t)first * state.channels,
                      state.channels, state.channels, 1);
    }
}

/* Queries first…last of one sample, `first` a multiple of 96.

   query: (rows, channels) and threshold: (rows), `rows` being positions rounded up to 96; key: by blocks of 64 keys,
   each (channels / 2, 64, 2); value: by blocks of 64 keys, each packed for `multiply_rows`. Channels divide by 16.
   gathered: (rows, channels); log_sum: (rows), the logarithm of each query's sum over all keys.
   Returns 0, or 1 where memory is short. */
int cloudfix_attend(const bf16 *query, const bf16 *key, const bf16 *value, const float *threshold, float *gathered,
                    float *log_sum, int positions, int channels, int first, int last) {
    float *memory = aligned_alloc(64, sizeof(float) * QUERIES * (channels + LANES));
    if (!memory) return 1;
    for (; first < last; first += QUERIES) {
        State state = {channels, memory, memory + QUERIES, gathered + (ptrdiff_t)first * channels};
        for (int i = 0; i < QUERIES; i++) state.peak[i] = -INFINITY;
        memset(state.sum, 0, sizeof(float) * QUERIES);
        memset(state.gathered, 0, sizeof(float) * QUERIES * channels);
        int queries = round_up(smaller(last - first, QUERIES), ROWS);
        for (int at = 0; at < positions; at += KEYS)
            attend_to_block(query + (ptrdiff_t)first * channels, key + (ptrdiff_t)at * channels,
                            value + (ptrdiff_t)at * channels, threshold + first, queries, positions - at, state);
        for (int i = 0; i < queries; i++) {
            log_sum[first + i] = state.peak[i] + logf(state.sum[i]);
            for (int c = 0; c < channels; c++) state.gathered[(ptrdiff_t)i * channels + c] /= state.sum[i];
        }
    }
    free(memory);
    return 0;
}
