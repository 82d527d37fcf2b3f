// coherent.cu -- the signed operations of coherent networks, K of them side by side.
//
//     signed_dense      h' = sign max(0, h W + b)
//     signed_slope      s = sign [h != 0]
//     signed_pull_back  e = delta W^T                 and influence, which is the same of gates
//     signed_grad       dW = h^T delta / N, db = sum_n delta / N
//
// A block of 16 x 16 threads makes one 32 x 32 tile of one network's product, a thread 2 x 2 of it,
// DEEP steps of the sum at a time from shared memory.  A matrix is read along its rows, whichever
// way round it enters the product, so that neighbouring threads read neighbouring addresses.
#include "group.cuh"

#define TILE 32
#define DEEP 16
#define SIDE 16                                     // threads each way
#define THREADS (SIDE * SIDE)

struct SignedDense {
    const real* h;
    const real* W;
    const real* b;
    const real* sign;
    real* out;
    int N, n_in, n_out;
    int common;                                     // every network sees the same h, (N, n_in)
};

struct SignedSlope {
    const real* h;
    const real* sign;
    real* s;
    int n, n_out;
};

struct SignedPullBack {
    const real* delta;
    const real* W;
    real* e;
    int N, n_in, n_out;
};

struct SignedGrad {
    const real* h;
    const real* delta;
    real* dW;
    real* db;
    int N, n_in, n_out;
    int common;
};

// Which tile of which network a block makes.
struct Place { int network, row, column; };

__device__ __forceinline__ Place place(int block, int m, int n) {
    const int across = (n + TILE - 1) / TILE, down = (m + TILE - 1) / TILE;
    const int tile = block % (across * down);
    return {block / (across * down), tile / across * TILE, tile % across * TILE};
}

// Rows row .. row + 31 and steps k0 .. k0 + 15 of M into tile[step][row]; 0 where there is no more.
// M is (rows, steps), or (steps, rows) if it lies ALONG the steps of the sum.
template <bool ALONG>
__device__ __forceinline__ void fetch(const real* M, int rows, int steps, int row, int k0,
                                      real (&tile)[DEEP][TILE + 1]) {
    for (int i = threadIdx.x; i < DEEP * TILE; i += THREADS) {
        const int r = ALONG ? i % TILE : i / DEEP, k = ALONG ? i / TILE : i % DEEP;
        const bool there = row + r < rows && k0 + k < steps;
        const size_t at = ALONG ? (size_t)(k0 + k) * rows + row + r
                                : (size_t)(row + r) * steps + k0 + k;
        tile[k][r] = there ? M[at] : real(0);
    }
}

// sum[i][j] = row i of A times column j of B, for this thread's two rows and two columns:
// rows row + y + {0, 16} of A and columns column + x + {0, 16} of B.
template <bool A_ALONG, bool B_ALONG>
__device__ __forceinline__ void product(const real* A, const real* B, int m, int n, int steps,
                                        const Place& p, real (&sum)[2][2], real (&columns)[2]) {
    __shared__ real a[DEEP][TILE + 1];
    __shared__ real b[DEEP][TILE + 1];
    const int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;
    for (int k0 = 0; k0 < steps; k0 += DEEP) {
        fetch<A_ALONG>(A, m, steps, p.row, k0, a);
        fetch<B_ALONG>(B, n, steps, p.column, k0, b);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEEP; ++k)
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                const real v = b[k][x + j * SIDE];
                sum[0][j] += a[k][y] * v;
                sum[1][j] += a[k][y + SIDE] * v;
                columns[j] += v;
            }
        __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
signed_dense(const Group<SignedDense> group) {
    int block;
    const SignedDense& p = group.mine(block);
    const Place at = place(block, p.N, p.n_out);
    const size_t c = at.network;
    real sum[2][2] = {}, unused[2] = {};
    product<false, true>(p.h + (p.common ? 0 : c * p.N * p.n_in), p.W + c * p.n_in * p.n_out,
                         p.N, p.n_out, p.n_in, at, sum, unused);
    const int x = at.column + threadIdx.x % SIDE, y = at.row + threadIdx.x / SIDE;
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int row = y + i * SIDE, column = x + j * SIDE;
            if (row >= p.N || column >= p.n_out) continue;
            const real v = sum[i][j] + p.b[c * p.n_out + column];
            p.out[(c * p.N + row) * p.n_out + column] = p.sign[column] * (v < 0 ? real(0) : v);
        }
}

extern "C" __global__ void signed_slope(const Group<SignedSlope> group) {
    int block;
    const SignedSlope& p = group.mine(block);
    const size_t i = (size_t)block * THREADS + threadIdx.x;
    if (i < p.n) p.s[i] = p.sign[i % p.n_out] * real(p.h[i] != 0);
}

extern "C" __global__ void __launch_bounds__(THREADS)
signed_pull_back(const Group<SignedPullBack> group) {
    int block;
    const SignedPullBack& p = group.mine(block);
    const Place at = place(block, p.N, p.n_in);
    const size_t c = at.network;
    real sum[2][2] = {}, unused[2] = {};
    product<false, false>(p.delta + c * p.N * p.n_out, p.W + c * p.n_in * p.n_out,
                          p.N, p.n_in, p.n_out, at, sum, unused);
    const int x = at.column + threadIdx.x % SIDE, y = at.row + threadIdx.x / SIDE;
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int row = y + i * SIDE, column = x + j * SIDE;
            if (row < p.N && column < p.n_in) p.e[(c * p.N + row) * p.n_in + column] = sum[i][j];
        }
}

// The topmost tiles, which have all of delta's rows go by, also add these up.
extern "C" __global__ void __launch_bounds__(THREADS)
signed_grad(const Group<SignedGrad> group) {
    int block;
    const SignedGrad& p = group.mine(block);
    const Place at = place(block, p.n_in, p.n_out);
    const size_t c = at.network;
    real sum[2][2] = {}, columns[2] = {};
    product<true, true>(p.h + (p.common ? 0 : c * p.N * p.n_in), p.delta + c * p.N * p.n_out,
                        p.n_in, p.n_out, p.N, at, sum, columns);
    const int x = at.column + threadIdx.x % SIDE, y = at.row + threadIdx.x / SIDE;
    const real N = p.N;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
        const int column = x + j * SIDE;
        if (column >= p.n_out) continue;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int row = y + i * SIDE;
            if (row < p.n_in) p.dW[(c * p.n_in + row) * p.n_out + column] = sum[i][j] / N;
        }
        if (at.row + threadIdx.x / SIDE == 0) p.db[c * p.n_out + column] = columns[j] / N;
    }
}
