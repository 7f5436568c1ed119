// Any processor: loops for the compiler.

#pragma once

using Input = int16_t;
using Weights = const uint8_t*;
using Inputs = const Input*;
constexpr int32_t OFFSET = 128;
constexpr int64_t VECTORS = 1, REGISTERS = 1;

struct Sums {
    int32_t all[LANES];
};

static inline Weights load(const uint8_t* bytes) { return bytes; }

static inline Inputs four_of(const Input* inputs) { return inputs; }

static inline void add_products(Sums& sums, Weights weights, Inputs inputs) {
    for (int64_t lane = 0; lane < LANES; lane++)
        for (int64_t i = 0; i < INPUTS; i++) sums.all[lane] += int16_t(weights[lane * INPUTS + i]) * inputs[i];
}

static inline void store(const Sums& sums, int32_t* to) { std::memcpy(to, sums.all, sizeof sums.all); }
