// sums.cu -- out[r, c] = sum_j x[r row + c column + j step]: sums over an axis, wherever it lies.
//
//     a class's units         out (N, K) of h (K, N, n)
//     all networks            out (N, n) of e (K, N, n); times f'(h), the slope of what they share
//     no sum, a transpose     out (K, N) of beta (N, K), one term each
//
// A thread adds up one number of out, in order.
#include "group.cuh"
#include "nonlinearity.cuh"

#define THREADS 128

struct Sums {
    const real* x;
    const real* h;                                  // none: no slope
    real* out;
    int rows, columns, terms;
    int row, column, step;
    int f;
};

extern "C" __global__ void sums(const Group<Sums> group) {
    int block;
    const Sums& p = group.mine(block);
    const unsigned i = unsigned(block) * THREADS + threadIdx.x;
    const unsigned r = i / p.columns, c = i - r * p.columns;
    if (r >= p.rows) return;
    const real* x = p.x + size_t(r) * p.row + size_t(c) * p.column;
    real sum = 0;
    for (int j = 0; j < p.terms; ++j) sum += x[size_t(j) * p.step];
    p.out[i] = p.h ? sum * slope_of(p.f, p.h[i]) : sum;
}
