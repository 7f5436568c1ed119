// Numbers become int8, which an instruction of AVX-512 VNNI multiplies 64 at a time.

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

constexpr float EPSILON = 1e-5f;  // as in minigpt/model/norm.py
constexpr int64_t LANES = 16;     // 32-bit numbers in a register
constexpr int64_t INPUTS = 4;     // that one instruction multiplies and adds up, for each of 16 outputs

static inline int64_t round_up(int64_t n) { return (n + LANES - 1) & -LANES; }

// Unlike std::max, which takes addresses, a step that the compiler turns into vector instructions.
static inline float larger(float a, float b) { return a > b ? a : b; }

// e^x to 7 digits, as plain arithmetic that the compiler turns into vector instructions: 2^whole times 2^rest.
static inline float exponential(float x) {
    x = std::min(std::max(x * 1.44269504f, -126.0f), 126.0f);
    const float whole = std::nearbyint(x), rest = (x - whole) * 0.693147181f;
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

static inline Vector to_integers(const float* x, int64_t n, int8_t* integers) {
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
        integers[i] = int8_t(int32_t(std::nearbyint(x[i] * steps)));
        sum += integers[i];
    }
    return {largest / 127, sum};
}

// Adds four products to each of 16 sums; the intrinsic makes g++ 12 copy every sum twice in a loop.
static inline void add_products(__m512i& sums, __m512i weights, __m512i inputs) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(weights), "v"(inputs));
}

// Asks for the 64 bytes that will be needed soon, into the second cache: a loop over them is too short for the first.
static inline void prefetch(const void* line) { _mm_prefetch(static_cast<const char*>(line), _MM_HINT_T1); }

static inline __m512i four_of(const void* bytes) {
    int32_t four;
    std::memcpy(&four, bytes, INPUTS);
    return _mm512_set1_epi32(four);
}
