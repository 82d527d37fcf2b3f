// each.cu -- out[i] = what(x[i], y[i], z[i], s): arithmetic entry by entry.
//
// A thread computes SHARE entries, a pack of sixteen bytes at a time; neighbouring threads have
// neighbouring packs.  What is computed is a number of the problem and not of the compilation, so
// that one launch serves layers with different nonlinearities: the branch is the same for a whole
// block, and the kernel waits for memory anyhow.
#include "group.cuh"
#include "pack.cuh"

#define THREADS 128
#define SHARE 4

enum What {                                         // in the order of pointwise.py
    COPY, ADD, SUBTRACT, MULTIPLY, SHIFT, SCALE, AWAY, AXPY, DIFFERENCE, SIGNS, TANH_SLOPE,
    RELU_SLOPE, LINEAR_MISS, TANH_MISS, RELU_MISS
};

struct Each {
    const real* x;
    const real* y;
    const real* z;
    real* out;
    Number s;
    int what;
    int n;
};

// A NaN is no sign and stays one.
__device__ __forceinline__ real sign(real x) { return x > 0 ? real(1) : x < 0 ? real(-1) : x; }

__device__ real one(int what, real x, real y, real z, real s) {
    switch (what) {
    case ADD: return x + y;
    case SUBTRACT: return x - y;
    case MULTIPLY: return x * y;
    case SHIFT: return x + s;
    case SCALE: return s * x;
    case AWAY: return s - x;
    case AXPY: return x + s * y;
    case DIFFERENCE: return x + (y - z);            // y == z gives x, bit for bit
    case SIGNS: return x * sign(y);
    case TANH_SLOPE: return x * (1 - y * y);
    case RELU_SLOPE: return x * real(y > 0);        // not a choice: NaN 0 is NaN
    case LINEAR_MISS: return x - y;                 // (h - h_hat) f'(h), f' a function of h
    case TANH_MISS: return (x - y) * (1 - x * x);
    case RELU_MISS: return (x - y) * real(x > 0);
    default: return x;
    }
}

extern "C" __global__ void each(const Group<Each> group) {
    int block;
    const Each& p = group.mine(block);
    const size_t n = p.n;
    const bool whole = aligned(p.x) && aligned(p.y) && aligned(p.z) && aligned(p.out);
    const real s = p.s.value();
#pragma unroll
    for (int pack = 0; pack < SHARE / PACK; ++pack) {
        const size_t i = (size_t)block * THREADS * SHARE + (pack * THREADS + threadIdx.x) * PACK;
        if (i >= n) continue;
        const Pack x = load(p.x, i, n, whole);
        const Pack y = load(p.y, i, n, whole);
        const Pack z = load(p.z, i, n, whole);
        Pack out;
#pragma unroll
        for (int e = 0; e < PACK; ++e) out.at[e] = one(p.what, x.at[e], y.at[e], z.at[e], s);
        store(p.out, i, n, whole, out);
    }
}
