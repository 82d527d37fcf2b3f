// signed_slope.cu -- s = sign [h != 0]: which units speak, and of which class they are.
//
// A thread an entry; neighbouring threads have neighbouring units.
#include "group.cuh"

#define THREADS 256

struct SignedSlope {
    const real* h;
    const real* sign;
    real* s;
    int n, n_out;
};

extern "C" __global__ void signed_slope(const Group<SignedSlope> group) {
    int block;
    const SignedSlope& p = group.mine(block);
    const unsigned i = unsigned(block) * THREADS + threadIdx.x;
    if (i < p.n) p.s[i] = p.sign[i % p.n_out] * real(p.h[i] != 0);
}
