// Numbers become int8. All of it gives the same bits with whatever instructions: no sum depends on how many numbers are
// added up at once.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "instructions.h"

// Unlike std::max, which takes addresses, a step that the compiler turns into vector instructions.
static inline float larger(float a, float b) { return a > b ? a : b; }

// The nearest integer, of two the even one, of numbers up to 2^22: beyond 2^23 floats have no digits after the point.
static inline float nearest(float x) { return (x + 12582912.f) - 12582912.f; }

// The sum of `term(i)` for all i below n, as 16 sums side by side.
template <typename Term>
static inline float sum_of(int64_t n, Term term) {
    float sums[LANES] = {};
    const int64_t whole = n & -LANES;
    for (int64_t i = 0; i < whole; i += LANES)
#pragma omp simd
        for (int64_t lane = 0; lane < LANES; lane++) sums[lane] += term(i + lane);
    for (int64_t i = whole; i < n; i++) sums[i - whole] += term(i);
    for (int64_t half = LANES / 2; half > 0; half /= 2)
        for (int64_t lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
    return sums[0];
}

// e^x to 7 digits, as plain arithmetic that the compiler turns into vector instructions: 2^whole times 2^rest.
static inline float exponential(float x) {
    x = std::min(std::max(x * 1.44269504f, -126.0f), 126.0f);
    const float whole = nearest(x), rest = (x - whole) * 0.693147181f;
    const float series =
        1 + rest * (1 + rest * (1 / 2.f + rest * (1 / 6.f + rest * (1 / 24.f + rest * (1 / 120.f + rest / 720.f)))));
    const int32_t bits = (int32_t(whole) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, 4);
    return series * power;
}

static inline float sigmoid(float x) { return 1 / (1 + exponential(-x)); }

// A vector as integers from -127 to 127: it is `scale` times them.
struct Vector {
    float scale;
    int32_t sum;
};

template <typename Integer>
static inline Vector to_integers(const float* x, int64_t n, Integer* integers) {
    int32_t bits = 0;  // without its sign a float grows with its bits, and NaN is the largest
#pragma omp simd reduction(max : bits)
    for (int64_t i = 0; i < n; i++) {
        int32_t number;
        std::memcpy(&number, x + i, 4);
        number &= 0x7fffffff;
        bits = number > bits ? number : bits;
    }
    float largest;
    std::memcpy(&largest, &bits, 4);
    largest = largest < 1e-30f ? 1e-30f : largest;
    const float steps = 127 / largest;
    int32_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const int32_t integer = int32_t(nearest(x[i] * steps));
        integers[i] = Integer(integer);
        sum += integer;
    }
    return {largest / 127, sum};
}
