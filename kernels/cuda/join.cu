// join.cu -- out[:, first : first + n] = [a, b, c, d]: arrays side by side, as columns of another.
//
// A thread copies one number; neighbouring threads copy neighbours in a row of `out`.  Parts that
// there are not have no columns.
#include "group.cuh"

#define THREADS 256

struct Join {
    const real* a;
    const real* b;
    const real* c;
    const real* d;
    real* out;
    int n_a, n_b, n_c, n_d;                         // their columns
    int N, width;                                   // rows; columns of `out`
    int first;                                      // where a goes
};

extern "C" __global__ void join(const Group<Join> group) {
    int block;
    const Join& p = group.mine(block);
    const unsigned columns = p.n_a + p.n_b + p.n_c + p.n_d;
    const unsigned i = (unsigned)block * THREADS + threadIdx.x;
    if (i >= p.N * columns) return;
    const unsigned row = i / columns, column = i % columns;
    const real* part = p.a;
    int n = p.n_a, j = column;
    if (j >= n) j -= n, part = p.b, n = p.n_b;      // in the part at hand no more is true
    if (j >= n) j -= n, part = p.c, n = p.n_c;
    if (j >= n) j -= n, part = p.d, n = p.n_d;
    p.out[(size_t)row * p.width + p.first + column] = part[(size_t)row * n + j];
}
