// update.cu -- a step of an optimiser: weights and their state move, in place.
//
// A thread moves SHARE entries, a pack of sixteen bytes at a time; neighbouring threads have
// neighbouring packs.  Every weight, its gradient and its state are read once and written once.
// While they are on their way the first thread computes what all of them need.
#include "pack.cuh"
#include "update.cuh"

#define THREADS 128
#define SHARE 4

constexpr int PACKS = SHARE / PACK;                 // of a thread

struct Descend {
    Update update;
    const real* g;
    int n;
};

// Where pack j of this thread begins.
__device__ __forceinline__ size_t first(int block, int j) {
    return (size_t)block * THREADS * SHARE + (j * THREADS + threadIdx.x) * PACK;
}

extern "C" __global__ void update(const Group<Descend> group) {
    __shared__ Rates shared;
    int block;
    const Descend& p = group.mine(block);
    const Update& u = p.update;
    const size_t n = p.n;
    const bool whole = aligned(u.w) && aligned(u.s1) && aligned(u.s2) && aligned(u.s3)
                       && aligned(p.g);
    Pack g[PACKS];
    Pack w[PACKS];
    Pack s1[PACKS];
    Pack s2[PACKS];
    Pack s3[PACKS];
#pragma unroll
    for (int j = 0; j < PACKS; ++j) {
        const size_t i = first(block, j);
        g[j] = load(p.g, i, n, whole);
        w[j] = load(u.w, i, n, whole);
        s1[j] = load(u.s1, i, n, whole);
        s2[j] = load(u.s2, i, n, whole);
        s3[j] = load(u.s3, i, n, whole);
    }
    if (threadIdx.x == 0) shared = rates(u);
    __syncthreads();                                // the rates are there
    const Rates r = shared;
#pragma unroll
    for (int j = 0; j < PACKS; ++j) {
        const size_t i = first(block, j);
#pragma unroll
        for (int e = 0; e < PACK; ++e)
            move(u.kind, r, g[j].at[e], w[j].at[e], s1[j].at[e], s2[j].at[e], s3[j].at[e]);
        store(u.w, i, n, whole, w[j]);
        store(u.s1, i, n, whole, s1[j]);
        store(u.s2, i, n, whole, s2[j]);
        store(u.s3, i, n, whole, s3[j]);
    }
}
