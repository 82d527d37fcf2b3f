// gather.cu -- out[n] = rows[order[first + n]]: a batch out of a data set that lies on the device.
//
// One warp a row, four rows a block.  `first` is a counter, so that a replayed step takes the batch
// after the last one.  Labels, one integer a row, go with them if there are any.
#include "group.cuh"
#include "pack.cuh"

#define ROWS 4

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
    const size_t n = p.n;
    const real* x = p.rows + from * n;
    real* out = p.out + row * n;
    const bool whole = aligned(x) && aligned(out);
    for (size_t i = threadIdx.x * PACK; i < n; i += 32 * PACK)
        store(out, i, n, whole, load(x, i, n, whole));
    if (p.labels && threadIdx.x == 0) p.y[row] = p.labels[from];
}
