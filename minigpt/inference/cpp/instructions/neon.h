// Arm NEON, with instructions for dot products or without. Both take weights with a sign: `load` gives it back.

#pragma once

#include <arm_neon.h>

using Input = int8_t;
using Inputs = int8x16_t;
constexpr int32_t OFFSET = 0;
constexpr int64_t VECTORS = 4, REGISTERS = 4;

struct Weights {
    int8x16_t a, b, c, d;  // of four outputs each
};

struct Sums {
    int32x4_t a, b, c, d;
};

static inline int8x16_t load_four(const uint8_t* bytes) {
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(bytes), vdupq_n_u8(128)));
}

static inline Weights load(const uint8_t* bytes) {
    return {load_four(bytes), load_four(bytes + 16), load_four(bytes + 32), load_four(bytes + 48)};
}

static inline Inputs four_of(const Input* inputs) {
    int32_t four;
    std::memcpy(&four, inputs, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

static inline void add_four(int32x4_t& sums, int8x16_t weights, int8x16_t inputs) {
#ifdef __ARM_FEATURE_DOTPROD
    sums = vdotq_s32(sums, weights, inputs);
#else  // two products fit into 16 bits
    const int16x8_t low = vmull_s8(vget_low_s8(weights), vget_low_s8(inputs)), high = vmull_high_s8(weights, inputs);
    sums = vpadalq_s16(sums, vpaddq_s16(low, high));
#endif
}

static inline void add_products(Sums& sums, const Weights& weights, Inputs inputs) {
    add_four(sums.a, weights.a, inputs);
    add_four(sums.b, weights.b, inputs);
    add_four(sums.c, weights.c, inputs);
    add_four(sums.d, weights.d, inputs);
}

static inline void store(const Sums& sums, int32_t* to) {
    vst1q_s32(to, sums.a);
    vst1q_s32(to + 4, sums.b);
    vst1q_s32(to + 8, sums.c);
    vst1q_s32(to + 12, sums.d);
}
