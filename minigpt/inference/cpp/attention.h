// Attention of new tokens to all so far, whose keys and values are kept as int8.

#pragma once

#include <array>
#include <vector>

#include "integers.h"
#include "model.h"
#include "threads.h"

// Keys and values of one head in the cache, rounded to integers that lie as weights do, 128 too large: keys in tiles of
// 16 places x 4 numbers, values in tiles of 16 numbers x 4 places. Behind them, a scale for each place.
struct Kept {
    uint8_t *keys, *values;
    float *key_scales, *value_scales;

    Kept(uint8_t* all_keys, uint8_t* all_values, int64_t head, int64_t capacity, int64_t size) {
        const int64_t n = capacity * size, begin = head * (n + capacity * sizeof(float));
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
    uint8_t* const column = kept.keys + place / LANES * LANES * SIZE + place % LANES * INPUTS;
    for (int64_t i = 0; i < SIZE; i += INPUTS) {
        uint32_t four;
        std::memcpy(&four, integers + i, INPUTS);
        four ^= 0x80808080;  // plus 128
        std::memcpy(column + i * LANES, &four, INPUTS);
    }
    kept.value_scales[place] = to_integers(value, SIZE, integers).scale;
    if (place % LANES == 0) std::fill_n(kept.value_scales + place + 1, LANES - 1, 0.f);  // the other places of a tile
    uint8_t* const row = kept.values + place / INPUTS * INPUTS * SIZE + place % INPUTS;
    for (int64_t i = 0; i < SIZE; i++) row[i * INPUTS] = uint8_t(integers[i] + 128);
}

// A query or key of one head as attention takes it: normalised (where there are gains) and turned (where it rotates).
template <int64_t SIZE>
static void turn(float* head, const Model& model, const float* gains, int64_t place) {
    if (gains) {
        const float squares = sum_of(SIZE, [&](int64_t i) { return head[i] * head[i]; });
        const float factor = 1 / std::sqrt(squares + model.d_head * model.epsilon);
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

// How much each place counts, as integers of 15 bits: in 7 many small ones would be lost. Where inputs have 7 bits and
// a sign, an integer is 256 times the high one plus the low one.
constexpr int32_t LARGEST_COUNT = 127 * 256 + 127;
constexpr int64_t PLACES = 256;  // so many times LARGEST_COUNT * 255 fit into 32 bits
constexpr int64_t PARTS = sizeof(Input) == 1 ? 2 : 1;

struct Counts {
    Input low[PLACES], high[PLACES];
    int32_t sum = 0;

    Counts(const float* exact, int64_t n, float steps) {
        for (int64_t s = 0; s < n; s++) {
            const int32_t integer = int32_t(nearest(exact[s] * steps));
            low[s] = Input(integer);
            if (PARTS > 1) high[s] = Input((integer + 128) >> 8);
            sum += integer;
        }
    }
};

// Adds `scale` times the values of `n` places, as often as they count, to 16 N numbers: as many at once as there are
// registers for. Asks for the same values of the next head.
template <int64_t SIZE, int64_t N>
static void mix(const uint8_t* values, const uint8_t* next, const Counts& counts, int64_t n, float scale,
                float* mixed) {
    constexpr int64_t GROUPS = std::min(N, REGISTERS / PARTS), LINE = LANES * INPUTS;
    Sums low[GROUPS] = {}, high[GROUPS] = {};
    for (int64_t s = 0; s < n; s += INPUTS) {
        const Inputs four_low = four_of(counts.low + s), four_high = four_of(counts.high + s);
#pragma GCC unroll 8
        for (int64_t g = 0; g < GROUPS; g++) {
            const int64_t at = s * SIZE + g * LINE;
            prefetch(next + at);
            const Weights tile = load(values + at);
            add_products(low[g], tile, four_low);
            if (PARTS > 1) add_products(high[g], tile, four_high);
        }
    }
    int32_t lows[GROUPS * LANES], highs[GROUPS * LANES];
#pragma GCC unroll 8
    for (int64_t g = 0; g < GROUPS; g++) {
        store(low[g], lows + g * LANES);
        if (PARTS > 1) store(high[g], highs + g * LANES);
    }
#pragma omp simd
    for (int64_t i = 0; i < GROUPS * LANES; i++) {
        const int32_t sum = PARTS > 1 ? 256 * highs[i] + lows[i] : lows[i];
        mixed[i] += float(sum - OFFSET * counts.sum) * scale;
    }
    if constexpr (N > GROUPS)
        mix<SIZE, N - GROUPS>(values + GROUPS * LINE, next + GROUPS * LINE, counts, n, scale, mixed + GROUPS * LANES);
}

// How well a query fits the key of each place.
template <int64_t SIZE>
static void score(const float* query, float factor, Kept kept, Kept next, int64_t n_padded, float* scores) {
    Input integers[SIZE];
    const Vector rounded = to_integers(query, SIZE, integers);
    factor *= rounded.scale;
    for (int64_t s = 0; s < n_padded; s += LANES) {
        prefetch(next.key_scales + s);
        prefetch(next.value_scales + s);
        Sums sums = {};
        for (int64_t i = 0; i < SIZE; i += INPUTS) {
            const int64_t at = s * SIZE + i * LANES;
            prefetch(next.keys + at);
            add_products(sums, load(kept.keys + at), four_of(integers + i));
        }
        int32_t products[LANES];
        store(sums, products);
#pragma omp simd
        for (int64_t lane = 0; lane < LANES; lane++)
            scores[s + lane] = float(products[lane] - OFFSET * rounded.sum) * (kept.key_scales[s + lane] * factor);
    }
}

// One new token looks around with the heads of one group.
template <int64_t SIZE>
static void attend_group(const float* query, int64_t n_queries, int64_t d_head, Kept kept, Kept next,
                         int64_t n_places, float* mixed) {
    static thread_local std::vector<float> room;
    const int64_t n_padded = round_up(n_places);
    room.resize(n_padded);
    float* const exact = room.data();
    for (int64_t h = 0; h < n_queries; h++, query += SIZE, mixed += SIZE) {
        score<SIZE>(query, 1 / std::sqrt(float(d_head)), kept, next, n_padded, exact);
        std::fill(exact + n_places, exact + n_padded, -INFINITY);
        float largest = -INFINITY, heaviest = 0;
#pragma omp simd reduction(max : largest)
        for (int64_t s = 0; s < n_padded; s++) largest = larger(largest, exact[s]);
        for (int64_t s = 0; s < n_padded; s++) exact[s] = exponential(exact[s] - largest);
        const float total = sum_of(n_padded, [&](int64_t s) { return exact[s]; });
#pragma omp simd reduction(max : heaviest)
        for (int64_t s = 0; s < n_padded; s++) {
            exact[s] *= kept.value_scales[s];
            heaviest = larger(heaviest, exact[s]);
        }
        std::fill_n(mixed, SIZE, 0.f);
        for (int64_t s = 0; s < n_padded; s += PLACES) {
            const int64_t n = std::min(PLACES, n_padded - s);
            const Counts counts(exact + s, n, LARGEST_COUNT / heaviest);
            mix<SIZE, SIZE / LANES>(kept.values + s * SIZE, next.values + s * SIZE, counts, std::min(n, n_places - s),
                                    heaviest / LARGEST_COUNT / total, mixed);
        }
    }
}

// Attention of the new tokens, whose queries, keys and values are `heads` (tokens, n_heads + 2 n_kv_heads, size), to
// all so far; the keys and values join the cache. mixed: (tokens, n_heads, size).
template <int64_t SIZE>
static void attend(const Worker& worker, const Model& model, const float* gains, float* heads, uint8_t* keys,
                   uint8_t* values, float* mixed, NewTokens fresh) {
    const int64_t n_heads = model.n_heads, n_kv_heads = model.n_kv_heads, n_queries = n_heads / n_kv_heads;
    const int64_t n_groups = fresh.n_texts * n_kv_heads, row = (n_heads + 2 * n_kv_heads) * SIZE;
    const auto kept = [&](int64_t group) { return Kept(keys, values, group, fresh.capacity, SIZE); };
    worker.share(n_groups, [&](int64_t group) {
        const int64_t text = group / n_kv_heads, g = group % n_kv_heads;
        for (int64_t t = 0; t < fresh.n_each; t++) {
            float* const key = heads + (text * fresh.n_each + t) * row + (n_heads + g) * SIZE;
            turn<SIZE>(key, model, gains ? gains + n_heads * SIZE : nullptr, fresh.place + t);
            keep<SIZE>(key, key + n_kv_heads * SIZE, kept(group), fresh.place + t);
        }
    });
    if (fresh.n_each > 1) worker.wait_for_others();  // a single token's key is looked at by the thread that has kept it
    worker.share(n_groups * fresh.n_each, [&](int64_t i) {
        const int64_t group = i / fresh.n_each, text = group / n_kv_heads, g = group % n_kv_heads, t = i % fresh.n_each;
        const int64_t token = text * fresh.n_each + t;
        float* const queries = heads + token * row + g * n_queries * SIZE;
        for (int64_t h = 0; h < n_queries; h++) turn<SIZE>(queries + h * SIZE, model, gains, fresh.place + t);
        attend_group<SIZE>(queries, n_queries, model.d_head, kept(group), kept(group + 1), fresh.place + t + 1,
                           mixed + (token * n_heads + g * n_queries) * SIZE);
    });
    worker.wait_for_others();
}

// For heads whose size is a multiple of 16, up to 128.
constexpr std::array ATTEND = {attend<16>, attend<32>, attend<48>, attend<64>,
                               attend<80>, attend<96>, attend<112>, attend<128>};
