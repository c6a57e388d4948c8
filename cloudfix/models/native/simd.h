/* What the kernels share: bfloat16 in and out of registers, exp, and the tile of a matrix product.

   AVX-512 with its bfloat16 extension multiplies pairs: a lane of 32 bits holds two neighbours along the axis that is
   summed. So the left operand is read two columns at a time, and the right one is packed as (pair, column, 2). */

#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef uint16_t bf16;

#define LANES 16
#define ROWS 6 /* 6 × 4 sums, 4 columns and a broadcast fill 29 of the 32 registers */
#define WIDEST 4
#define WIDE (WIDEST * LANES)
#define ALL_LANES 0xffff

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

INLINE int smaller(int a, int b) { return a < b ? a : b; }

INLINE int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

INLINE __m512 all(float value) { return _mm512_set1_ps(value); }

/* The lanes that hold some of `left` values. */
INLINE __mmask16 lanes(int left) { return left >= LANES ? 0xffff : left <= 0 ? 0 : (__mmask16)((1u << left) - 1); }

INLINE __m512 widen(__m256i half) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16)); }

INLINE __m512 load_bf16(const bf16 *from, __mmask16 mask) { return widen(_mm256_maskz_loadu_epi16(mask, from)); }

INLINE void store_bf16(bf16 *to, __mmask16 mask, __m512 value) {
    _mm256_mask_storeu_epi16(to, mask, (__m256i)_mm512_cvtneps_pbh(value));
}

/* exp of what is not above 0, within 1e-6; what would be denormal becomes the least normal number. */
INLINE __m512 exp_negative(__m512 x) {
    __m512 power = _mm512_max_ps(_mm512_mul_ps(x, all(1.44269504f)), all(-126.0f));
    __m512 whole = _mm512_roundscale_ps(power, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 part = _mm512_sub_ps(power, whole);
    __m512 sum = all(1.33335581e-3f); /* ln(2)ⁿ / n! */
    sum = _mm512_fmadd_ps(sum, part, all(9.61812911e-3f));
    sum = _mm512_fmadd_ps(sum, part, all(5.55041087e-2f));
    sum = _mm512_fmadd_ps(sum, part, all(2.40226507e-1f));
    sum = _mm512_fmadd_ps(sum, part, all(6.93147181e-1f));
    sum = _mm512_fmadd_ps(sum, part, all(1.0f));
    return _mm512_scalef_ps(sum, whole);
}

/* sums (6 × 16·vectors) += left (6 × 2·pairs) · right (pairs × 16·vectors × 2).

   Fetches one line of 64 bytes for each pair from `next` on, with the right operand's stride: what the next product will
   read, so that it need not wait for it. Any address will do. */
INLINE void multiply(const bf16 *left, ptrdiff_t left_stride, const bf16 *right, ptrdiff_t right_stride, int pairs,
                     const bf16 *next, __m512 sums[ROWS][WIDEST], const int vectors) {
    for (int pair = 0; pair < pairs; pair++) {
        __m512bh columns[WIDEST];
        UNROLL for (int v = 0; v < vectors; v++)
            columns[v] = (__m512bh)_mm512_loadu_si512(right + pair * right_stride + 2 * LANES * v);
        _mm_prefetch((const char *)(next + pair * right_stride), _MM_HINT_T1);
        UNROLL for (int row = 0; row < ROWS; row++) {
            __m512bh both = (__m512bh)_mm512_set1_epi32(*(const int32_t *)(left + row * left_stride + 2 * pair));
            UNROLL for (int v = 0; v < vectors; v++) sums[row][v] = _mm512_dpbf16_ps(sums[row][v], both, columns[v]);
        }
    }
}

INLINE void multiply_block(const bf16 *left, ptrdiff_t left_stride, const bf16 *right, int pairs, const bf16 *next,
                           float *result, ptrdiff_t result_stride, int add, const int vectors) {
    __m512 sums[ROWS][WIDEST];
    UNROLL for (int row = 0; row < ROWS; row++) UNROLL for (int v = 0; v < vectors; v++)
        sums[row][v] = add ? _mm512_loadu_ps(result + row * result_stride + LANES * v) : _mm512_setzero_ps();
    multiply(left, left_stride, right, 2 * LANES * vectors, pairs, next, sums, vectors);
    UNROLL for (int row = 0; row < ROWS; row++) UNROLL for (int v = 0; v < vectors; v++)
        _mm512_storeu_ps(result + row * result_stride + LANES * v, sums[row][v]);
}

/* result (6 × columns) = left (6 × 2·pairs) · right, or += where `add`; columns divide by 16. The right operand is
   packed in blocks of up to 64 columns, each (pairs, columns of the block, 2), and another one lies behind it: `line`, 0…3,
   says which quarter of that is fetched ahead. */
static inline void multiply_rows(const bf16 *left, ptrdiff_t left_stride, const bf16 *right, int pairs, int line,
                                 float *result, ptrdiff_t result_stride, int columns, int add) {
    for (int column = 0; column < columns; column += WIDE) {
        const bf16 *block = right + (ptrdiff_t)column * 2 * pairs;
        const bf16 *next = block + (ptrdiff_t)columns * 2 * pairs + line * 2 * LANES;
        float *to = result + column;
        switch (smaller(columns - column, WIDE) / LANES) {
        case 4: multiply_block(left, left_stride, block, pairs, next, to, result_stride, add, 4); break;
        case 3: multiply_block(left, left_stride, block, pairs, next, to, result_stride, add, 3); break;
        case 2: multiply_block(left, left_stride, block, pairs, next, to, result_stride, add, 2); break;
        default: multiply_block(left, left_stride, block, pairs, next, to, result_stride, add, 1);
        }
    }
}
