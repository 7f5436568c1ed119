// Matmuls of a few vectors with large matrices.

#pragma once

#include <vector>

#include "integers.h"
#include "model.h"

constexpr int64_t OUTPUTS = 2 * LANES;  // of a tile of weights: two registers hold their sums
constexpr int64_t VECTORS = 8;          // that share one reading of a tile

// What is multiplied: the vector x after what comes before.
static Vector quantise(const Matrix& matrix, const float* x, int8_t* integers) {
    static thread_local std::vector<float> room;
    const Before before = matrix.before;
    const int64_t n = before == SWIGLU ? matrix.width / 2 : matrix.width;
    room.resize(n);
    float* const changed = room.data();
    float mean = 0, squares = 0;
    if (before == SWIGLU) {
        for (int64_t i = 0; i < n; i++) changed[i] = x[i] * sigmoid(x[i]) * x[n + i];
    } else if (before == GELU) {
        for (int64_t i = 0; i < n; i++)  // tanh(y) = 2 sigmoid(2 y) - 1
            changed[i] = x[i] * sigmoid(1.59576912f * (x[i] + 0.044715f * x[i] * x[i] * x[i]));
    } else {
        if (before == LAYER_NORM) {
#pragma omp simd reduction(+ : mean)
            for (int64_t i = 0; i < n; i++) mean += x[i];
            mean /= n;
        }
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < n; i++) {
            changed[i] = x[i] - mean;
            squares += changed[i] * changed[i];
        }
    }
    Vector vector = to_integers(changed, n, integers);
    std::fill(integers + n, integers + matrix.n_in, 0);
    if (before == RMS_NORM) vector.scale /= std::sqrt(squares + n * EPSILON);  // the weights have the factor sqrt(n)
    if (before == LAYER_NORM) vector.scale /= std::sqrt(squares / n + EPSILON);
    return vector;
}

// N vectors times one tile of weights.
template <int64_t N>
static void matmul_tile(const uint8_t* tile, const float* scales, const float* bias, const int8_t* integers,
                          const Vector* vectors, int64_t n_in, float* y, int64_t n_out, uint32_t used, bool add) {
    __m512i sums[N][2] = {};
    for (int64_t i = 0; i < n_in; i += INPUTS) {
        const uint8_t* const weights = tile + i * OUTPUTS;
        const __m512i first = _mm512_loadu_si512(weights), second = _mm512_loadu_si512(weights + 64);
        for (int64_t line = 0; line < 128; line += 64)  // of the next tile
            prefetch(weights + n_in * OUTPUTS + line);
#pragma GCC unroll 8
        for (int64_t v = 0; v < N; v++) {
            const __m512i four = four_of(integers + v * n_in + i);
            add_products(sums[v][0], first, four);
            add_products(sums[v][1], second, four);
        }
    }
#pragma GCC unroll 8
    for (int64_t v = 0; v < N; v++)
#pragma GCC unroll 2
        for (int64_t half = 0; half < 2; half++) {
            const int64_t at = half * LANES;
            const __mmask16 kept = used >> at;
            const __m512i exact = _mm512_sub_epi32(sums[v][half], _mm512_set1_epi32(128 * vectors[v].sum));
            const __m512 factor = _mm512_mul_ps(_mm512_loadu_ps(scales + at), _mm512_set1_ps(vectors[v].scale));
            __m512 product = _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), factor, _mm512_loadu_ps(bias + at));
            if (add) product = _mm512_add_ps(product, _mm512_maskz_loadu_ps(kept, y + v * n_out + at));
            _mm512_mask_storeu_ps(y + v * n_out + at, kept, product);
        }
}

// Vectors (n, n_in) on their way into a matmul.
struct Rounded {
    std::vector<int8_t> integers;
    std::vector<Vector> vectors;

    void resize(int64_t n, int64_t n_in) {
        integers.resize(n * n_in);
        vectors.resize(n);
    }
};

// y (n, n_out) = or += what comes before of x (n, width), times the matrix, plus bias.
static void matmul(const Matrix& matrix, const float* x, float* y, int64_t n, bool add, Rounded& shared) {
    static thread_local Rounded own;
    const int64_t n_in = matrix.n_in, n_out = matrix.n_out;
    Rounded& rounded = n == 1 ? own : shared;
    if (n == 1) {  // every thread rounds it: waiting for one that does would take longer
        own.resize(n, n_in);
        own.vectors[0] = quantise(matrix, x, own.integers.data());
    } else {
#pragma omp for
        for (int64_t v = 0; v < n; v++)
            rounded.vectors[v] = quantise(matrix, x + v * matrix.width, &rounded.integers[v * n_in]);
    }
#pragma omp for
    for (int64_t out = 0; out < n_out; out += OUTPUTS) {
        const uint32_t used = uint32_t((uint64_t(1) << std::min(OUTPUTS, n_out - out)) - 1);
        int64_t v = 0;
        const auto next = [&](auto matmul_vectors, int64_t n_vectors) {
            for (; v + n_vectors <= n; v += n_vectors)
                matmul_vectors(matrix.weights + out * n_in, matrix.scales + out, matrix.bias + out,
                                 &rounded.integers[v * n_in], &rounded.vectors[v], n_in, y + v * n_out + out, n_out,
                                 used, add);
        };
        next(matmul_tile<VECTORS>, VECTORS);
        next(matmul_tile<4>, 4);
        next(matmul_tile<2>, 2);
        next(matmul_tile<1>, 1);
    }
}
