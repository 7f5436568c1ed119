// Matmuls of a few vectors with large matrices.

#pragma once

#include <vector>

#include "integers.h"
#include "model.h"
#include "threads.h"

constexpr int64_t OUTPUTS = 2 * LANES;  // of a tile of weights

// A function that does not become part of what calls it: g++ 12 would keep the sums in memory.
#define APART __attribute__((noinline))

// What is multiplied: the vector x after what comes before.
static Vector quantise(const Matrix& matrix, const float* x, Input* integers) {
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
        if (before == LAYER_NORM) mean = sum_of(n, [&](int64_t i) { return x[i]; }) / n;
        for (int64_t i = 0; i < n; i++) changed[i] = x[i] - mean;
        squares = sum_of(n, [&](int64_t i) { return changed[i] * changed[i]; });
    }
    Vector vector = to_integers(changed, n, integers);
    std::fill(integers + n, integers + matrix.n_in, 0);
    if (before == RMS_NORM) vector.scale /= std::sqrt(squares + n * matrix.epsilon);  // the weights have the factor sqrt(n)
    if (before == LAYER_NORM) vector.scale /= std::sqrt(squares / n + matrix.epsilon);
    return vector;
}

// The products of a tile of weights with a vector, times its scales, plus bias: put into y, or added to what is there.
struct Tile {
    const uint8_t* weights;
    const float *scales, *bias;
    int64_t n_in, n_out;  // of the whole matrix
    int64_t used;         // outputs: the matrix's last tile may be filled up
    bool add;

    // Of some groups of outputs, the first of which is `first`, for each of some vectors.
    APART void finish(const int32_t* sums, const Vector* vectors, int64_t n_vectors,
                      int64_t n_groups, int64_t first, float* y) const {
        for (int64_t v = 0; v < n_vectors; v++)
            for (int64_t g = 0; g < n_groups; g++, sums += LANES) {
                const int64_t out = first + g * LANES, n = std::min(LANES, used - out);
                finish_group(sums, vectors[v], scales + out, bias + out, n, y + v * n_out + out);
            }
    }

    void finish_group(const int32_t* sums, const Vector& vector, const float* scales, const float* bias, int64_t n,
                      float* y) const {
        const int32_t offset = OFFSET * vector.sum;
        const auto finish_lanes = [&](int64_t n) {
#pragma omp simd
            for (int64_t lane = 0; lane < n; lane++) {
                const float product = float(sums[lane] - offset) * (scales[lane] * vector.scale) + bias[lane];
                y[lane] = add ? y[lane] + product : product;
            }
        };
        if (n == LANES)
            finish_lanes(LANES);
        else
            finish_lanes(n);
    }
};

// N vectors times one tile of weights: as many groups of 16 outputs at once as there are registers for.
template <int64_t N>
APART static void matmul_tile(const Tile& tile, const Input* integers, const Vector* vectors, float* y) {
    constexpr int64_t GROUPS = std::min<int64_t>(OUTPUTS / LANES, REGISTERS / N), LINE = LANES * INPUTS;
    for (int64_t first = 0; first < OUTPUTS; first += GROUPS * LANES) {
        Sums sums[N * GROUPS] = {};
        for (int64_t i = 0; i < tile.n_in; i += INPUTS) {
            const uint8_t* const lines = tile.weights + i * OUTPUTS + first * INPUTS;
            Weights weights[GROUPS];
#pragma GCC unroll 2
            for (int64_t g = 0; g < GROUPS; g++) {
                weights[g] = load(lines + g * LINE);
                prefetch(lines + tile.n_in * OUTPUTS + g * LINE);  // of the next tile
            }
#pragma GCC unroll 16
            for (int64_t k = 0; k < N * GROUPS; k++)
                add_products(sums[k], weights[k % GROUPS], four_of(integers + k / GROUPS * tile.n_in + i));
        }
        int32_t stored[N * GROUPS][LANES];
#pragma GCC unroll 16
        for (int64_t k = 0; k < N * GROUPS; k++) store(sums[k], stored[k]);
        tile.finish(stored[0], vectors, N, GROUPS, first, y);
    }
}

// As many vectors at once as share one reading of the tile, then half as many, down to one.
template <int64_t N>
static void matmul_tiles(const Tile& tile, const Input* integers, const Vector* vectors, int64_t n, float* y) {
    for (; n >= N; n -= N, integers += N * tile.n_in, vectors += N, y += N * tile.n_out)
        matmul_tile<N>(tile, integers, vectors, y);
    if constexpr (N > 1) matmul_tiles<N / 2>(tile, integers, vectors, n, y);
}

// Vectors (n, n_in) on their way into a matmul.
struct Rounded {
    std::vector<Input> integers;
    std::vector<Vector> vectors;

    void resize(int64_t n, int64_t n_in) {
        integers.resize(n * n_in);
        vectors.resize(n);
    }
};

// y (n, n_out) = or += what comes before of x (n, width), times the matrix, plus bias.
static void matmul(const Worker& worker, const Matrix& matrix, const float* x, float* y, int64_t n, bool add,
                   Rounded& shared) {
    static thread_local Rounded own;
    const int64_t n_in = matrix.n_in, n_out = matrix.n_out;
    Rounded& rounded = n == 1 ? own : shared;
    const auto round = [&](int64_t v) {
        rounded.vectors[v] = quantise(matrix, x + v * matrix.width, &rounded.integers[v * n_in]);
    };
    if (n == 1) {  // every thread rounds it: waiting for one that does would take longer
        own.resize(n, n_in);
        round(0);
    } else {
        worker.share(n, round);
        worker.wait_for_others();
    }
    worker.share((n_out + OUTPUTS - 1) / OUTPUTS, [&](int64_t t) {
        const int64_t out = t * OUTPUTS, used = std::min(OUTPUTS, n_out - out);
        const Tile tile = {matrix.weights + out * n_in, matrix.scales + out, matrix.bias + out, n_in, n_out, used, add};
        matmul_tiles<VECTORS>(tile, rounded.integers.data(), rounded.vectors.data(), n, y + out);
    });
    worker.wait_for_others();
}
