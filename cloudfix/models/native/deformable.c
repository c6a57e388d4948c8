/* The deformable 3×3 convolution of SCPM, `deformable.DeformableConv` in one pass: no tap is ever written to memory. */

#include <math.h>
#include <stdlib.h>

#include "simd.h"

#define TAPS 9

typedef struct {
    const float *input, *offset, *weight;
    float *output;
    int height, width, in_channels, out_channels;
} Deformable;

/* Along one axis, for each tap: the two samples that it falls between, and their weights. */
typedef struct {
    int32_t low[LANES], high[LANES];
    float low_weight[LANES], high_weight[LANES];
} Corners;

/* See `_corners` in deformable.py: the border sample counts twice beyond the first and from the last one on. */
INLINE void find_corners(__m512 position, int size, Corners *corners) {
    __m512 low = _mm512_floor_ps(position), last = all((float)(size - 1));
    __m512 part = position - low;
    __mmask16 outside = _mm512_cmp_ps_mask(position, all(0), _CMP_LT_OQ) | _mm512_cmp_ps_mask(position, last, _CMP_GE_OQ);
    __m512 high = _mm512_min_ps(_mm512_max_ps(low + 1, all(0)), last);
    low = _mm512_min_ps(_mm512_max_ps(low, all(0)), last);
    _mm512_storeu_si512(corners->low, _mm512_cvtps_epi32(low));
    _mm512_storeu_si512(corners->high, _mm512_cvtps_epi32(high));
    _mm512_storeu_ps(corners->low_weight, _mm512_mask_mov_ps(1 - part, outside, all(1)));
    _mm512_storeu_ps(corners->high_weight, _mm512_mask_mov_ps(part, outside, all(1)));
}

/* All taps of one pixel, (9, channels) to `taps`. */
static void sample(const Deformable *d, int row, int column, float *taps) {
    const __m512 down = _mm512_setr_ps(0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0);
    const __m512 right = _mm512_setr_ps(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0);
    const float *offset = d->offset + ((ptrdiff_t)row * d->width + column) * 2 * TAPS;
    Corners rows, columns;
    find_corners(all((float)row) + down + _mm512_maskz_loadu_ps(lanes(TAPS), offset), d->height, &rows);
    find_corners(all((float)column) + right + _mm512_maskz_loadu_ps(lanes(TAPS), offset + TAPS), d->width, &columns);
    for (int tap = 0; tap < TAPS; tap++) {
        const float *top = d->input + (ptrdiff_t)rows.low[tap] * d->width * d->in_channels;
        const float *bottom = d->input + (ptrdiff_t)rows.high[tap] * d->width * d->in_channels;
        ptrdiff_t left = (ptrdiff_t)columns.low[tap] * d->in_channels, next = (ptrdiff_t)columns.high[tap] * d->in_channels;
        __m512 upper = all(rows.low_weight[tap]), lower = all(rows.high_weight[tap]);
        __m512 before = all(columns.low_weight[tap]), after = all(columns.high_weight[tap]);
        for (int c = 0; c < d->in_channels; c += LANES) {
            __mmask16 there = lanes(d->in_channels - c);
            __m512 above = before * _mm512_maskz_loadu_ps(there, top + left + c) + after * _mm512_maskz_loadu_ps(there, top + next + c);
            __m512 below = before * _mm512_maskz_loadu_ps(there, bottom + left + c) + after * _mm512_maskz_loadu_ps(there, bottom + next + c);
            _mm512_mask_storeu_ps(taps + tap * d->in_channels + c, there, upper * above + lower * below);
        }
    }
}

/* 16 channels of the product of `terms` numbers with a matrix. */
INLINE __m512 multiply_terms(const float *numbers, const float *matrix, int terms, int stride) {
    __m512 sums[4] = {all(0), all(0), all(0), all(0)};
    int term = 0;
    for (; term + 4 <= terms; term += 4)
        UNROLL for (int i = 0; i < 4; i++) sums[i] += all(numbers[term + i]) * _mm512_loadu_ps(matrix + (term + i) * stride);
    for (; term < terms; term++) sums[0] += all(numbers[term]) * _mm512_loadu_ps(matrix + term * stride);
    return sums[0] + sums[1] + (sums[2] + sums[3]);
}

/* Rows first…last of one sample. input, output: (height, width, channels); offset: (height, width, 18), rows then columns;
   weight: (9 · in_channels, out_channels rounded up to 16). Returns 0, or 1 where memory is short. */
int cloudfix_deform(const Deformable *d, int first, int last) {
    int terms = TAPS * d->in_channels, stride = round_up(d->out_channels, LANES);
    float *taps = malloc(sizeof(float) * terms);
    if (!taps) return 1;
    for (int row = first; row < last; row++)
        for (int column = 0; column < d->width; column++) {
            sample(d, row, column, taps);
            float *to = d->output + ((ptrdiff_t)row * d->width + column) * d->out_channels;
            for (int out = 0; out < d->out_channels; out += LANES)
                _mm512_mask_storeu_ps(to + out, lanes(d->out_channels - out),
                                      multiply_terms(taps, d->weight + out, terms, stride));
        }
    free(taps);
    return 0;
}
