// update.cu -- a step of an optimiser: weights and their state move, in place.
//
// A thread moves SHARE entries, a pack of sixteen bytes at a time; neighbouring threads have
// neighbouring packs.  Every weight, its gradient and its state are read once and written once.
// The first thread computes what all of them need, while the others already read.
#include "pack.cuh"
#include "update.cuh"

#define THREADS 128
#define SHARE 4

struct Descend {
    Update update;
    const real* g;
    int n;
};

extern "C" __global__ void update(const Group<Descend> group) {
    __shared__ Rates shared;
    int block;
    const Descend& p = group.mine(block);
    const Update& u = p.update;
    const size_t n = p.n;
    const bool whole = aligned(u.w) && aligned(u.s1) && aligned(u.s2) && aligned(u.s3)
                       && aligned(p.g);
    if (threadIdx.x == 0) shared = rates(u);
    __syncthreads();
    const Rates r = shared;
#pragma unroll
    for (int pack = 0; pack < SHARE / PACK; ++pack) {
        const size_t i = (size_t)block * THREADS * SHARE + (pack * THREADS + threadIdx.x) * PACK;
        if (i >= n) break;
        const Pack g = load(p.g, i, n, whole);
        Pack w = load(u.w, i, n, whole), s1 = load(u.s1, i, n, whole);
        Pack s2 = load(u.s2, i, n, whole), s3 = load(u.s3, i, n, whole);
#pragma unroll
        for (int e = 0; e < PACK; ++e)
            move(u.kind, r, g.at[e], w.at[e], s1.at[e], s2.at[e], s3.at[e]);
        store(u.w, i, n, whole, w);
        store(u.s1, i, n, whole, s1);
        store(u.s2, i, n, whole, s2);
        store(u.s3, i, n, whole, s3);
    }
}
