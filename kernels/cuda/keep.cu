// keep.cu -- out[first + n] = loss[n]: each example's loss to where an epoch collects them.
//
// A thread a loss.  `first` is a counter, so that a replayed step writes behind the last one.
#include "group.cuh"

#define THREADS 128

struct Keep {
    const real* loss;
    real* out;
    Count first;
    int N, room;                                    // numbers that `out` holds
};

extern "C" __global__ void keep(const Group<Keep> group) {
    int block;
    const Keep& p = group.mine(block);
    const int n = block * THREADS + threadIdx.x;
    const long long at = p.first.value() + n;
    if (n < p.N && at < p.room) p.out[at] = p.loss[n];
}
