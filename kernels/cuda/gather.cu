// gather.cu -- out[n] = rows[order[first + n]]: a batch out of a data set that lies on the device.
//
// One warp a row, four rows a block.  A lane has FLIGHT packs of its row under way at a time, for
// what a row costs is waiting for memory.  `first` is a counter, so that a replayed step takes the
// batch behind the last one.  Labels, one integer a row, go with them if there are any.
#include "group.cuh"
#include "pack.cuh"

#define ROWS 4
#define FLIGHT 8

struct Gather {
    const real* rows;
    const long long* labels;
    const long long* order;
    Count first;
    real* out;
    long long* y;
    int N, n;
};

extern "C" __global__ void gather(const Group<Gather> group) {
    int block;
    const Gather& p = group.mine(block);
    const int row = block * ROWS + threadIdx.y;
    if (row >= p.N) return;
    const long long from = p.order[p.first.value() + row];
    if (p.labels && threadIdx.x == 0) p.y[row] = p.labels[from];
    const size_t n = p.n;
    const real* x = p.rows + from * n;
    real* out = p.out + row * n;
    const bool whole = aligned(x) && aligned(out);
    for (size_t first = threadIdx.x * PACK; first < n; first += FLIGHT * 32 * PACK) {
        Pack packs[FLIGHT];
#pragma unroll
        for (int j = 0; j < FLIGHT; ++j) packs[j] = load(x, first + j * 32 * PACK, n, whole);
#pragma unroll
        for (int j = 0; j < FLIGHT; ++j) store(out, first + j * 32 * PACK, n, whole, packs[j]);
    }
}
