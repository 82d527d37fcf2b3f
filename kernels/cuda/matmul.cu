// matmul.cu -- the ladder: C = A B, from its definition to the tile that we compute with.
//
//     naive       a thread a number, straight from its definition; a warp's threads are in 32 rows
//     coalesced   a warp's threads are in one row: they read B and write C side by side
//     shared      a block copies 32 x 32 of A and of B to shared memory; each number is read from
//                 global memory once by a block, and used 32 times
//     registers   64 x 64 numbers a block, 4 x 4 a thread: 8 reads of shared memory for 16 products
//     quads       reads and copies of four numbers at a time; the next stage is fetched while this
//                 one is multiplied
//     warps       tile.cuh, as dense.cu uses it: 8 x 8 a thread (64 products for 16 reads), threads
//                 of a warp close together, copies that need no registers
//     tensor      tensor.cuh: tensor cores, see matmul_tensor.cu
//
// Each rung adds one idea to the one above; all are called alike, with A (m, k), B (k, n), C (m, n)
// in C order, and find the same numbers up to rounding.  Nothing else uses the first five.
// `python -m benchmarks.gpu_products` shows what each idea is worth on a device.
#ifndef BM
#define BM (sizeof(real) == 4 ? 128 : 64)
#define BN BM
#define BK 16
#define TM (sizeof(real) == 4 ? 8 : 4)
#define TN TM
#define SPLIT 1
#define STAGES 2
#endif
#include "tile.cuh"

// One thread, one number; threadIdx.x counts rows, so a warp reads 32 lines of A at once.
extern "C" __global__ void naive(const real* A, const real* B, real* C, int m, int n, int k) {
    const int row = blockIdx.x * 32 + threadIdx.x, column = blockIdx.y * 8 + threadIdx.y;
    if (row >= m || column >= n) return;
    real sum = 0;
    for (int i = 0; i < k; ++i) sum += A[size_t(row) * k + i] * B[size_t(i) * n + column];
    C[size_t(row) * n + column] = sum;
}

// The same with threadIdx.x counting columns.
extern "C" __global__ void coalesced(const real* A, const real* B, real* C, int m, int n, int k) {
    const int row = blockIdx.y * 8 + threadIdx.y, column = blockIdx.x * 32 + threadIdx.x;
    if (row >= m || column >= n) return;
    real sum = 0;
    for (int i = 0; i < k; ++i) sum += A[size_t(row) * k + i] * B[size_t(i) * n + column];
    C[size_t(row) * n + column] = sum;
}

// One thread, one number, from tiles that its block of 32 x 32 threads has put side by side.
extern "C" __global__ void shared(const real* A, const real* B, real* C, int m, int n, int k) {
    __shared__ real a[32][32];
    __shared__ real b[32][32];
    const int x = threadIdx.x, y = threadIdx.y;
    const int row = blockIdx.y * 32 + y, column = blockIdx.x * 32 + x;
    real sum = 0;
    for (int k0 = 0; k0 < k; k0 += 32) {
        a[y][x] = row < m && k0 + x < k ? A[size_t(row) * k + k0 + x] : real(0);
        b[y][x] = k0 + y < k && column < n ? B[size_t(k0 + y) * n + column] : real(0);
        __syncthreads();                            // the tiles are there
        for (int i = 0; i < 32; ++i) sum += a[y][i] * b[i][x];
        __syncthreads();                            // and no longer read
    }
    if (row < m && column < n) C[size_t(row) * n + column] = sum;
}

// One thread, 4 x 4 numbers, 16 apart; a block of 256 threads, 64 x 64.
extern "C" __global__ void __launch_bounds__(256) registers(const real* A, const real* B, real* C,
                                                            int m, int n, int k) {
    __shared__ real a[16][65];                  // A's tile transposed; the 65th keeps 16 threads
    __shared__ real b[16][64];                  // that store a line out of each other's banks
    const int x = threadIdx.x % 16, y = threadIdx.x / 16;
    const int top = blockIdx.y * 64, left = blockIdx.x * 64;
    real sum[4][4] = {};
    for (int k0 = 0; k0 < k; k0 += 16) {
        for (int e = threadIdx.x; e < 64 * 16; e += 256) {
            const int row = top + e / 16, i = k0 + e % 16;
            a[e % 16][e / 16] = row < m && i < k ? A[size_t(row) * k + i] : real(0);
        }
        for (int e = threadIdx.x; e < 16 * 64; e += 256) {
            const int i = k0 + e / 64, column = left + e % 64;
            b[e / 64][e % 64] = i < k && column < n ? B[size_t(i) * n + column] : real(0);
        }
        __syncthreads();                            // the tiles are there
#pragma unroll
        for (int i = 0; i < 16; ++i)
#pragma unroll
            for (int r = 0; r < 4; ++r)
#pragma unroll
                for (int c = 0; c < 4; ++c) sum[r][c] += a[i][y + 16 * r] * b[i][x + 16 * c];
        __syncthreads();                            // and no longer read
    }
#pragma unroll
    for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            const int row = top + y + 16 * r, column = left + x + 16 * c;
            if (row < m && column < n) C[size_t(row) * n + column] = sum[r][c];
        }
}

// Four numbers from memory, zeros past an edge; at once, if they lie at such a place.
__device__ __forceinline__ Quad four(const real* M, int row, int column, int rows, int columns) {
    Quad q = {};
    const real* from = M + size_t(row) * columns + column;
    if (row >= rows) return q;
    if (columns % 4 == 0 && column < columns) return *reinterpret_cast<const Quad*>(from);
    if (column < columns) q.x = from[0];
    if (column + 1 < columns) q.y = from[1];
    if (column + 2 < columns) q.z = from[2];
    if (column + 3 < columns) q.w = from[3];
    return q;
}

// One thread, 4 x 4 numbers side by side.  Two stages: the copies for one are on their way, in
// registers, while the other is multiplied.
extern "C" __global__ void __launch_bounds__(256) quads(const real* A, const real* B, real* C,
                                                        int m, int n, int k) {
    __shared__ __align__(16) real a[2][16][68];
    __shared__ __align__(16) real b[2][16][64];
    const int t = threadIdx.x, x = t % 16 * 4, y = t / 16 * 4;
    const int top = blockIdx.y * 64, left = blockIdx.x * 64;
    real sum[4][4] = {};
    Quad next_a = four(A, top + t / 4, t % 4 * 4, m, k);
    Quad next_b = four(B, t / 16, left + x, k, n);
    int now = 0;
    for (int k0 = 0; k0 < k; k0 += 16, now ^= 1) {
        a[now][t % 4 * 4][t / 4] = next_a.x, a[now][t % 4 * 4 + 1][t / 4] = next_a.y;
        a[now][t % 4 * 4 + 2][t / 4] = next_a.z, a[now][t % 4 * 4 + 3][t / 4] = next_a.w;
        *reinterpret_cast<Quad*>(&b[now][t / 16][x]) = next_b;
        __syncthreads();                            // this stage is there, the last no longer read
        next_a = four(A, top + t / 4, k0 + 16 + t % 4 * 4, m, k);
        next_b = four(B, k0 + 16 + t / 16, left + x, k, n);
#pragma unroll
        for (int i = 0; i < 16; ++i) {
            const Quad p = *reinterpret_cast<const Quad*>(&a[now][i][y]);
            const Quad q = *reinterpret_cast<const Quad*>(&b[now][i][x]);
            const real p4[4] = {p.x, p.y, p.z, p.w}, q4[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
            for (int r = 0; r < 4; ++r)
#pragma unroll
                for (int c = 0; c < 4; ++c) sum[r][c] += p4[r] * q4[c];
        }
    }
#pragma unroll
    for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c)
            if (top + y + r < m && left + x + c < n)
                C[size_t(top + y + r) * n + left + x + c] = sum[r][c];
}

// 8 x 8 numbers a thread, 128 x 128 a block of a grid of one dimension: dense.cu undressed.
typedef Operand<BM, TM, true> Rows;
typedef Operand<BN, TN, false> Columns;
typedef Product<Rows, Columns> AB;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) warps(const real* A, const real* B,
                                                                    real* C, int m, int n, int k) {
    __shared__ __align__(16) real pool[AB::POOL];
    const Tile tile = tile_of(blockIdx.x, m, n);
    const Rows rows(A, m, k, tile.row);
    const Columns columns(B, k, n, tile.column);
    real value[EACH];
    AB::start(rows, columns, k, pool);
    AB::make(rows, columns, k, pool, value);
#pragma unroll
    for (int x = 0; x < EACH; ++x) {
        const int row = tile.row + AB::row(x), column = tile.column + AB::column(x);
        if (row < m && column < n) C[size_t(row) * n + column] = value[x];
    }
}
