// losses.cu -- softmax, its loss and its slope, and the squared error, row by row.
//
// One warp a row, four rows a block.  The 32 lanes walk the K numbers of their row in steps of 32,
// so that neighbouring lanes read neighbouring addresses.  A lane keeps the first KEEP of its
// numbers in registers: a row of at most 32 KEEP is read once, and each exponential computed once.
// Sums over a row are a fixed tree over the lanes, see warp.cuh.  A NaN anywhere in a row reaches
// the sum of the row's exponentials, and with it every number of the row.
#include "group.cuh"
#include "warp.cuh"

#ifndef KEEP
#define KEEP 1
#endif
#define ROWS 4

struct Softmax {
    const real* a;
    real* p;
    int N, K;
};

struct SoftmaxXent {
    const real* a;
    const long long* y;
    real* loss;
    real* delta;
    real* p;                                        // softmax(a), if wanted
    real* goal;                                     // p - step delta, if wanted
    Number step;
    int N, K;
};

struct SoftmaxSlope {
    const real* e;
    const real* h;
    real* delta;
    int N, K;
};

struct SquaredError {
    const real* a;
    const real* y;
    real* loss;
    real* delta;
    int N, K;
};

// The largest of a row, without which no exponential can overflow; `row` gets what a lane keeps,
// and minus infinity, which has no exponential, past the end.
__device__ __forceinline__ real largest(const real* a, int K, real (&row)[KEEP]) {
    real top = __int_as_float(0xff800000);
#pragma unroll
    for (int i = 0; i < KEEP; ++i) {
        const int k = threadIdx.x + 32 * i;
        row[i] = k < K ? a[k] : real(__int_as_float(0xff800000));
        top = row[i] > top ? row[i] : top;
    }
    for (int k = threadIdx.x + 32 * KEEP; k < K; k += 32) top = a[k] > top ? a[k] : top;
    return warp_max(top);
}

// The sum of a row's exponentials; `row` becomes those that the lane keeps.
__device__ __forceinline__ real sum_exp(const real* a, int K, real top, real (&row)[KEEP]) {
    real total = 0;
#pragma unroll
    for (int i = 0; i < KEEP; ++i) total += row[i] = exp(row[i] - top);
    for (int k = threadIdx.x + 32 * KEEP; k < K; k += 32) total += exp(a[k] - top);
    return warp_sum(total);
}

extern "C" __global__ void softmax(const Group<Softmax> group) {
    int block;
    const Softmax& s = group.mine(block);
    const int n = block * ROWS + threadIdx.y;
    if (n >= s.N) return;                           // a whole warp
    const real* a = s.a + (size_t)n * s.K;
    real* p = s.p + (size_t)n * s.K;
    real row[KEEP];
    const real top = largest(a, s.K, row), total = sum_exp(a, s.K, top, row);
#pragma unroll
    for (int i = 0; i < KEEP; ++i)
        if (threadIdx.x + 32 * i < s.K) p[threadIdx.x + 32 * i] = row[i] / total;
    for (int k = threadIdx.x + 32 * KEEP; k < s.K; k += 32) p[k] = exp(a[k] - top) / total;
}

// What becomes of one probability.
__device__ __forceinline__ void put(const SoftmaxXent& p, real step, size_t at, real chance,
                                    bool right) {
    const real delta = chance - real(right);
    p.delta[at] = delta;
    if (p.p) p.p[at] = chance;
    if (p.goal) p.goal[at] = chance - step * delta;
}

// A label that there is not gives a NaN for a loss.
extern "C" __global__ void softmax_xent(const Group<SoftmaxXent> group) {
    int block;
    const SoftmaxXent& p = group.mine(block);
    const int n = block * ROWS + threadIdx.y;
    if (n >= p.N) return;
    const size_t first = (size_t)n * p.K;
    const real* a = p.a + first;
    const real step = p.goal ? p.step.value() : real(0);
    const long long y = p.y[n];                     // on its way while the row is
    const bool there = 0 <= y && y < p.K;
    const real logit = there ? a[y] : real(__int_as_float(0x7fc00000));
    real row[KEEP];
    const real top = largest(a, p.K, row), total = sum_exp(a, p.K, top, row);
#pragma unroll
    for (int i = 0; i < KEEP; ++i) {
        const int k = threadIdx.x + 32 * i;
        if (k < p.K) put(p, step, first + k, row[i] / total, k == y);
    }
    for (int k = threadIdx.x + 32 * KEEP; k < p.K; k += 32)
        put(p, step, first + k, exp(a[k] - top) / total, k == y);
    if (threadIdx.x == 0) p.loss[n] = log(total) - (logit - top);
}

// delta = h (e - <e, h>): an error at h = softmax(a), times the Jacobian.
extern "C" __global__ void softmax_slope(const Group<SoftmaxSlope> group) {
    int block;
    const SoftmaxSlope& p = group.mine(block);
    const int n = block * ROWS + threadIdx.y;
    if (n >= p.N) return;
    const real* e = p.e + (size_t)n * p.K;
    const real* h = p.h + (size_t)n * p.K;
    real* delta = p.delta + (size_t)n * p.K;
    real inner = 0;
    for (int k = threadIdx.x; k < p.K; k += 32) inner += e[k] * h[k];
    inner = warp_sum(inner);
    for (int k = threadIdx.x; k < p.K; k += 32) delta[k] = h[k] * (e[k] - inner);
}

extern "C" __global__ void squared_error(const Group<SquaredError> group) {
    int block;
    const SquaredError& p = group.mine(block);
    const int n = block * ROWS + threadIdx.y;
    if (n >= p.N) return;
    const size_t row = (size_t)n * p.K;
    real total = 0;
    for (int k = threadIdx.x; k < p.K; k += 32) {
        const real miss = p.a[row + k] - p.y[row + k];
        p.delta[row + k] = miss;
        total += miss * miss;
    }
    total = warp_sum(total);
    if (threadIdx.x == 0) p.loss[n] = total / 2;
}
