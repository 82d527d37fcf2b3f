// philox.cuh -- random numbers as a pure function of their key (philox4x32-10, Salmon et al. 2011).
//
// A counter goes in, four words come out; nothing is kept between two calls, so any thread can
// compute any part of a sequence.  The same integers as kernels.reference.philox, bit for bit.
#pragma once
#include "group.cuh"

struct Key {
    unsigned long long seed;
    unsigned place;                                 // stream << 16 | layer
    Count step;
};

struct alignas(16) Words { unsigned at[4]; };

// Four words: block `block` of the sequence that the key names; `step` is the value of its counter.
__device__ __forceinline__ Words philox_words(const Key& key, long long step, unsigned block) {
    unsigned c0 = block, c1 = key.place;
    unsigned c2 = (unsigned)step, c3 = (unsigned)((unsigned long long)step >> 32);
    unsigned k0 = (unsigned)key.seed, k1 = (unsigned)(key.seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned long long p0 = 0xD2511F53ull * c0;       // 32 x 32 -> 64 bits
        const unsigned long long p1 = 0xCD9E8D57ull * c2;
        c0 = (unsigned)(p1 >> 32) ^ c1 ^ k0;
        c1 = (unsigned)p1;
        c2 = (unsigned)(p0 >> 32) ^ c3 ^ k1;
        c3 = (unsigned)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// u in (0, 1), both ends excluded: (k + 1/2) / 2^23, exact in either precision.
__device__ __forceinline__ real unit(unsigned word) {
    return (real(word >> 9) + real(0.5)) * real(1.0 / 8388608);
}

// cos(2 pi u) and sin(2 pi u): in half turns, so that nothing is lost before the sine is taken.
__device__ __forceinline__ void turn(float u, float& cosine, float& sine) {
    sincospif(2 * u, &sine, &cosine);
}
__device__ __forceinline__ void turn(double u, double& cosine, double& sine) {
    sincospi(2 * u, &sine, &cosine);
}

// Box and Muller's two standard normal numbers from two uniform ones, twice.
__device__ __forceinline__ void normal_numbers(const Words& words, real (&z)[4]) {
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
        const real r = sqrt(-2 * log(unit(words.at[i])));
        real cosine, sine;
        turn(unit(words.at[i + 1]), cosine, sine);
        z[i] = r * cosine;
        z[i + 1] = r * sine;
    }
}
