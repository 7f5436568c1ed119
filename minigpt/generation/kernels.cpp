// A model that writes: token ids go in, the logits of the next token come out. All cores work on each part of it together.
// Every text is worked on by itself, so its numbers are the same whatever is written beside it.

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

// These five are as in kernels.py. A matrix's weights are tiles (outputs / 32, inputs / 4, 32, 4), filled up with zeros.
enum Before : int64_t { NOTHING, RMS_NORM, LAYER_NORM, SWIGLU, GELU };

struct Matrix {
    const uint8_t* weights;      // 128 too large: the instruction wants one side without a sign
    const float *scales, *bias;  // one for each output
    Before before;               // what happens to a vector first
    int64_t width, n_in, n_out;  // numbers of the vector, of what is multiplied (a multiple of 4), of the product
};

struct Layer {
    Matrix qkv, o, up, down;
    const float* gains;  // of queries and keys (heads, size), times sqrt(d_head); or null
};

struct Model {
    int64_t n_layers, n_heads, n_kv_heads, d_head, d_model;
    float embedding_scale;
    const float *embedding, *positions, *cosine, *sine;  // (tokens or places, d_model or size); or null
    const Layer* layers;
    Matrix lm_head;
};

struct New {  // tokens, which come after `place` others; the cache has room for `capacity`
    int64_t n_texts, n_each, place, capacity;
};

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

static Vector quantise(const Matrix& matrix, const float* x, int8_t* integers) {
    static thread_local std::vector<float> room;
    const Before before = matrix.before;
    const int64_t n = before == SWIGLU ? matrix.width / 2 : matrix.width;
    room.resize(n);
    float* const changed = room.data();
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
    std::fill(integers + n, integers + matrix.n_in, 0);
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

// N vectors times one tile of weights.
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

// Vectors (n, n_in) on their way into a product.
struct Rounded {
    std::vector<int8_t> integers;
    std::vector<Vector> vectors;

    void resize(int64_t n, int64_t n_in) {
        integers.resize(n * n_in);
        vectors.resize(n);
    }
};

// y (n, n_out) = or += what comes before of x (n, width), times the matrix, plus bias.
static void multiply(const Matrix& matrix, const float* x, float* y, int64_t n, bool add, Rounded& shared) {
    static thread_local Rounded own;
    const int64_t n_in = matrix.n_in, n_out = matrix.n_out;
    Rounded& rounded = n == 1 ? own : shared;
    if (n == 1) {  // every thread rounds it: waiting for one that does would take longer
        own.resize(n, n_in);
        own.vectors[0] = quantise(matrix, x, own.integers.data());
    } else {
#pragma omp for
        for (int64_t v = 0; v < n; v++)
            rounded.vectors[v] = quantise(matrix, x + v * matrix.width, &rounded.integers[v * n_in]);
    }
#pragma omp for
    for (int64_t out = 0; out < n_out; out += OUTPUTS) {
        const uint32_t used = uint32_t((uint64_t(1) << std::min(OUTPUTS, n_out - out)) - 1);
        int64_t v = 0;
        const auto next = [&](auto multiply_vectors, int64_t n_vectors) {
            for (; v + n_vectors <= n; v += n_vectors)
                multiply_vectors(matrix.weights + out * n_in, matrix.scales + out, matrix.bias + out,
                                 &rounded.integers[v * n_in], &rounded.vectors[v], n_in, y + v * n_out + out, n_out,
                                 used, add);
        };
        next(multiply_tile<VECTORS>, VECTORS);
        next(multiply_tile<4>, 4);
        next(multiply_tile<2>, 2);
        next(multiply_tile<1>, 1);
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

// How much each place counts, as numbers and as integers of two bytes: with one, many small ones would be lost.
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

// One new token of one text looks around with the heads of one group.
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
                   float* mixed, New fresh) {
    const int64_t n_heads = model.n_heads, n_kv_heads = model.n_kv_heads, n_queries = n_heads / n_kv_heads;
    const int64_t row = (n_heads + 2 * n_kv_heads) * SIZE;
#pragma omp for collapse(2) nowait
    for (int64_t text = 0; text < fresh.n_texts; text++)
        for (int64_t g = 0; g < n_kv_heads; g++)
            for (int64_t t = 0; t < fresh.n_each; t++) {
                float* const key = heads + (text * fresh.n_each + t) * row + (n_heads + g) * SIZE;
                turn<SIZE>(key, model, gains ? gains + n_heads * SIZE : nullptr, fresh.place + t);
                keep<SIZE>(key, key + n_kv_heads * SIZE,
                           Kept(keys, values, text * n_kv_heads + g, fresh.capacity, SIZE), fresh.place + t);
            }
    if (fresh.n_each > 1) {  // a single token's key is looked at by the thread that has kept it
#pragma omp barrier
    }
#pragma omp for collapse(3)
    for (int64_t text = 0; text < fresh.n_texts; text++)
        for (int64_t t = 0; t < fresh.n_each; t++)
            for (int64_t g = 0; g < n_kv_heads; g++) {
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

// Logits (n_texts, tokens) of what comes after `tokens` (n_texts, n_each). cache: keys of each layer, then values of each,
// (n_texts, n_kv_heads, capacity * (size + 4) bytes).
extern "C" void next_logits(const Model& model, const int64_t* tokens, uint32_t* const* cache, float* logits,
                            int64_t n_texts, int64_t n_each, int64_t place, int64_t capacity) {
    const New fresh = {n_texts, n_each, place, capacity};
    const int64_t n = n_texts * n_each, width = model.d_model, size = round_up(model.d_head);
    const Layer& first = model.layers[0];
    std::vector<float> x(n * width), heads(n * first.qkv.n_out), mixed(n * first.o.width), hidden(n * first.up.n_out);
    Rounded rounded;
    rounded.resize(n, std::max({first.qkv.n_in, first.o.n_in, first.down.n_in}));
#pragma omp parallel
    {
#pragma omp for
        for (int64_t i = 0; i < n; i++)
            for (int64_t d = 0; d < width; d++) {
                x[i * width + d] = model.embedding[tokens[i] * width + d] * model.embedding_scale;
                if (model.positions) x[i * width + d] += model.positions[(place + i % n_each) * width + d];
            }
        for (int64_t l = 0; l < model.n_layers; l++) {
            const Layer& layer = model.layers[l];
            multiply(layer.qkv, x.data(), heads.data(), n, false, rounded);
            ATTEND[size / LANES - 1](model, layer.gains, heads.data(), cache[l], cache[model.n_layers + l],
                                     mixed.data(), fresh);
            multiply(layer.o, mixed.data(), x.data(), n, true, rounded);
            multiply(layer.up, x.data(), hidden.data(), n, false, rounded);
            multiply(layer.down, hidden.data(), x.data(), n, true, rounded);
        }
#pragma omp single
        for (int64_t text = 0; text < n_texts; text++)  // of each its last token
            std::memmove(&x[text * width], &x[(text * n_each + n_each - 1) * width], width * sizeof(float));
        multiply(model.lm_head, x.data(), logits, n_texts, false, rounded);
    }
}
