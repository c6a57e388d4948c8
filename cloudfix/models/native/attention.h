/* What the forward and the backward pass of AC-Attention share. */

#pragma once

#include <math.h>

#include "simd.h"

#define KEYS WIDE
#define QUERIES 96 /* so many share a block of keys while it is in the cache */
#define NONE (-INFINITY)

typedef struct {
    __m512 logit;
    __mmask16 let_in;
} Choice;

/* Keys above the threshold are let in, the others have logit 0. Where the threshold is NONE, attention is dense: every key
   is let in, and its similarity is its logit. */
INLINE Choice choose(__m512 similarity, float threshold) {
    if (threshold == NONE) return (Choice){similarity, ALL_LANES};
    __m512 above = _mm512_sub_ps(similarity, all(threshold));
    __mmask16 let_in = _mm512_cmp_ps_mask(above, all(0), _CMP_GT_OQ);
    return (Choice){_mm512_maskz_mul_ps(let_in, similarity, above), let_in};
}
