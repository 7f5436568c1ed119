// What is written once for each instruction set, by the names that the compiler has for them:
//
//   Input              how an integer from -127 to 127 lies in memory before it is multiplied: int8_t, or int16_t
//   Weights, load      64 bytes of weights, in registers: 16 outputs x 4 inputs, each 128 too large to have no sign
//   Inputs, four_of    four integers, each where its products are wanted
//   Sums               16 sums of 32 bits; Sums{} are zeros
//   add_products       adds the products of four inputs with their weights to each of the 16 sums
//   store              the sums as integers, OFFSET * (the sum of all inputs) too large
//   VECTORS            that share one reading of weights; REGISTERS / VECTORS groups of 16 outputs at once
//   REGISTERS          how many Sums there is room for

#pragma once

#include <cstdint>
#include <cstring>

constexpr int64_t LANES = 16;  // outputs, places or numbers that are worked on together
constexpr int64_t INPUTS = 4;  // whose products are added up at once, for each of them

#if defined(PLAIN)
#include "instructions/plain.h"
#elif defined(__AVX512VNNI__)
#include "instructions/avx512_vnni.h"
#elif defined(__AVXVNNI__)
#include "instructions/avx_vnni.h"
#elif defined(__AVX2__)
#include "instructions/avx2.h"
#elif defined(__aarch64__)
#include "instructions/neon.h"
#else
#include "instructions/plain.h"
#endif

static inline int64_t round_up(int64_t n) { return (n + LANES - 1) & -LANES; }

// Asks for the 64 bytes that will be needed soon, into the second cache: a loop over them is too short for the first.
static inline void prefetch(const void* line) { __builtin_prefetch(line, 0, 2); }
