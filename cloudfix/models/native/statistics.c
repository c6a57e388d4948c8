/* Mean and standard deviation of every channel, in two passes over bfloat16 and no copy. */

#include "simd.h"

/* Σ (x − centre)ᵖ by channel, p being 1 or 2; rows are summed by themselves first, or float32 would not do. */
static void sum_powers(const bf16 *input, int rows, int columns, int channels, int at, __m512 centre, int power,
                       __m512 *sum) {
    __mmask16 there = lanes(channels - at);
    *sum = all(0);
    for (int row = 0; row < rows; row++) {
        __m512 sums[2] = {all(0), all(0)};
        for (int column = 0; column < columns; column++) {
            __m512 x = load_bf16(input + ((ptrdiff_t)row * columns + column) * channels + at, there) - centre;
            if (power == 2) x = x * x;
            sums[column & 1] += x;
        }
        *sum += sums[0] + sums[1];
    }
}

/* input: (rows, columns, channels); mean, deviation (unbiased): (channels). Returns 0. */
int cloudfix_describe(const bf16 *input, int rows, int columns, int channels, float *mean, float *deviation) {
    float count = (float)rows * (float)columns;
    for (int at = 0; at < channels; at += LANES) {
        __m512 sum, squares;
        sum_powers(input, rows, columns, channels, at, all(0), 1, &sum);
        sum_powers(input, rows, columns, channels, at, sum / count, 2, &squares);
        _mm512_mask_storeu_ps(mean + at, lanes(channels - at), sum / count);
        _mm512_mask_storeu_ps(deviation + at, lanes(channels - at), _mm512_sqrt_ps(squares / (count - 1)));
    }
    return 0;
}
