// The sums that a block's 256 threads hold in registers while image_product.cuh feeds them tiles.
//
// TENSOR: a warp makes a quarter of the block's tile from half of its terms, in m16n8k8 products of
// the tensor cores; the halves are added at the end.  Tensor cores take numbers of 11 bits (tf32).
// So each float is split in two, x = hi + lo, and lo hi + hi lo + hi hi is summed in floats: three
// products, and about the accuracy of float.  (An infinite x leaves NaN: its lo is inf - inf.)
//
// Otherwise a thread makes TM x TN of the tile, multiplying and adding.
//
// Both hand out their sums two neighbouring columns at a time.
#pragma once

constexpr int THREADS = 256;
#if __CUDA_ARCH__ >= 900
constexpr int RESIDENT = 2;                          // blocks that a multiprocessor shall hold
#else
constexpr int RESIDENT = 1;                          // there, two would spill registers
#endif

#ifdef TENSOR
constexpr int WM = BM / 2, WN = BN / 2;              // a warp's rows and columns
constexpr int MI = WM / 16, NI = WN / 8;             // of products
static_assert(BK == 16, "two halves of eight terms");

struct Sums {
    float c[MI][NI][4];

    __device__ Sums() : c{} {}

    // The terms of the half, and the corner of the part, that this warp makes.
    static __device__ int half() { return threadIdx.x / 128 * 8; }
    static __device__ int row() { return threadIdx.x / 32 % 2 * WM; }
    static __device__ int column() { return threadIdx.x / 64 % 2 * WN; }

    // hi is x rounded to 11 bits; of lo the tensor cores take the first 11.  Of a NaN lo is NaN.
    static __device__ void split(float x, unsigned& hi, unsigned& lo) {
        hi = (__float_as_uint(x) + 0x1000u) & 0xffffe000u;
        lo = __float_as_uint(x - __uint_as_float(hi));
    }

    template <class A, class B> __device__ void add(const float* a, const float* b) {
        const int g = threadIdx.x % 32 / 4, k = half() + threadIdx.x % 4;
        unsigned bh[NI][2], bl[NI][2];
#pragma unroll
        for (int j = 0; j < NI; ++j)
#pragma unroll
            for (int e = 0; e < 2; ++e)
                split(b[B::offset(column() + 8 * j, g, k + 4 * e)], bh[j][e], bl[j][e]);
#pragma unroll
        for (int i = 0; i < MI; ++i) {
            unsigned ah[4], al[4];
#pragma unroll
            for (int e = 0; e < 4; ++e)
                split(a[A::offset(row() + 16 * i + e % 2 * 8, g, k + e / 2 * 4)], ah[e], al[e]);
#pragma unroll
            for (int j = 0; j < NI; ++j) mma_m16n8k8_tf32(c[i][j], al, bh[j]);
#pragma unroll
            for (int j = 0; j < NI; ++j) mma_m16n8k8_tf32(c[i][j], ah, bl[j]);
#pragma unroll
            for (int j = 0; j < NI; ++j) mma_m16n8k8_tf32(c[i][j], ah, bh[j]);
        }
    }

    // The second half's sums go to the first, through BM BN numbers where the tiles were.
    __device__ void gathered(float* tiles) {
        float* mine = tiles + threadIdx.x % 128;
        __syncthreads();                             // all have done with the tiles
        if (half())
            for_all([&](int at, float& sum) { mine[128 * at] = sum; });
        __syncthreads();
        if (!half())
            for_all([&](int at, float& sum) { sum += mine[128 * at]; });
    }

    template <class Take> __device__ void for_all(Take take) {
#pragma unroll
        for (int i = 0; i < MI; ++i)
#pragma unroll
            for (int j = 0; j < NI; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e) take((i * NI + j) * 4 + e, c[i][j][e]);
    }

    // take(row, column, sum, sum of the next column) for this thread's sums, once gathered.
    template <class Take> __device__ void each(Take take) const {
        if (half()) return;
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
        for (int i = 0; i < MI; ++i)
#pragma unroll
            for (int j = 0; j < NI; ++j)
#pragma unroll
                for (int e = 0; e < 2; ++e)
                    take(row() + 16 * i + g + 8 * e, column() + 8 * j + 2 * t, c[i][j][2 * e],
                         c[i][j][2 * e + 1]);
    }
};

#else
constexpr int TM = 4, TN = BM * BN / TM / THREADS;
constexpr int ACROSS = BN / TN, DOWN = BM / TM;      // threads of a tile
static_assert(TN % 2 == 0, "columns go out in pairs");

struct Sums {
    real c[TM][TN];

    __device__ Sums() : c{} {}

    static __device__ int row(int i) { return threadIdx.x / ACROSS + i * DOWN; }
    static __device__ int column(int j) {
        return threadIdx.x % ACROSS * 2 + j / 2 * 2 * ACROSS + j % 2;
    }

    template <class A, class B> __device__ void add(const real* a, const real* b) {
#pragma unroll 4
        for (int k = 0; k < BK; ++k) {
            real down[TM], across[TN];
#pragma unroll
            for (int i = 0; i < TM; ++i) down[i] = a[A::offset(row(i) / 8 * 8, row(i) % 8, k)];
#pragma unroll
            for (int j = 0; j < TN; ++j)
                across[j] = b[B::offset(column(j) / 8 * 8, column(j) % 8, k)];
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j) c[i][j] += down[i] * across[j];
        }
    }

    __device__ void gathered(real*) {}

    // take(row, column, sum, sum of the next column) for this thread's sums.
    template <class Take> __device__ void each(Take take) const {
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int j = 0; j < TN; j += 2) take(row(i), column(j), c[i][j], c[i][j + 1]);
    }
};
#endif
