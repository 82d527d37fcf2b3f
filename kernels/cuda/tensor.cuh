// tensor.cuh -- a stage multiplied by tensor cores, 16 x 8 sums of a warp at a time.
//
// A tensor core takes tf32: floats whose mantissa is cut to 10 bits.  TENSOR 1 does just that.
// TENSOR 3 writes each number as the sum of two of them, x = high + low, and computes
//
//     a b  =  a_high b_high + a_high b_low + a_low b_high          (+ a_low b_low < 2^-22 a b)
//
// three products for one, each at many times the speed of floats; and a warp reads a number of A or
// B from shared memory a quarter as often.  A tensor core also rounds its sums towards zero, which
// adds up over a long k: after 8 k they are added to ordinary floats.
//
// A warp has FI x FJ fragments of C.  Those of a warp row are not next to each other: fragment i of
// warp row w is number i WARPS_DOWN + w from the top, so that the first and second half of a
// thread's numbers are in the upper and lower half of the tile.  Slice s takes every SPLIT-th 8 k.
#pragma once

constexpr int FI = TM / 2, FJ = TN / 2;             // TM TN numbers of a thread, four in a fragment
constexpr int WARPS_DOWN = BM / (16 * FI), WARPS_ACROSS = BN / (8 * FJ);
static_assert(SLICE == 32 * WARPS_DOWN * WARPS_ACROSS && BK % (8 * SPLIT) == 0, "tensor: tile");

template <class A, class B> struct Multiply {
    static constexpr int TOTALS = THREADS / BN;
    static constexpr int PITCH = BN + 8;            // of slices' sums: rows in other banks
    static_assert(TOTALS > 0 && BK % TOTALS == 0, "tensor: columns");

    // Of a thread's x-th sum, in the tile.  Lane l has two columns from 2 (l % 4) on in rows l / 4
    // and l / 4 + 8 of a fragment, see device.cuh.
    static __device__ __forceinline__ int row(int x) {
        return row_of(x / (4 * FJ)) + x % 4 / 2 * 8;
    }
    static __device__ __forceinline__ int column(int x) {
        return first_column() + x / 4 % FJ * 8 + threadIdx.x % 4 * 2 + x % 2;
    }
    static __device__ __forceinline__ int row_of(int i) {
        const int warp_row = threadIdx.x % SLICE / 32 / WARPS_ACROSS;
        return (i * WARPS_DOWN + warp_row) * 16 + threadIdx.x % 32 / 4;
    }
    static __device__ __forceinline__ int first_column() {
        return threadIdx.x / 32 % WARPS_ACROSS * 8 * FJ;
    }

    // sum[x] += this slice's share of the stage; total[0] is of column threadIdx.x % BN.
    static __device__ __forceinline__ void multiply(const real* stage_a, const real* stage_b,
                                                    real (&sum)[TM * TN], real (&total)[TN],
                                                    bool summing) {
#pragma unroll
        for (int step = 0; step < BK / 8 / SPLIT; ++step) {
            const int k = 8 * (step * SPLIT + threadIdx.x / SLICE);
            unsigned high[FJ][2];
            unsigned low[FJ][2];
#pragma unroll
            for (int j = 0; j < FJ; ++j)
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const int n = first_column() + j * 8 + threadIdx.x % 32 / 4;
                    const float b = number<B>(stage_b, n, k + threadIdx.x % 4 + 4 * e);
                    parts(b, high[j][e], low[j][e]);
                }
#pragma unroll
            for (int i = 0; i < FI; ++i) row_of_fragments(stage_a, k, i, high, low, sum);
        }
        if (!summing || threadIdx.x >= TOTALS * BN) return;
        constexpr int SHARE = BK / TOTALS;
#pragma unroll
        for (int k = 0; k < SHARE; ++k)
            total[0] += number<B>(stage_b, threadIdx.x % BN, threadIdx.x / BN * SHARE + k);
    }

    // FJ fragments of C, from one of A and those of B.
    static __device__ __forceinline__ void row_of_fragments(
        const real* stage, int k, int i, const unsigned (&high)[FJ][2],
        const unsigned (&low)[FJ][2], real (&sum)[TM * TN]) {
        unsigned a_high[4];
        unsigned a_low[4];
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int m = row_of(i) + e % 2 * 8;
            parts(number<A>(stage, m, k + threadIdx.x % 4 + e / 2 * 4), a_high[e], a_low[e]);
        }
        float c[FJ][4] = {};
        if (TENSOR == 3) {
#pragma unroll
            for (int j = 0; j < FJ; ++j) mma_m16n8k8_tf32(c[j], a_low, high[j]);
#pragma unroll
            for (int j = 0; j < FJ; ++j) mma_m16n8k8_tf32(c[j], a_high, low[j]);
        }
#pragma unroll
        for (int j = 0; j < FJ; ++j) mma_m16n8k8_tf32(c[j], a_high, high[j]);
#pragma unroll
        for (int x = 0; x < 4 * FJ; ++x) sum[4 * FJ * i + x] += c[x / 4][x % 4];
    }

    // A stage's number in row or column `at`, for one k.
    template <class X>
    static __device__ __forceinline__ real number(const real* stage, int at, int k) {
        return X::DEEP ? stage[X::spot(at, k)] : stage[X::spot(k, at)];
    }

    static __device__ __forceinline__ void parts(float x, unsigned& high, unsigned& low) {
        high = to_tf32(x);
        low = __float_as_uint(x - __uint_as_float(high));
    }

    static __device__ __forceinline__ void put_totals(const real (&total)[TN], real* pool) {
        if (threadIdx.x < TOTALS * BN) pool[threadIdx.x] = total[0];
    }
};
