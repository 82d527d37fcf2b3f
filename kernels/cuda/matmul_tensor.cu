// matmul_tensor.cu -- the last rung of the ladder in matmul.cu: C = A B by tensor cores.
//
//     TENSOR 1    tf32: a mantissa of 10 bits, errors of 1e-3
//     TENSOR 3    each number as a sum of two: three products for one, and errors like a float's
#ifndef BM
#define BM 128
#define BN 128
#define BK 16
#define TM 8
#define TN 8
#define SPLIT 1
#define STAGES 3
#endif
#ifndef TENSOR
#define TENSOR 3
#endif
#include "tile.cuh"

typedef Operand<BM, TM, true> Rows;
typedef Operand<BN, TN, false> Columns;
typedef Product<Rows, Columns> AB;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) tensor(const real* A, const real* B,
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
