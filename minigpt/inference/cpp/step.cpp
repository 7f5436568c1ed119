// A model for inference: token ids go in, the logits of the next token come out. All cores work on each part of it together.
// Every text is worked on by itself, so its numbers are the same whatever is decoded beside it.

#include <algorithm>
#include <cstring>
#include <memory>

#include "attention.h"
#include "matmul.h"
#include "model.h"
#include "threads.h"

// Logits (n_texts, tokens) of what comes after `tokens` (n_texts, n_each). cache: keys of each layer, then values of each,
// (n_texts, n_kv_heads, capacity * (size + 4) bytes).
extern "C" void next_logits(const Model& model, const int64_t* tokens, uint8_t* const* cache, float* logits,
                            int64_t n_texts, int64_t n_each, int64_t place, int64_t capacity, int64_t n_threads) {
    const NewTokens fresh = {n_texts, n_each, place, capacity};
    const int64_t n = n_texts * n_each, width = model.d_model, size = round_up(model.d_head);
    const Layer& first = model.layers[0];
    const std::unique_ptr<float[]> room(new float[n * (width + first.qkv.n_out + first.o.width + first.up.n_out)]);
    float *const x = room.get(), *const heads = x + n * width, *const mixed = heads + n * first.qkv.n_out;
    float* const hidden = mixed + n * first.o.width;
    Rounded rounded;
    rounded.resize(n, std::max({first.qkv.n_in, first.o.n_in, first.down.n_in}));
    work(n_threads, [&](const Worker& worker) {
        worker.share(n, [&](int64_t i) {
            for (int64_t d = 0; d < width; d++) {
                x[i * width + d] = model.embedding[tokens[i] * width + d] * model.embedding_scale;
                if (model.positions) x[i * width + d] += model.positions[(place + i % n_each) * width + d];
            }
        });
        worker.wait_for_others();
        for (int64_t l = 0; l < model.n_layers; l++) {
            const Layer& layer = model.layers[l];
            matmul(worker, layer.qkv, x, heads, n, false, rounded);
            const auto attend = ATTEND[size / LANES - 1];
            attend(worker, model, layer.gains, heads, cache[l], cache[model.n_layers + l], mixed, fresh);
            matmul(worker, layer.o, mixed, x, n, true, rounded);
            matmul(worker, layer.up, x, hidden, n, false, rounded);
            matmul(worker, layer.down, hidden, x, n, true, rounded);
        }
        if (worker.index == 0)
            for (int64_t text = 0; text < n_texts; text++)  // of each its last token
                std::memmove(x + text * width, x + (text * n_each + n_each - 1) * width, width * sizeof(float));
        worker.wait_for_others();
        matmul(worker, model.lm_head, x, logits, n_texts, false, rounded);
    });
}
