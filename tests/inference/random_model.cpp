// Prints the bits of the logits of a small model with random weights, for processors that have no torch to test with.

#include <cstdio>
#include <deque>
#include <vector>

#include "step.cpp"

static uint64_t state = 1;

static uint32_t random_bits() {  // Knuth's MMIX generator
    state = state * 6364136223846793005u + 1442695040888963407u;
    return uint32_t(state >> 33);
}

static std::deque<std::vector<float>> numbers;
static std::deque<std::vector<uint8_t>> bytes;

static const float* random_numbers(int64_t n, float from, float to) {
    numbers.emplace_back(n);
    for (float& number : numbers.back()) number = from + (to - from) * float(random_bits() % 65536) / 65536;
    return numbers.back().data();
}

static Matrix random_matrix(int64_t n_out, int64_t n_in, Before before) {
    const int64_t n_rows = (n_out + OUTPUTS - 1) / OUTPUTS * OUTPUTS;
    bytes.emplace_back(n_rows * n_in);
    for (uint8_t& weight : bytes.back()) weight = uint8_t(1 + random_bits() % 255);
    const float *const scales = random_numbers(n_rows, 1e-3f, 2e-3f), *const bias = random_numbers(n_rows, -0.1f, 0.1f);
    return {bytes.back().data(), scales, bias, before, before == SWIGLU ? 2 * n_in : n_in, n_in, n_out, 1e-5f};
}

int main() {
    const int64_t n_heads = 4, n_kv_heads = 2, size = 48, width = 100, hidden = 120, vocab_size = 50;
    const int64_t n_texts = 5, n_prompt = 270, n_tokens = 275, capacity = 288;
    std::vector<Layer> layers;
    for (const Before norm : {RMS_NORM, LAYER_NORM})
        layers.push_back({random_matrix((n_heads + 2 * n_kv_heads) * size, width, norm),
                          random_matrix(width, n_heads * size, NOTHING),
                          random_matrix(norm == RMS_NORM ? 2 * hidden : hidden, width, norm),
                          random_matrix(width, hidden, norm == RMS_NORM ? SWIGLU : GELU),
                          random_numbers((n_heads + n_kv_heads) * size, 1, 4)});
    const float *const embedding = random_numbers(vocab_size * width, -1, 1);
    const float *const positions = random_numbers(capacity * width, -1, 1);
    const float *const cosine = random_numbers(capacity * size, -1, 1), *const sine = random_numbers(capacity * size, -1, 1);
    const Model model = {2, n_heads, n_kv_heads, size, width, 2.5f, 1e-5f, embedding, positions, cosine, sine, layers.data(),
                         random_matrix(vocab_size, width, RMS_NORM)};
    std::vector<std::vector<uint8_t>> kept(4, std::vector<uint8_t>(n_texts * n_kv_heads * capacity * (size + 4)));
    std::vector<uint8_t*> cache;
    for (auto& part : kept) cache.push_back(part.data());
    std::vector<float> logits(n_texts * vocab_size);
    for (int64_t place = 0; place < n_tokens;) {
        const int64_t n_new = place == 0 ? n_prompt : 1;
        std::vector<int64_t> tokens(n_texts * n_new);
        for (int64_t& token : tokens) token = random_bits() % vocab_size;
        next_logits(model, tokens.data(), cache.data(), logits.data(), n_texts, n_new, place, capacity, 2);
        place += n_new;
        for (const float logit : logits) {
            uint32_t bits;
            std::memcpy(&bits, &logit, sizeof bits);
            std::printf("%08x\n", bits);
        }
    }
}
