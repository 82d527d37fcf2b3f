// The hardware's instructions, one kernel each: what kernels/cuda/device.cuh says they do.
#include "../kernels/cuda/device.cuh"

extern "C" __global__ void rounded(const float* x, unsigned* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = to_tf32(x[i]);
}

// One warp a product: D (16, 8) = C (16, 8) + A (16, 8) B (8, 8), each block its own.
extern "C" __global__ void product(const float* A, const float* B, const float* C, float* D) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    A += blockIdx.x * 128;
    B += blockIdx.x * 64;
    C += blockIdx.x * 128;
    D += blockIdx.x * 128;
    unsigned a[4];
    unsigned b[2];
    float d[4];
    for (int e = 0; e < 4; ++e) {
        a[e] = to_tf32(A[(g + e % 2 * 8) * 8 + t + e / 2 * 4]);
        d[e] = C[(g + e / 2 * 8) * 8 + 2 * t + e % 2];
    }
    for (int e = 0; e < 2; ++e) b[e] = to_tf32(B[(t + e * 4) * 8 + g]);
    mma_m16n8k8_tf32(d, a, b);
    for (int e = 0; e < 4; ++e) D[(g + e / 2 * 8) * 8 + 2 * t + e % 2] = d[e];
}

// Every thread copies two pieces of PIECE bytes, of the second only `some`, in a group each, and
// waits for the first, then for both.
extern "C" __global__ void copied(const unsigned char* x, unsigned char* out, int some) {
    __shared__ __align__(16) unsigned char first[32 * PIECE];
    __shared__ __align__(16) unsigned char second[32 * PIECE];
    const int at = threadIdx.x * PIECE;
    cp_async<PIECE>(first + at, x + at);
    cp_async_commit();
    cp_async<PIECE>(second + at, x + 32 * PIECE + at, some);
    cp_async_commit();
    cp_async_wait<1>();
    for (int i = 0; i < PIECE; ++i) out[at + i] = first[at + i];
    cp_async_wait<0>();
    __syncthreads();
    const int next = (threadIdx.x + 1) % 32 * PIECE;             // another thread's copy
    for (int i = 0; i < PIECE; ++i) out[32 * PIECE + next + i] = second[next + i];
}
