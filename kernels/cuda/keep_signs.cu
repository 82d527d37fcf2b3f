// keep_signs.cu -- w = sign max(0, sign w): a weight of the wrong sign becomes 0, in place.
//
// A thread a weight; neighbouring threads have neighbouring units.
#include "group.cuh"
#include "signs.cuh"

#define THREADS 256

struct KeepSigns {
    real* W;
    const real* sign;
    int n, n_out;
};

extern "C" __global__ void keep_signs(const Group<KeepSigns> group) {
    int block;
    const KeepSigns& p = group.mine(block);
    const unsigned i = unsigned(block) * THREADS + threadIdx.x;
    if (i < p.n) p.W[i] = of_sign(p.W[i], p.sign[i % p.n_out]);
}
