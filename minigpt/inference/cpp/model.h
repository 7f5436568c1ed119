// What a model is made of, as in native.py.

#pragma once

#include <cstdint>

enum Before : int64_t { NOTHING, RMS_NORM, LAYER_NORM, SWIGLU, GELU };

// Weights are tiles (outputs / 32, inputs / 4, 32, 4), filled up with weights of zero.
struct Matrix {
    const uint8_t* weights;      // 128 too large: the instruction wants one side without a sign
    const float *scales, *bias;  // one for each output
    Before before;               // what happens to a vector first
    int64_t width, n_in, n_out;  // numbers of the vector, of what is multiplied (a multiple of 4), of the product
    float epsilon;               // of a norm
};

struct Layer {
    Matrix qkv, o, up, down;
    const float* gains;  // of queries and keys (heads, size), times sqrt(d_head); or null
};

struct Model {
    int64_t n_layers, n_heads, n_kv_heads, d_head, d_model;
    float embedding_scale, epsilon;  // of the norm of queries and keys
    const float *embedding, *positions, *cosine, *sine;  // (tokens or places, d_model or size); all but the first or null
    const Layer* layers;
    Matrix lm_head;
};

struct NewTokens {  // which come after `place` others; the cache has room for `capacity`
    int64_t n_texts, n_each, place, capacity;
};
