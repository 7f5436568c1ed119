// AVX2: one instruction makes 16 products of integers of 16 bits and adds them up in pairs. (Of bytes one makes 32, but
// wants each pair to fit into 16 bits, which weights without a sign do not; giving it back costs as much as it gains.)

#pragma once

#include <immintrin.h>

using Input = int16_t;
constexpr int32_t OFFSET = 128;
constexpr int64_t VECTORS = 4, REGISTERS = 4;

struct Inputs {
    __m256i first, last;  // two of the four
};

struct Weights {
    Inputs low, high;  // of outputs 0 to 7, 8 to 15
};

struct Sums {
    __m256i low, high;
};

static inline Inputs widen(const uint8_t* bytes) {
    const __m128i first = _mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1);  // -1 is a zero
    const __m128i last = _mm_setr_epi8(2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1);
    const __m256i weights = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
    return {_mm256_shuffle_epi8(weights, _mm256_broadcastsi128_si256(first)),
            _mm256_shuffle_epi8(weights, _mm256_broadcastsi128_si256(last))};
}

static inline Weights load(const uint8_t* bytes) { return {widen(bytes), widen(bytes + 32)}; }

static inline Inputs four_of(const Input* inputs) {
    int32_t first, last;
    std::memcpy(&first, inputs, sizeof first);
    std::memcpy(&last, inputs + 2, sizeof last);
    return {_mm256_set1_epi32(first), _mm256_set1_epi32(last)};
}

static inline void add_four(__m256i& sums, const Inputs& weights, const Inputs& inputs) {
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(weights.first, inputs.first));
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(weights.last, inputs.last));
}

static inline void add_products(Sums& sums, const Weights& weights, const Inputs& inputs) {
    add_four(sums.low, weights.low, inputs);
    add_four(sums.high, weights.high, inputs);
}

static inline void store(const Sums& sums, int32_t* to) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sums.low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to) + 1, sums.high);
}
