// AVX-VNNI: one instruction adds four products to each of 8 sums.

#pragma once

#include <immintrin.h>

using Input = int8_t;
using Inputs = __m256i;
constexpr int32_t OFFSET = 128;
constexpr int64_t VECTORS = 4, REGISTERS = 4;

struct Weights {
    __m256i low, high;  // of outputs 0 to 7, 8 to 15
};

struct Sums {
    __m256i low, high;
};

static inline Weights load(const uint8_t* bytes) {
    const __m256i* const halves = reinterpret_cast<const __m256i*>(bytes);
    return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
}

static inline Inputs four_of(const Input* inputs) {
    int32_t four;
    std::memcpy(&four, inputs, sizeof four);
    return _mm256_set1_epi32(four);
}

static inline void add_four(__m256i& sums, __m256i weights, __m256i inputs) {
#ifdef __clang__
    sums = _mm256_dpbusd_avx_epi32(sums, weights, inputs);
#else  // the intrinsic makes g++ 12 copy every sum twice in a loop
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(weights), "x"(inputs));
#endif
}

static inline void add_products(Sums& sums, const Weights& weights, Inputs inputs) {
    add_four(sums.low, weights.low, inputs);
    add_four(sums.high, weights.high, inputs);
}

static inline void store(const Sums& sums, int32_t* to) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sums.low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to) + 1, sums.high);
}
