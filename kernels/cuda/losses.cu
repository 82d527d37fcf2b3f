// losses.cu -- softmax, its loss and its slope, and the squared error, row by row.
//
// One warp a row, four rows a block.  The 32 lanes walk the K numbers of their row in steps of 32,
// so that neighbouring lanes read neighbouring addresses; a row of at most 32 numbers is one step.
// Sums over a row are a fixed tree over the lanes, see warp.cuh.  A NaN anywhere in a row reaches
// the sum of the row's exponentials, and with it every number of the row.
#include "group.cuh"
#include "warp.cuh"

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

// The largest number of a row, which the exponentials do without: none can overflow.
__device__ __forceinline__ real largest(const real* a, int K) {
    real top = __int_as_float(0xff800000);          // minus infinity
    for (int k = threadIdx.x; k < K; k += 32) top = a[k] > top ? a[k] : top;
    return warp_max(top);
}

__device__ __forceinline__ real sum_exp(const real* a, int K, real top) {
    real total = 0;
    for (int k = threadIdx.x; k < K; k += 32) total += exp(a[k] - top);
    return warp_sum(total);
}

extern "C" __global__ void softmax(const Group<Softmax> group) {
    int block;
    const Softmax& s = group.mine(block);
    const int n = block * ROWS + threadIdx.y;
    if (n >= s.N) return;                           // a whole warp
    const real* a = s.a + (size_t)n * s.K;
    real* p = s.p + (size_t)n * s.K;
    const real top = largest(a, s.K);
    const real total = sum_exp(a, s.K, top);
    for (int k = threadIdx.x; k < s.K; k += 32) p[k] = exp(a[k] - top) / total;
}

// A label that there is not gives a NaN for a loss.
extern "C" __global__ void softmax_xent(const Group<SoftmaxXent> group) {
    int block;
    const SoftmaxXent& p = group.mine(block);
    const int n = block * ROWS + threadIdx.y;
    if (n >= p.N) return;
    const real* a = p.a + (size_t)n * p.K;
    real* delta = p.delta + (size_t)n * p.K;
    const long long y = p.y[n];
    const real top = largest(a, p.K);
    const real total = sum_exp(a, p.K, top);
    for (int k = threadIdx.x; k < p.K; k += 32)
        delta[k] = exp(a[k] - top) / total - real(k == y);
    if (threadIdx.x == 0)
        p.loss[n] = 0 <= y && y < p.K ? log(total) - (a[y] - top)
                                         : real(__int_as_float(0x7fc00000));
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
