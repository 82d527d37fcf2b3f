// dense_grad.cu -- dW = h^T delta / N and db = sum_n delta / N, a tile of dW to a block.
//
// k is the example: h^T is h, read as it lies, and so is delta.  The blocks of the first rows of dW
// add up the columns of delta as they pass through: nobody reads delta a second time.
#include "group.cuh"
#include "tile.cuh"

struct DenseGrad { const real* h; const real* delta; real* dW; real* db; int N, n_in, n_out; };

typedef Operand<BM, TM, false> Rows;                // h (N, n_in): its columns are the rows of h^T
typedef Operand<BN, TN, false> Columns;             // delta (N, n_out)
typedef Product<Rows, Columns> HDelta;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
dense_grad(const Group<DenseGrad> group) {
    __shared__ __align__(16) real pool[HDelta::POOL];
    int block;
    const DenseGrad& p = group.mine(block);
    const Tile tile = tile_of(block, max(p.n_in, 1), p.n_out);
    const Rows h(p.h, p.N, p.n_in, tile.row);
    const Columns delta(p.delta, p.N, p.n_out, tile.column);
    const real share = real(1) / p.N;               // of an example; without any, the mean is NaN
    real g[EACH];
    real total[TN] = {};
    HDelta::start(h, delta, p.N, pool);
    HDelta::make(h, delta, p.N, pool, g, total, tile.row == 0);
#pragma unroll
    for (int x = 0; x < EACH; ++x) {
        const int i = tile.row + HDelta::row(x), j = tile.column + HDelta::column(x);
        if (i < p.n_in && j < p.n_out) p.dW[size_t(i) * p.n_out + j] = g[x] * share;
    }
    if (tile.row > 0) return;                       // the whole block
    const real sum = HDelta::column_sum(total, pool);
    const int j = tile.column + threadIdx.x;
    if (threadIdx.x < BN && j < p.n_out) p.db[j] = sum * share;
}
