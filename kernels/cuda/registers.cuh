// registers.cuh -- a stage multiplied number by number: TM x TN sums of a thread in its registers.
//
// For each k a thread reads TM + TN numbers and does TM TN products with them, four k at a time, so
// that it can read quads whichever way the operands lie.  Slice s takes every SPLIT-th quad of k.
#pragma once

constexpr int WARP_X = TX < 8 ? TX : 8;             // a warp is up to 8 threads wide and so reads
constexpr int WARP_Y = 32 / WARP_X;                 // few quads of A and few of B

// Which thread of its slice this is, across and down the tile.
__device__ __forceinline__ int across() {
    const int t = threadIdx.x % SLICE;
    return t / 32 % (TX / WARP_X) * WARP_X + t % WARP_X;
}
__device__ __forceinline__ int down() {
    const int t = threadIdx.x % SLICE;
    return t / 32 / (TX / WARP_X) * WARP_Y + t % 32 / WARP_X;
}

template <class A, class B> struct Multiply {
    static constexpr int TOTALS = SPLIT;
    static constexpr int PITCH = BN + (B::DEEP ? BN / 4 : 0);   // of slices' sums: other banks

    // Of a thread's x-th sum, in the tile.
    static __device__ __forceinline__ int row(int x) { return A::place(down(), x / TN); }
    static __device__ __forceinline__ int column(int x) { return B::place(across(), x % TN); }

    // sum[x] += this slice's share of the stage; total[c] is of a thread's column c.
    static __device__ __forceinline__ void multiply(const real* stage_a, const real* stage_b,
                                                    real (&sum)[TM * TN], real (&total)[TN],
                                                    bool summing) {
#pragma unroll
        for (int i = 0; i < BK / 4 / SPLIT; ++i) {
            const int q = i * SPLIT + threadIdx.x / SLICE;
            real a[4][TM];
            real b[4][TN];
            A::fetch(stage_a, q, down(), a);
            B::fetch(stage_b, q, across(), b);
#pragma unroll
            for (int k = 0; k < 4; ++k)
#pragma unroll
                for (int r = 0; r < TM; ++r)
#pragma unroll
                    for (int c = 0; c < TN; ++c) sum[r * TN + c] += a[k][r] * b[k][c];
            if (summing)
#pragma unroll
                for (int c = 0; c < TN; ++c) total[c] += b[0][c] + b[1][c] + b[2][c] + b[3][c];
        }
    }

    static __device__ __forceinline__ void put_totals(const real (&total)[TN], real* pool) {
        if (down() == 0)
#pragma unroll
            for (int c = 0; c < TN; ++c) pool[threadIdx.x / SLICE * BN + column(c)] = total[c];
    }
};
