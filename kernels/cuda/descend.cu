// descend.cu -- dense_grad and the optimiser in one: W and b move by their gradients
//
//     dW = h^T delta / N      db = sum_n delta / N
//
// which are never stored.  A thread has the gradients of some entries in registers when it has
// finished its share of the tile, see dense_grad.cu; it reads those entries of W and of the
// optimiser's state, moves them, and writes them back.  What all entries need (Adam's powers) one
// thread computes while the first stages are on their way.
#define BESIDE (2 * sizeof(Rates))                  // what is shared besides the stages
#include "group.cuh"
#include "update.cuh"
#include "tile.cuh"

struct Descend { const real* h; const real* delta; Update W; Update b; int N, n_in, n_out; };

typedef Operand<BM, TM, false> Rows;                // h (N, n_in): its columns are the rows of h^T
typedef Operand<BN, TN, false> Columns;             // delta (N, n_out)
typedef Product<Rows, Columns> HDelta;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
descend(const Group<Descend> group) {
    __shared__ __align__(16) real pool[HDelta::POOL];
    __shared__ Rates W_rates;
    __shared__ Rates b_rates;
    int block;
    const Descend& p = group.mine(block);
    const Tile tile = tile_of(block, max(p.n_in, 1), p.n_out);
    const Rows h(p.h, p.N, p.n_in, tile.row);
    const Columns delta(p.delta, p.N, p.n_out, tile.column);
    const real share = real(1) / p.N;               // of an example; without any, the mean is NaN
    real g[EACH];
    real total[TN] = {};
    HDelta::start(h, delta, p.N, pool);
    if (threadIdx.x == 0) W_rates = rates(p.W);
    if (threadIdx.x == 32 % THREADS) b_rates = rates(p.b);
    HDelta::make(h, delta, p.N, pool, g, total, tile.row == 0);
    __syncthreads();                                // the rates are there, even if N = 0
#pragma unroll
    for (int x = 0; x < EACH; ++x) {
        const int i = tile.row + HDelta::row(x), j = tile.column + HDelta::column(x);
        if (i < p.n_in && j < p.n_out) update(p.W, W_rates, size_t(i) * p.n_out + j, g[x] * share);
    }
    if (tile.row > 0) return;                       // the whole block
    const real sum = HDelta::column_sum(total, pool);
    const int j = tile.column + threadIdx.x;
    if (threadIdx.x < BN && j < p.n_out) update(p.b, b_rates, j, sum * share);
}
