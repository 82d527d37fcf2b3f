// signed_grad.cu -- dW = h^T delta / N and db = sum_n delta / N in each of K networks.
//
// As dense_grad.cu, but that a block first finds its network: k is the example, and the blocks of
// the first rows of dW add up the columns of delta as they pass through.
#include "group.cuh"
#include "tile.cuh"

struct SignedGrad {
    const real* h;
    const real* delta;
    real* dW;
    real* db;
    int N, n_in, n_out;
    int tiles;                                      // of one network
    int common;                                     // h is (N, n_in), not (K, N, n_in)
};

typedef Operand<BM, TM, false> Rows;                // h (N, n_in): its columns are the rows of h^T
typedef Operand<BN, TN, false> Columns;             // delta (N, n_out)
typedef Product<Rows, Columns> HDelta;

extern "C" __global__ void __launch_bounds__(THREADS) signed_grad(const Group<SignedGrad> group) {
    __shared__ __align__(16) real pool[HDelta::POOL];
    int block;
    const SignedGrad& p = group.mine(block);
    const Tile tile = tile_of(block % p.tiles, p.n_in, p.n_out);
    const size_t network = block / p.tiles, seen = p.common ? 0 : network;
    const Rows h(p.h + seen * p.N * p.n_in, p.N, p.n_in, tile.row);
    const Columns delta(p.delta + network * p.N * p.n_out, p.N, p.n_out, tile.column);
    real* dW = p.dW + network * p.n_in * p.n_out;
    const real share = real(1) / p.N;               // of an example; without any, the mean is NaN
    real g[EACH];
    real total[TN] = {};
    HDelta::start(h, delta, p.N, pool);
    HDelta::make(h, delta, p.N, pool, g, total, tile.row == 0);
#pragma unroll
    for (int x = 0; x < EACH; ++x) {
        const int i = tile.row + HDelta::row(x), j = tile.column + HDelta::column(x);
        if (i < p.n_in && j < p.n_out) dW[size_t(i) * p.n_out + j] = g[x] * share;
    }
    if (tile.row > 0) return;                       // the whole block
    const real sum = HDelta::column_sum(total, pool);
    const int j = tile.column + threadIdx.x;
    if (threadIdx.x < BN && j < p.n_out) p.db[network * p.n_out + j] = sum * share;
}
