// Attention of new tokens to all so far, whose keys and values are kept as int8.

#pragma once

#include <array>
#include <vector>

#include "integers.h"
#include "model.h"

// Keys and values of one head in the cache, rounded to integers that lie as the instruction wants them: keys in tiles of
// 16 places x 4 numbers, 128 too large; values in tiles of 16 numbers x 4 places. Behind them, a scale for each place.
struct Kept {
    uint32_t *keys, *values;  // four integers in each
    float *key_scales, *value_scales;

    Kept(uint32_t* all_keys, uint32_t* all_values, int64_t head, int64_t capacity, int64_t size) {
        const int64_t n = capacity * size / INPUTS, begin = head * (n + capacity);
        keys = all_keys + begin;
        values = all_values + begin;
        key_scales = reinterpret_cast<float*>(keys + n);
        value_scales = reinterpret_cast<float*>(values + n);
    }
};

template <int64_t SIZE>
static void keep(const float* key, const float* value, Kept kept, int64_t place) {
    int8_t integers[SIZE];
    kept.key_scales[place] = to_integers(key, SIZE, integers).scale;
    uint32_t* const column = kept.keys + place / LANES * LANES * SIZE / INPUTS + place % LANES;
    for (int64_t i = 0; i < SIZE; i += INPUTS) {
        uint32_t four;
        std::memcpy(&four, integers + i, INPUTS);
        column[i * LANES / INPUTS] = four ^ 0x80808080;  // plus 128
    }
    kept.value_scales[place] = to_integers(value, SIZE, integers).scale;
    if (place % LANES == 0) std::fill_n(kept.value_scales + place + 1, LANES - 1, 0.f);  // the other places of a tile
    uint32_t* const row = kept.values + place / INPUTS * SIZE;
    const int64_t shift = 8 * (place % INPUTS);
    for (int64_t i = 0; i < SIZE; i++)
        row[i] = (row[i] & ~(uint32_t(255) << shift)) | uint32_t(uint8_t(integers[i])) << shift;
}

// A query or key of one head as attention takes it: normalised (where there are gains) and turned (where it rotates).
template <int64_t SIZE>
static void turn(float* head, const Model& model, const float* gains, int64_t place) {
    if (gains) {
        float squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < SIZE; i++) squares += head[i] * head[i];
        const float factor = 1 / std::sqrt(squares + model.d_head * EPSILON);
        for (int64_t i = 0; i < SIZE; i++) head[i] *= factor * gains[i];
    }
    if (model.cosine) {
        const float *const cosine = model.cosine + place * SIZE, *const sine = model.sine + place * SIZE;
        for (int64_t i = 0, half = SIZE / 2; i < half; i++) {
            const float first = head[i], second = head[i + half];
            head[i] = first * cosine[i] + second * sine[i];
            head[i + half] = second * cosine[i + half] + first * sine[i + half];
        }
    }
}

// How much each place counts, as numbers and as int16: in int8 many small ones would be lost.
// Sums of 66,000 places fit into 32 bits.
struct Weights {
    std::vector<float> exact;
    std::vector<uint8_t> high, low;

    void resize(int64_t n_places) {
        exact.resize(n_places);
        high.resize(n_places);
        low.resize(n_places);
    }
};

// One new token looks around with the heads of one group.
template <int64_t SIZE>
static void attend_group(const float* query, int64_t n_queries, int64_t d_head, Kept kept, Kept next,
                         int64_t n_places, float* mixed) {
    static thread_local Weights weights;
    constexpr int64_t N = SIZE / LANES;
    const int64_t n_padded = round_up(n_places);
    weights.resize(n_padded);
    float* const exact = weights.exact.data();
    uint8_t *const high = weights.high.data(), *const low = weights.low.data();
    for (int64_t h = 0; h < n_queries; h++, query += SIZE, mixed += SIZE) {
        int8_t integers[SIZE];
        const Vector rounded = to_integers(query, SIZE, integers);
        const __m512 factor = _mm512_set1_ps(rounded.scale / std::sqrt(float(d_head)));
        for (int64_t s = 0; s < n_padded; s += LANES) {
            prefetch(next.key_scales + s);
            prefetch(next.value_scales + s);
            __m512i sums = _mm512_set1_epi32(-128 * rounded.sum);
            for (int64_t i = 0; i < SIZE; i += INPUTS) {
                const int64_t at = (s * SIZE + i * LANES) / INPUTS;
                prefetch(next.keys + at);
                add_products(sums, _mm512_loadu_si512(kept.keys + at), four_of(integers + i));
            }
            const __m512 scales = _mm512_mul_ps(_mm512_loadu_ps(kept.key_scales + s), factor);
            _mm512_storeu_ps(exact + s, _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scales));
        }
        std::fill(exact + n_places, exact + n_padded, -INFINITY);
        float largest = -INFINITY, total = 0, heaviest = 0;
#pragma omp simd reduction(max : largest)
        for (int64_t s = 0; s < n_padded; s++) largest = larger(largest, exact[s]);
#pragma omp simd reduction(+ : total) reduction(max : heaviest)
        for (int64_t s = 0; s < n_padded; s++) {
            const float weight = exponential(exact[s] - largest);
            total += weight;
            exact[s] = weight * kept.value_scales[s];
            heaviest = larger(heaviest, exact[s]);
        }
        for (int64_t s = 0; s < n_padded; s++) {
            const int32_t integer = int32_t(std::nearbyint(exact[s] * (65535 / heaviest)));
            high[s] = uint8_t(integer >> 8);
            low[s] = uint8_t(integer);
        }
        __m512i highs[N] = {}, lows[N] = {};
        for (int64_t s = 0; s < n_places; s += INPUTS) {
            const __m512i four_high = four_of(high + s), four_low = four_of(low + s);
            for (int64_t r = 0; r < N; r++) {
                const int64_t at = s * SIZE / INPUTS + r * LANES;
                prefetch(next.values + at);
                const __m512i tile = _mm512_loadu_si512(kept.values + at);
                add_products(highs[r], four_high, tile);
                add_products(lows[r], four_low, tile);
            }
        }
        const __m512 scale = _mm512_set1_ps(heaviest / 65535 / total);
        for (int64_t r = 0; r < N; r++) {
            const __m512 low_sums = _mm512_cvtepi32_ps(lows[r]);
            const __m512 sums = _mm512_fmadd_ps(_mm512_cvtepi32_ps(highs[r]), _mm512_set1_ps(256), low_sums);
            _mm512_storeu_ps(mixed + r * LANES, _mm512_mul_ps(sums, scale));
        }
    }
}

// Attention of the new tokens, whose queries, keys and values are `heads` (tokens, n_heads + 2 n_kv_heads, size), to all
// so far; the keys and values join the cache. mixed: (tokens, n_heads, size).
template <int64_t SIZE>
static void attend(const Model& model, const float* gains, float* heads, uint32_t* keys, uint32_t* values,
                   float* mixed, NewTokens fresh) {
    const int64_t n_heads = model.n_heads, n_kv_heads = model.n_kv_heads, n_queries = n_heads / n_kv_heads;
    const int64_t row = (n_heads + 2 * n_kv_heads) * SIZE;
#pragma omp for collapse(2) schedule(static) nowait
    for (int64_t text = 0; text < fresh.n_texts; text++)
        for (int64_t g = 0; g < n_kv_heads; g++)
            for (int64_t t = 0; t < fresh.n_each; t++) {
                float* const key = heads + (text * fresh.n_each + t) * row + (n_heads + g) * SIZE;
                turn<SIZE>(key, model, gains ? gains + n_heads * SIZE : nullptr, fresh.place + t);
                keep<SIZE>(key, key + n_kv_heads * SIZE,
                           Kept(keys, values, text * n_kv_heads + g, fresh.capacity, SIZE), fresh.place + t);
            }
    if (fresh.n_each > 1) {  // a single token's key is looked at by the thread that has kept it: both loops are static
#pragma omp barrier
    }
#pragma omp for collapse(3) schedule(static)
    for (int64_t text = 0; text < fresh.n_texts; text++)
        for (int64_t g = 0; g < n_kv_heads; g++)
            for (int64_t t = 0; t < fresh.n_each; t++) {
                const int64_t token = text * fresh.n_each + t, group = text * n_kv_heads + g;
                float* const queries = heads + token * row + g * n_queries * SIZE;
                for (int64_t h = 0; h < n_queries; h++) turn<SIZE>(queries + h * SIZE, model, gains, fresh.place + t);
                attend_group<SIZE>(queries, n_queries, model.d_head, Kept(keys, values, group, fresh.capacity, SIZE),
                                   Kept(keys, values, group + 1, fresh.capacity, SIZE), fresh.place + t + 1,
                                   mixed + (token * n_heads + g * n_queries) * SIZE);
            }
}

// For heads whose size is a multiple of 16, up to 128.
constexpr std::array ATTEND = {attend<16>, attend<32>, attend<48>, attend<64>,
                               attend<80>, attend<96>, attend<112>, attend<128>};
