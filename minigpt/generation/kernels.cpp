// Writing spends its time in two loops: products of a few vectors with large matrices, and attention of one new token.
// Both work on each text by itself, so a text's numbers are the same whatever is written beside it.

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

enum Before : int64_t { NOTHING, RMS_NORM, LAYER_NORM, SWIGLU, GELU };  // as in kernels.py

constexpr float EPSILON = 1e-5f;        // as in minigpt/model/norm.py
constexpr int64_t LANES = 16;           // 32-bit numbers in a register
constexpr int64_t OUTPUTS = 2 * LANES;  // of a tile of weights: two registers hold their sums
constexpr int64_t INPUTS = 4;           // that one instruction multiplies and adds up, for each of 16 outputs
constexpr int64_t VECTORS = 8;          // that share one reading of a tile

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
    float largest = 1e-30f;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < n; i++) largest = larger(largest, std::fabs(x[i]));
    const float steps = 127 / largest;
    int32_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const int32_t integer = int32_t(std::nearbyint(x[i] * steps));
        integers[i] = int8_t(integer);
        sum += integer;
    }
    return {largest / 127, sum};
}

static Vector quantise(Before before, const float* x, int64_t n, float* changed, int8_t* integers) {
    float mean = 0, squares = 0;
    if (before == SWIGLU) {
        for (int64_t i = 0; i < n; i++) changed[i] = x[i] * sigmoid(x[i]) * x[n + i];
    } else if (before == GELU) {
        for (int64_t i = 0; i < n; i++)  // tanh(y) = 2 sigmoid(2 y) - 1
            changed[i] = x[i] * sigmoid(1.59576912f * (x[i] + 0.044715f * x[i] * x[i] * x[i]));
    } else {
        if (before == LAYER_NORM) {
#pragma omp simd reduction(+ : mean)
            for (int64_t i = 0; i < n; i++) mean += x[i];
            mean /= n;
        }
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < n; i++) {
            changed[i] = x[i] - mean;
            squares += changed[i] * changed[i];
        }
    }
    Vector vector = to_integers(changed, n, integers);
    if (before == RMS_NORM) vector.scale /= std::sqrt(squares + n * EPSILON);  // the weights have the factor sqrt(n)
    if (before == LAYER_NORM) vector.scale /= std::sqrt(squares / n + EPSILON);
    return vector;
}

// Adds four products to each of 16 sums; the intrinsic would make g++ 12 copy every sum twice in the loop below.
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

// N vectors times one tile of weights, which are 128 too large: the instruction wants one side without a sign.
template <int64_t N>
static void multiply_tile(const uint8_t* tile, const float* scales, const float* bias, const int8_t* integers,
                          const Vector* vectors, int64_t n_in, float* y, int64_t n_out, uint32_t used, bool add) {
    __m512i sums[N][2] = {};
    for (int64_t i = 0; i < n_in; i += INPUTS) {
        const uint8_t* const weights = tile + i * OUTPUTS;
        const __m512i first = _mm512_loadu_si512(weights), second = _mm512_loadu_si512(weights + 64);
        for (int64_t line = 0; line < 128; line += 64)  // of the next tile
            prefetch(weights + n_in * OUTPUTS + line);
#pragma GCC unroll 8
        for (int64_t v = 0; v < N; v++) {
            const __m512i four = four_of(integers + v * n_in + i);
            add_products(sums[v][0], first, four);
            add_products(sums[v][1], second, four);
        }
    }
#pragma GCC unroll 8
    for (int64_t v = 0; v < N; v++)
#pragma GCC unroll 2
        for (int64_t half = 0; half < 2; half++) {
            const int64_t at = half * LANES;
            const __mmask16 kept = used >> at;
            const __m512i exact = _mm512_sub_epi32(sums[v][half], _mm512_set1_epi32(128 * vectors[v].sum));
            const __m512 factor = _mm512_mul_ps(_mm512_loadu_ps(scales + at), _mm512_set1_ps(vectors[v].scale));
            __m512 product = _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), factor, _mm512_loadu_ps(bias + at));
            if (add) product = _mm512_add_ps(product, _mm512_maskz_loadu_ps(kept, y + v * n_out + at));
            _mm512_mask_storeu_ps(y + v * n_out + at, kept, product);
        }
}

// y (n, n_out) = or += what `before` makes of x (n, width), times weights (tiles of outputs, n_in / 4, 32, 4), plus bias.
// Weights, scales and bias are filled up with zeros to whole tiles.
extern "C" void multiply(const uint8_t* weights, const float* scales, const float* bias, const float* x, float* y,
                         int64_t before, int64_t n, int64_t width, int64_t n_in, int64_t n_out, int64_t add) {
    const int64_t n_used = before == SWIGLU ? width / 2 : width;
    std::vector<int8_t> integers(n * n_in);
    std::vector<Vector> vectors(n);
#pragma omp parallel if (n * n_in * n_out > 4096)
    {
        std::vector<float> changed(n_used);
#pragma omp for
        for (int64_t v = 0; v < n; v++)
            vectors[v] = quantise(Before(before), x + v * width, n_used, changed.data(), &integers[v * n_in]);
#pragma omp for nowait  // the end of the parallel part waits
        for (int64_t out = 0; out < n_out; out += OUTPUTS) {
            const uint32_t used = uint32_t((uint64_t(1) << std::min(OUTPUTS, n_out - out)) - 1);
            int64_t v = 0;
            const auto next = [&](auto multiply_vectors, int64_t n_vectors) {
                for (; v + n_vectors <= n; v += n_vectors)
                    multiply_vectors(weights + out * n_in, scales + out, bias + out, &integers[v * n_in], &vectors[v],
                                     n_in, y + v * n_out + out, n_out, used, add != 0);
            };
            next(multiply_tile<VECTORS>, VECTORS);
            next(multiply_tile<4>, 4);
            next(multiply_tile<2>, 2);
            next(multiply_tile<1>, 1);
        }
    }
}

// Keys and values of one head in the cache, rounded to integers that lie as the products want them: keys in tiles of
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
static void turn(float* head, const float* gains, const float* cosine, const float* sine) {
    if (gains) {
        float squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < SIZE; i++) squares += head[i] * head[i];
        const float factor = 1 / std::sqrt(squares + SIZE * EPSILON);  // the gains have the factor sqrt(SIZE)
        for (int64_t i = 0; i < SIZE; i++) head[i] *= factor * gains[i];
    }
    if (cosine)
        for (int64_t i = 0, half = SIZE / 2; i < half; i++) {
            const float first = head[i], second = head[i + half];
            head[i] = first * cosine[i] + second * sine[i];
            head[i + half] = second * cosine[i + half] + first * sine[i + half];
        }
}

// How much each place counts, as numbers and as integers of two bytes: with one, many small ones would be lost.
// Sums of 66,000 places fit into 32 bits.
struct Weights {
    std::vector<float> exact;
    std::vector<uint8_t> high, low;

    explicit Weights(int64_t n_places) : exact(n_places), high(n_places), low(n_places) {}
};

// One new token of one text looks around with the heads of one group.
template <int64_t SIZE>
static void attend_group(const float* query, int64_t n_queries, Kept kept, Kept next, int64_t n_places,
                         Weights& weights, float* mixed) {
    constexpr int64_t N = SIZE / LANES;
    const int64_t n_padded = round_up(n_places);
    float* const exact = weights.exact.data();
    uint8_t *const high = weights.high.data(), *const low = weights.low.data();
    for (int64_t h = 0; h < n_queries; h++, query += SIZE, mixed += SIZE) {
        int8_t integers[SIZE];
        const Vector rounded = to_integers(query, SIZE, integers);
        const __m512 factor = _mm512_set1_ps(rounded.scale / std::sqrt(float(SIZE)));
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

template <int64_t SIZE>
static void attend_texts(float* heads, const float* gains, const float* cosine, const float* sine, uint32_t* keys,
                         uint32_t* values, float* mixed, int64_t n_texts, int64_t n_heads, int64_t n_kv_heads,
                         int64_t capacity, int64_t place) {
    const int64_t n_queries = n_heads / n_kv_heads;  // that share a key
#pragma omp parallel
    {
        Weights weights(round_up(place + 1));
#pragma omp for collapse(2)
        for (int64_t text = 0; text < n_texts; text++)
            for (int64_t g = 0; g < n_kv_heads; g++) {
                float* const queries = heads + (text * (n_heads + 2 * n_kv_heads) + g * n_queries) * SIZE;
                float* const key = heads + (text * (n_heads + 2 * n_kv_heads) + n_heads + g) * SIZE;
                const int64_t group = text * n_kv_heads + g;
                const Kept kept(keys, values, group, capacity, SIZE), next(keys, values, group + 1, capacity, SIZE);
                for (int64_t h = 0; h < n_queries; h++) turn<SIZE>(queries + h * SIZE, gains, cosine, sine);
                turn<SIZE>(key, gains ? gains + n_heads * SIZE : nullptr, cosine, sine);
                keep<SIZE>(key, key + n_kv_heads * SIZE, kept, place);
                attend_group<SIZE>(queries, n_queries, kept, next, place + 1, weights,
                                   mixed + (text * n_heads + g * n_queries) * SIZE);
            }
    }
}

template <int64_t SIZE>
static void keep_prompts(const float* new_keys, const float* new_values, uint32_t* keys, uint32_t* values,
                         int64_t n_heads, int64_t n_places, int64_t capacity) {
#pragma omp parallel for
    for (int64_t head = 0; head < n_heads; head++) {
        const Kept kept(keys, values, head, capacity, SIZE);
        for (int64_t s = 0; s < n_places; s++) {
            const int64_t at = (head * n_places + s) * SIZE;
            keep<SIZE>(new_keys + at, new_values + at, kept, s);
        }
    }
}

// FUNCTION for heads whose size is a multiple of 16, up to 128.
#define OF_SIZE(FUNCTION, size)                                                                 \
    (std::array{FUNCTION<16>, FUNCTION<32>, FUNCTION<48>, FUNCTION<64>, FUNCTION<80>, FUNCTION<96>, \
                FUNCTION<112>, FUNCTION<128>}[size / 16 - 1])

// The first keys and values (n_heads, n_places, size) of a cache (n_heads, capacity * (size + 4) bytes).
extern "C" void keep(const float* new_keys, const float* new_values, uint32_t* keys, uint32_t* values,
                     int64_t n_heads, int64_t size, int64_t n_places, int64_t capacity) {
    OF_SIZE(keep_prompts, size)(new_keys, new_values, keys, values, n_heads, n_places, capacity);
}

// Attention of one new token per text. heads (texts, n_heads + 2 n_kv_heads, size) are its queries, keys and values;
// key and value join the cache of texts * n_kv_heads heads at `place`. mixed: (texts, n_heads, size).
extern "C" void attend(float* heads, const float* gains, const float* cosine, const float* sine, uint32_t* keys,
                       uint32_t* values, float* mixed, int64_t n_texts, int64_t n_heads, int64_t n_kv_heads,
                       int64_t size, int64_t capacity, int64_t place) {
    OF_SIZE(attend_texts, size)(heads, gains, cosine, sine, keys, values, mixed, n_texts, n_heads, n_kv_heads,
                                capacity, place);
}
