/* Convolution 3×3, stride 1, padding 1, by Winograd's F(4×4, 3×3): 36 products for 16 outputs instead of 144.

   The points 0, ±3/4, ±3/2, ∞ lose half as much to bfloat16 as the usual 0, ±1, ±2, ∞: 1.1 % of the output's deviation.
   Sums and transforms are in float32. */

#include <stdlib.h>
#include <string.h>

#include "simd.h"

#define SIDE 4
#define WINDOW 6
#define POINTS 36
#define TILES 36 /* their transformed inputs, 36 · 36 · channels, stay in the second cache */
#define NEAR 0.75f
#define FAR 1.5f

typedef struct {
    const bf16 *input, *weight, *residual;
    const float *bias;
    bf16 *output;
    int height, width, in_channels, out_channels;
    float slope, scale;
} Convolution;

INLINE void transform_input(const __m512 *from, __m512 *to, const int stride) {
    __m512 d0 = from[0], d1 = from[stride], d2 = from[2 * stride], d3 = from[3 * stride], d4 = from[4 * stride];
    __m512 d5 = from[5 * stride], near = all(NEAR * NEAR), far = all(FAR * FAR);
    __m512 even = d4 - far * d2, odd = all(NEAR) * (d3 - far * d1);
    to[0] = d4 - (near + far) * d2 + near * far * d0;
    to[stride] = even + odd;
    to[2 * stride] = even - odd;
    even = d4 - near * d2, odd = all(FAR) * (d3 - near * d1);
    to[3 * stride] = even + odd;
    to[4 * stride] = even - odd;
    to[5 * stride] = d5 - (near + far) * d3 + near * far * d1;
}

INLINE void transform_output(const __m512 *from, __m512 *to, const int stride) {
    __m512 near = from[stride] + from[2 * stride], near_odd = from[stride] - from[2 * stride];
    __m512 far = from[3 * stride] + from[4 * stride], far_odd = from[3 * stride] - from[4 * stride];
    to[0] = from[0] + near + far;
    to[stride] = all(NEAR) * near_odd + all(FAR) * far_odd;
    to[2 * stride] = all(NEAR * NEAR) * near + all(FAR * FAR) * far;
    to[3 * stride] = all(NEAR * NEAR * NEAR) * near_odd + all(FAR * FAR * FAR) * far_odd + from[5 * stride];
}

/* The 6×6 window of the tile at (row, column), transformed: one row of each of the 36 left operands. */
static void read_tile(const Convolution *c, int row, int column, ptrdiff_t stride, bf16 *to) {
    const bf16 *from[POINTS];
    __mmask16 inside[POINTS];
    for (int i = 0; i < POINTS; i++) {
        int y = row + i / WINDOW - 1, x = column + i % WINDOW - 1;
        inside[i] = y >= 0 && y < c->height && x >= 0 && x < c->width ? ALL_LANES : 0;
        from[i] = inside[i] ? c->input + ((ptrdiff_t)y * c->width + x) * c->in_channels : c->input;
    }
    for (int at = 0; at < c->in_channels; at += LANES) {
        __m512 window[POINTS], half[POINTS];
        __mmask16 there = lanes(c->in_channels - at);
        UNROLL for (int x = 0; x < WINDOW; x++) {
            for (int i = x; i < POINTS; i += WINDOW) window[i] = load_bf16(from[i] + at, inside[i] & there);
            transform_input(window + x, half + x, WINDOW);
        }
        UNROLL for (int y = 0; y < WINDOW; y++) {
            transform_input(half + WINDOW * y, window + WINDOW * y, 1);
            for (int i = WINDOW * y; i < WINDOW * y + WINDOW; i++) store_bf16(to + i * stride + at, ALL_LANES, window[i]);
        }
    }
}

/* 16 channels from `at` on of the tile's 4×4 outputs: back-transformed, plus bias, through the leaky ReLU, scaled and
   added to the residual. */
static void write_tile(const Convolution *c, int row, int column, const float *products, ptrdiff_t stride, int at) {
    __m512 values[POINTS], half[SIDE * WINDOW];
    __mmask16 there = lanes(c->out_channels - at);
    __m512 bias = c->bias ? _mm512_maskz_loadu_ps(there, c->bias + at) : all(0);
    for (int i = 0; i < POINTS; i++) values[i] = _mm512_loadu_ps(products + i * stride);
    UNROLL for (int x = 0; x < WINDOW; x++) transform_output(values + x, half + x, WINDOW);
    UNROLL for (int y = 0; y < SIDE; y++) transform_output(half + WINDOW * y, values + SIDE * y, 1);
    for (int y = 0; y < SIDE && row + y < c->height; y++)
        for (int x = 0; x < SIDE && column + x < c->width; x++) {
            ptrdiff_t to = ((ptrdiff_t)(row + y) * c->width + column + x) * c->out_channels + at;
            __m512 value = values[SIDE * y + x] + bias;
            value = _mm512_max_ps(value, all(c->slope) * value) * all(c->scale);
            if (c->residual) value += load_bf16(c->residual + to, there);
            store_bf16(c->output + to, there, value);
        }
}

/* The products of `tiles` tiles with one block of the weight, (36, in, columns), at each point. */
static void multiply_points(const bf16 *inputs, const bf16 *weight, int tiles, int in, int columns, float *products) {
    for (int point = 0; point < POINTS; point++, weight += in * columns)
        for (int row = 0; row < tiles; row += ROWS)
            multiply_rows(inputs + (point * TILES + row) * in, in, weight, in / 2, row / ROWS % WIDEST,
                          products + (point * TILES + row) * WIDE, WIDE, columns, 0);
}

/* Tiles first…last of one sample, at most TILES. */
static void convolve_tiles(const Convolution *c, int first, int last, bf16 *inputs, float *products) {
    int columns = round_up(c->width, SIDE) / SIDE, in = round_up(c->in_channels, LANES);
    int out = round_up(c->out_channels, LANES);
    for (int tile = first; tile < last; tile++)
        read_tile(c, tile / columns * SIDE, tile % columns * SIDE, TILES * in, inputs + (tile - first) * in);
    for (int block = 0; block < out; block += WIDE) {
        int width = smaller(out - block, WIDE);
        multiply_points(inputs, c->weight + (ptrdiff_t)POINTS * in * block, last - first, in, width, products);
        for (int tile = first; tile < last; tile++)
            for (int at = 0; at < width; at += LANES)
                write_tile(c, tile / columns * SIDE, tile % columns * SIDE, products + (tile - first) * WIDE + at,
                           TILES * WIDE, block + at);
    }
}

/* Rows first…last of the tiles of one sample: output = residual + scale · leaky ReLU(input ∗ weight + bias).

   input, residual, output: (height, width, channels); residual and bias may be NULL; slope is at most 1. weight: by blocks of
   64 output channels, for each of the 36 points a matrix from input channels to these, packed for `multiply_rows`; channels
   are rounded up to 16.
   Returns 0, or 1 where memory is short. */
int cloudfix_convolve(const Convolution *c, int first, int last) {
    int columns = round_up(c->width, SIDE) / SIDE;
    size_t inputs = sizeof(bf16) * POINTS * TILES * round_up(c->in_channels, LANES);
    size_t products = sizeof(float) * POINTS * TILES * WIDE;
    char *memory = aligned_alloc(64, inputs + products);
    if (!memory) return 1;
    memset(memory, 0, inputs);
    for (int tile = first * columns; tile < last * columns; tile += TILES)
        convolve_tiles(c, tile, smaller(tile + TILES, last * columns), (bf16 *)memory, (float *)(memory + inputs));
    free(memory);
    return 0;
}
