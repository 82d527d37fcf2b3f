// Each instruction of device.cuh by itself, so that a GPU and the emulator can be asked the same.
#include "../kernels/cuda/device.cuh"

// bits[i] = x[i], rounded to tf32.
extern "C" __global__ void rounded(const float* x, unsigned* bits, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) bits[i] = to_tf32(x[i]);
}

// D += A B for A (16, 8), B (8, 8), by one warp.
extern "C" __global__ void multiplied(const float* A, const float* B, float* D) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    const unsigned a[4] = {to_tf32(A[g * 8 + t]), to_tf32(A[(g + 8) * 8 + t]),
                           to_tf32(A[g * 8 + t + 4]), to_tf32(A[(g + 8) * 8 + t + 4])};
    const unsigned b[2] = {to_tf32(B[t * 8 + g]), to_tf32(B[(t + 4) * 8 + g])};
    float d[4] = {D[g * 8 + 2 * t], D[g * 8 + 2 * t + 1], D[(g + 8) * 8 + 2 * t],
                  D[(g + 8) * 8 + 2 * t + 1]};
    mma_m16n8k8_tf32(d, a, b);
    D[g * 8 + 2 * t] = d[0], D[g * 8 + 2 * t + 1] = d[1];
    D[(g + 8) * 8 + 2 * t] = d[2], D[(g + 8) * 8 + 2 * t + 1] = d[3];
}

// Thread i copies BYTES bytes, of which the first wanted[i] are read; another writes them out.
extern "C" __global__ void copied(const unsigned char* x, const int* wanted, unsigned char* out) {
    __shared__ __align__(16) unsigned char kept[32 * BYTES];
    const int i = threadIdx.x, other = 31 - i;
    cp_async<BYTES>(kept + i * BYTES, x + i * BYTES, wanted[i]);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    for (int b = 0; b < BYTES; ++b) out[other * BYTES + b] = kept[other * BYTES + b];
}

// Two groups of copies: the first is waited for, then both.
extern "C" __global__ void two_groups(const int* x, int* out) {
    __shared__ int kept[2][32];
    const int i = threadIdx.x;
    cp_async<4>(&kept[0][i], x + i);
    cp_async_commit();
    cp_async<4>(&kept[1][i], x + 32 + i);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    out[i] = kept[0][31 - i];
    cp_async_wait<0>();
    __syncthreads();
    out[32 + i] = kept[1][31 - i];
}

// Twice: every block writes its part, and reads another's.
extern "C" __global__ void around(int* x, int* out, unsigned* bar, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    for (int turn = 0; turn < 2; ++turn) {
        if (i < n) x[i] = (turn + 1) * i;
        grid_sync(bar);
        if (i < n) out[turn * n + i] = x[n - 1 - i];
        grid_sync(bar);
    }
}
