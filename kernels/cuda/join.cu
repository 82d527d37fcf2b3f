// join.cu -- out[:, first : first + n] = part: one array's columns beside another's.
//
// A thread copies one number; neighbouring threads copy neighbours in a row.  Each part is a
// problem of its own, and one launch puts all of them in their places.
#include "group.cuh"

#define THREADS 256

struct Join {
    const real* part;
    real* out;
    int N, n;
    int first, width;                               // of out: the part's first column, all columns
};

extern "C" __global__ void join(const Group<Join> group) {
    int block;
    const Join& p = group.mine(block);
    const unsigned i = (unsigned)block * THREADS + threadIdx.x;
    if (i >= (unsigned)p.N * p.n) return;
    const unsigned row = i / p.n, column = i % p.n;
    p.out[(size_t)row * p.width + p.first + column] = p.part[i];
}
