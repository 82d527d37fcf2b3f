// sum_parts.cu -- out = f(sum of the parts / N + b): the end of a sum that several blocks shared.
//
// A thread adds up one entry, part by part, in order.  Entry i has the bias i modulo `biases`.
#include "group.cuh"
#include "nonlinearity.cuh"

struct SumParts {
    const real* sums;
    const real* b;
    real* out;
    long long count;
    int parts, biases, f, N;
};

extern "C" __global__ void sum_parts(const Group<SumParts> group) {
    int block;
    const SumParts& p = group.mine(block);
    const long long i = (long long)block * blockDim.x + threadIdx.x;
    if (i >= p.count) return;
    real a = 0;
    for (int part = 0; part < p.parts; ++part) a += p.sums[part * p.count + i];
    a /= p.N;
    if (p.b) a += p.b[i % p.biases];
    p.out[i] = f_of(p.f, a);
}
