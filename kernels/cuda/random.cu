// random.cu -- random integers, uniform and normal numbers of a key, and arrays plus noise.
//
// A thread computes one philox block: four words, and what is made of them, which are neighbours.
// See philox.cuh for the key and the numbers.
#include "pack.cuh"
#include "philox.cuh"

#define THREADS 128

struct Integers {
    Key key;
    unsigned* out;
    int n;
};

struct Uniform {
    Key key;
    real* out;
    int n;
};

struct Normal {                                     // out = h + sigma z, or z where there is no h
    Key key;
    const real* h;
    Number sigma;
    real* out;
    int n;
};

extern "C" __global__ void integers(const Group<Integers> group) {
    int block;
    const Integers& p = group.mine(block);
    const unsigned mine = block * THREADS + threadIdx.x;
    const size_t i = (size_t)mine * 4, n = p.n;
    if (i >= n) return;
    const Words words = philox_words(p.key, p.key.step.value(), mine);
    if (i + 4 <= n && aligned(p.out)) {
        *reinterpret_cast<Words*>(p.out + i) = words;
        return;
    }
    for (int e = 0; e < 4 && i + e < n; ++e) p.out[i + e] = words.at[e];
}

extern "C" __global__ void uniform(const Group<Uniform> group) {
    int block;
    const Uniform& p = group.mine(block);
    const unsigned mine = block * THREADS + threadIdx.x;
    const size_t first = (size_t)mine * 4, n = p.n;
    if (first >= n) return;
    const Words words = philox_words(p.key, p.key.step.value(), mine);
#pragma unroll
    for (int e = 0; e < 4; e += PACK) {
        Pack out;
#pragma unroll
        for (int j = 0; j < PACK; ++j) out.at[j] = unit(words.at[e + j]);
        if (first + e < n) store(p.out, first + e, n, aligned(p.out), out);
    }
}

extern "C" __global__ void normal(const Group<Normal> group) {
    int block;
    const Normal& p = group.mine(block);
    const unsigned mine = block * THREADS + threadIdx.x;
    const size_t first = (size_t)mine * 4, n = p.n;
    if (first >= n) return;
    const bool whole = aligned(p.h) && aligned(p.out);
    const real sigma = p.sigma.value();
    real z[4];
    normal_numbers(philox_words(p.key, p.key.step.value(), mine), z);
#pragma unroll
    for (int e = 0; e < 4; e += PACK) {
        if (first + e >= n) break;
        const Pack h = load(p.h, first + e, n, whole);
        Pack out;
#pragma unroll
        for (int j = 0; j < PACK; ++j) out.at[j] = p.h ? h.at[j] + sigma * z[e + j] : z[e + j];
        store(p.out, first + e, n, whole, out);
    }
}
