// tile.cuh -- C = A B, a tile of C to a block: what dense, pull_back, dense_grad, descend, target
// and reconstruct have in common.  They differ in how A and B lie in memory and in what they do
// with a number of C once it is known.
//
//     C[m, n] = sum_k A[m, k] B[k, n]
//
// A block makes BM rows x BN columns of C.  It walks along k, BK at a time: a stage holds that much
// of A and B in shared memory, as it lies in global memory, and while one stage is multiplied the
// next ones, STAGES in all, are on their way.  Where C has few tiles, SPLIT slices of threads share
// one tile: each takes its part of every stage, and in the end their sums are added up, in order.
//
// What a stage is filled with is told in operand.cuh; how it is multiplied, in registers.cuh (TM x
// TN numbers of C by a thread) and tensor.cuh (32 TM TN of them by a warp, on a tensor core).
#pragma once
#include "device.cuh"

#ifndef BM
#define BM 64
#define BN 64
#define BK 16
#define TM 4
#define TN 4
#define SPLIT 1
#define STAGES 3
#endif
#ifndef BLOCKS
#define BLOCKS 1                                    // that a multiprocessor has room for
#endif
#ifndef TENSOR
#define TENSOR 0                                    // 1: tf32; 3: three of them, as good as float
#endif
#ifndef BESIDE
#define BESIDE 0                                    // bytes that the kernel shares besides
#endif

constexpr int TX = BN / TN, TY = BM / TM;           // threads across and down a tile
constexpr int SLICE = TX * TY;                      // threads that make a tile once
constexpr int THREADS = SLICE * SPLIT;
constexpr int EACH = BM * BN / THREADS;             // numbers of C that a thread finishes
constexpr int SHARED = (48 * 1024 - BESIDE) / sizeof(real);     // numbers that a block may keep

#include "operand.cuh"
#if TENSOR
#include "tensor.cuh"
#else
#include "registers.cuh"
#endif

template <class A, class B> struct Product {
    typedef Multiply<A, B> Way;
    static constexpr int STAGE = A::SIZE + B::SIZE;
    static constexpr int KEPT = STAGES * STAGE > SHARED ? SHARED / STAGE : STAGES;  // stages
    static constexpr int SUMS = SPLIT > 1 ? SPLIT * BM * Way::PITCH : 0;
    static constexpr int POOL = KEPT * STAGE > SUMS ? KEPT * STAGE : SUMS;  // numbers to be shared
    static_assert(KEPT > 1 && POOL <= SHARED, "tile: too large for shared memory");

    // The x-th number of C that this thread finishes: its row and column in the tile.
    static __device__ __forceinline__ int row(int x) {
        return SPLIT > 1 ? (threadIdx.x + x * THREADS) / BN : Way::row(x);
    }
    static __device__ __forceinline__ int column(int x) {
        return SPLIT > 1 ? (threadIdx.x + x * THREADS) % BN : Way::column(x);
    }

    // Sends for the first stages.  What a thread can do by itself may be done before `make`.
    static __device__ __forceinline__ void start(const A& a, const B& b, int k, real* pool) {
#pragma unroll
        for (int s = 0; s < KEPT - 1; ++s) {
            if (s * BK < k) begin(a, b, s, pool);
            cp_async_commit();
        }
    }

    // The tile's numbers, each in the thread that finishes it.  With `summing`, `total` is what
    // this thread has seen of the sums over k of columns of B.
    static __device__ __forceinline__ void make(const A& a, const B& b, int k, real* pool,
                                                real (&value)[EACH], real (&total)[TN],
                                                bool summing) {
        real sum[TM * TN] = {};
        const int steps = (k + BK - 1) / BK;
        for (int s = 0; s < steps; ++s) {
            cp_async_wait<KEPT - 2>();
            __syncthreads();        // stage s is here, and the stage before is no longer read
            if (s + KEPT - 1 < steps) begin(a, b, s + KEPT - 1, pool);
            cp_async_commit();
            const real* stage = pool + s % KEPT * STAGE;
            Way::multiply(stage, stage + A::SIZE, sum, total, summing);
        }
        gather(sum, pool, value);
    }

    static __device__ __forceinline__ void make(const A& a, const B& b, int k, real* pool,
                                                real (&value)[EACH]) {
        real unused[TN];
        make(a, b, k, pool, value, unused, false);
    }

    static __device__ __forceinline__ void begin(const A& a, const B& b, int s, real* pool) {
        real* stage = pool + s % KEPT * STAGE;
        a.copy(stage, s * BK);
        b.copy(stage + A::SIZE, s * BK);
    }

    // The slices' sums added up.
    static __device__ __forceinline__ void gather(const real (&sum)[TM * TN], real* pool,
                                                  real (&value)[EACH]) {
        if (SPLIT == 1) {
#pragma unroll
            for (int x = 0; x < EACH; ++x) value[x] = sum[x % (TM * TN)];
            return;
        }
        __syncthreads();            // the last stage is no longer read
        real* mine = pool + threadIdx.x / SLICE * BM * Way::PITCH;
#pragma unroll
        for (int x = 0; x < TM * TN; ++x) mine[Way::row(x) * Way::PITCH + Way::column(x)] = sum[x];
        __syncthreads();            // all sums are there
#pragma unroll
        for (int x = 0; x < EACH; ++x) {
            value[x] = 0;
#pragma unroll
            for (int s = 0; s < SPLIT; ++s)
                value[x] += pool[(s * BM + row(x)) * Way::PITCH + column(x)];
        }
    }

    // The sum over k of column threadIdx.x of the tile, from everyone's `total`.
    static __device__ __forceinline__ real column_sum(const real (&total)[TN], real* pool) {
        __syncthreads();            // whatever is in the pool is no longer read
        Way::put_totals(total, pool);
        __syncthreads();            // all totals are there
        real sum = 0;
        if (threadIdx.x < BN)
            for (int i = 0; i < Way::TOTALS; ++i) sum += pool[i * BN + threadIdx.x];
        return sum;
    }
};

// A block's tile: first row and column.  Tiles are taken in strips of 8 rows of them, so that the
// blocks that run at the same time look at little of B and keep it in the cache.  Divisions take a
// tenth of a microsecond, so there are no more than it takes.
struct Tile { int row, column; };

__device__ __forceinline__ Tile tile_of(unsigned block, int rows, int columns) {
    const unsigned high = (unsigned(rows) + BM - 1) / BM, wide = (unsigned(columns) + BN - 1) / BN;
    const unsigned top = high <= 8 ? 0 : block / (8 * wide) * 8;
    const unsigned strip = min(8u, high - top), left = block - top * wide;
    const unsigned column = strip == 8 ? left / 8 : left / strip;
    return {int(top + left - column * strip) * BM, int(column) * BN};
}
