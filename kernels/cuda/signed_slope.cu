// signed_slope.cu -- s = sign [h != 0]: which units speak, and of which class they are; or e s.
//
// A thread an entry; neighbouring threads have neighbouring units.  An e may be as h, (K, N,
// n_out), or have one number for all units of a network: unit k of example n in network c finds it
// `network` c + `row` n + `unit` k further on, so that a loss's (N, K) is read as it lies.
#include "group.cuh"

#define THREADS 256

struct SignedSlope {
    const real* e;                                  // none: e is 1
    const real* h;
    const real* sign;
    real* s;
    int n, N, n_out;                                // numbers in all, examples, units
    int network, row, unit;
};

extern "C" __global__ void signed_slope(const Group<SignedSlope> group) {
    int block;
    const SignedSlope& p = group.mine(block);
    const unsigned i = unsigned(block) * THREADS + threadIdx.x;
    if (i >= p.n) return;
    const unsigned line = i / p.n_out, k = i - line * p.n_out;
    const real s = p.sign[k] * real(p.h[i] != 0);
    if (!p.e) {
        p.s[i] = s;
        return;
    }
    const unsigned c = line / p.N, n = line - c * p.N;
    p.s[i] = s * p.e[size_t(c) * p.network + size_t(n) * p.row + k * p.unit];
}
