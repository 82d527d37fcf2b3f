// The sums that a block's threads hold in registers while image_product.cuh feeds them tiles.
//
// TENSOR: each warp makes 32 x 32 of C in m16n8k8 products of the tensor cores, which take numbers of
// 11 bits (tf32).  Each float is split in two such, x = hi + lo, and lo hi + hi lo + hi hi is summed
// in float: three products for the accuracy of one in float.
// Otherwise each thread makes 4 x 8 of C by multiplying and adding.
#pragma once

#ifdef TENSOR
constexpr int THREADS = BM / 32 * (BN / 32) * 32;

struct Sums {
    float c[2][4][4];

    __device__ Sums() : c{} {}

    // The row and column of the corner of this warp's part.
    static __device__ int row() { return threadIdx.x / 32 % (BM / 32) * 32; }
    static __device__ int column() { return threadIdx.x / 32 / (BM / 32) * 32; }

    static __device__ void split(float x, unsigned& hi, unsigned& lo) {
        hi = to_tf32(x);
        lo = to_tf32(x - __uint_as_float(hi));
    }

    template <class A, class B> __device__ void add(const float* a, const float* b) {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
        for (int k = 0; k < BK; k += 8) {
            unsigned ah[2][4], al[2][4], bh[4][2], bl[4][2];
#pragma unroll
            for (int i = 0; i < 2; ++i)
#pragma unroll
                for (int e = 0; e < 4; ++e)
                    split(a[A::offset(row() + 16 * i + g + e % 2 * 8, k + t + e / 2 * 4)],
                          ah[i][e], al[i][e]);
#pragma unroll
            for (int j = 0; j < 4; ++j)
#pragma unroll
                for (int e = 0; e < 2; ++e)
                    split(b[B::offset(column() + 8 * j + g, k + t + e * 4)], bh[j][e], bl[j][e]);
            multiply(al, bh);
            multiply(ah, bl);
            multiply(ah, bh);
        }
    }

    __device__ void multiply(const unsigned (&a)[2][4], const unsigned (&b)[4][2]) {
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) mma_m16n8k8_tf32(c[i][j], a[i], b[j]);
    }

    // take(row, column, sum) for every sum of this thread, counted from the tile's corner.
    template <class Take> __device__ void each(Take take) const {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
        for (int i = 0; i < 2; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e)
                    take(row() + 16 * i + g + e / 2 * 8, column() + 8 * j + 2 * t + e % 2,
                         c[i][j][e]);
    }
};

#else
constexpr int TM = 4, TN = 8;
constexpr int ACROSS = BN / TN, DOWN = BM / TM;      // threads of a tile
constexpr int THREADS = ACROSS * DOWN;

struct Sums {
    real c[TM][TN];

    __device__ Sums() : c{} {}

    template <class A, class B> __device__ void add(const real* a, const real* b) {
        const int x = threadIdx.x % ACROSS, y = threadIdx.x / ACROSS;
#pragma unroll 4
        for (int k = 0; k < BK; ++k) {
            real row[TM], column[TN];
#pragma unroll
            for (int i = 0; i < TM; ++i) row[i] = a[A::offset(y + i * DOWN, k)];
#pragma unroll
            for (int j = 0; j < TN; ++j) column[j] = b[B::offset(x + j * ACROSS, k)];
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j) c[i][j] += row[i] * column[j];
        }
    }

    // take(row, column, sum) for every sum of this thread, counted from the tile's corner.
    template <class Take> __device__ void each(Take take) const {
        const int x = threadIdx.x % ACROSS, y = threadIdx.x / ACROSS;
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int j = 0; j < TN; ++j) take(y + i * DOWN, x + j * ACROSS, c[i][j]);
    }
};
#endif
