/* The gradients of AC-Attention, its weights computed anew from what `cloudfix_attend` left.

   With a the attention, G the gradient of the output and D = Σ a (G · v) over the keys let in: the logit of such a key has
   gradient a (G · v − D). As logit = s (s − t), the similarity s has 2s − t times that, and the threshold t has −s times. */

#include <stdlib.h>

#include "attention.h"

typedef struct {
    const bf16 *query, *query_channels, *key, *key_rows, *value, *grad, *grad_channels;
    const float *threshold, *log_sum, *shared;
    float *grad_query, *grad_key, *grad_value, *grad_threshold;
    int positions, channels;
} Sample;

/* Queries against 64 keys: the gradient of the similarities; that and the attention in pairs of queries. */
typedef struct {
    bf16 slope[QUERIES * KEYS], slope_pairs[QUERIES * KEYS], attention_pairs[QUERIES * KEYS];
} Block;

/* One query and 64 keys: their attention, and the gradient of their similarities. */
INLINE void differentiate(const __m512 similarity[WIDEST], const __m512 grad_attention[WIDEST], const Sample *sample,
                          int query, bf16 *attention, bf16 *slope) {
    float threshold = sample->threshold[query];
    __m512 grad_threshold = all(0);
    UNROLL for (int v = 0; v < WIDEST; v++) {
        __m512 s = similarity[v];
        Choice choice = choose(s, threshold);
        __m512 weight = exp_negative(_mm512_sub_ps(choice.logit, all(sample->log_sum[query])));
        weight = _mm512_maskz_mov_ps(choice.let_in, weight);
        __m512 grad = _mm512_mul_ps(weight, _mm512_sub_ps(grad_attention[v], all(sample->shared[query])));
        grad_threshold = _mm512_fnmadd_ps(grad, s, grad_threshold);
        if (threshold != NONE) grad = _mm512_maskz_mul_ps(choice.let_in, grad, _mm512_sub_ps(s + s, all(threshold)));
        store_bf16(attention + LANES * v, ALL_LANES, weight);
        store_bf16(slope + LANES * v, ALL_LANES, grad);
    }
    sample->grad_threshold[query] += _mm512_reduce_add_ps(grad_threshold);
}

/* Two rows of 64 as the right operand of a product over rows. */
INLINE void pair_up(const bf16 *rows, bf16 *pairs) {
    UNROLL for (int v = 0; v < WIDEST; v++) {
        __m512i even = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(rows + LANES * v)));
        __m512i odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(rows + KEYS + LANES * v)));
        _mm512_storeu_si512(pairs + 2 * LANES * v, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
    }
}

static void differentiate_block(const Sample *sample, ptrdiff_t first, ptrdiff_t at, Block *block) {
    bf16 attention[ROWS * KEYS] __attribute__((aligned(64)));
    ptrdiff_t channels = sample->channels;
    for (int row = 0; row < QUERIES; row += ROWS) {
        const bf16 *query = sample->query + (first + row) * channels, *grad = sample->grad + (first + row) * channels;
        bf16 *slope = block->slope + row * KEYS;
        __m512 similarity[ROWS][WIDEST] = {{all(0)}}, grad_attention[ROWS][WIDEST] = {{all(0)}};
        multiply(query, channels, sample->key + at * channels, 2 * KEYS, channels / 2, query, similarity, WIDEST);
        multiply(grad, channels, sample->value + at * channels, 2 * KEYS, channels / 2, grad, grad_attention, WIDEST);
        UNROLL for (int i = 0; i < ROWS; i++)
            differentiate(similarity[i], grad_attention[i], sample, first + row + i, attention + i * KEYS,
                          slope + i * KEYS);
        for (int i = 0; i < ROWS; i += 2) {
            pair_up(attention + i * KEYS, block->attention_pairs + (row + i) * KEYS);
            pair_up(slope + i * KEYS, block->slope_pairs + (row + i) * KEYS);
        }
    }
}

/* What one block adds to the gradients of its queries, and of its keys and values (those by channel, 64 keys a row). */
static void collect(const Sample *sample, ptrdiff_t first, ptrdiff_t at, const Block *block) {
    int channels = sample->channels, rows = round_up(sample->positions, QUERIES);
    for (int row = 0; row < QUERIES; row += ROWS)
        multiply_rows(block->slope + row * KEYS, KEYS, sample->key_rows + at * channels, KEYS / 2, 0,
                      sample->grad_query + (first + row) * channels, channels, channels, 1);
    ptrdiff_t result = at * round_up(channels, ROWS);
    for (int c = 0; c < channels; c += ROWS) {
        ptrdiff_t operand = (ptrdiff_t)c * rows + first;
        multiply_rows(sample->query_channels + operand, rows, block->slope_pairs, QUERIES / 2, 0,
                      sample->grad_key + result + c * KEYS, KEYS, KEYS, 1);
        multiply_rows(sample->grad_channels + operand, rows, block->attention_pairs, QUERIES / 2, 0,
                      sample->grad_value + result + c * KEYS, KEYS, KEYS, 1);
    }
}

/* Adds to the gradients what the keys first…last of one sample (`first` a multiple of 64) have to do with them.

   query, grad (of the output): (rows, channels), and by channel (channels rounded up to 6, rows), `rows` being positions
   rounded up to 96; key, value: by blocks of 64, each (channels / 2, 64, 2); key_rows: by blocks of 64, each packed for
   `multiply_rows`; threshold, log_sum, shared (D): (rows), threshold +∞ from `positions` on.
   grad_query: (rows, channels); grad_threshold: (rows); grad_key, grad_value: by blocks of 64 keys, each (channels rounded
   up to 6, 64). Returns 0, or 1 where memory is short. */
int cloudfix_attend_gradients(const Sample *sample, int first, int last) {
    Block *block = aligned_alloc(64, sizeof(Block));
    if (!block) return 1;
    for (int at = first; at < last; at += KEYS)
        for (int query = 0; query < sample->positions; query += QUERIES) {
            differentiate_block(sample, query, at, block);
            collect(sample, query, at, block);
        }
    free(block);
    return 0;
}
