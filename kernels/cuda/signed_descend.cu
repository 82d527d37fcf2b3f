// signed_descend.cu -- signed_grad, the optimiser and keep_signs in one, in each of K networks:
//
//     dW = h^T delta / N      db = sum_n delta / N        are taken into W and b, and never stored
//     W = sign max(0, sign W)                             if there is a sign to keep
//
// As descend.cu, but that a block first finds its network, and with it where in W and b it is.
#define BESIDE (2 * sizeof(Rates))                  // what is shared besides the stages
#include "group.cuh"
#include "update.cuh"
#include "signs.cuh"
#include "tile.cuh"

struct SignedDescend {
    const real* h;
    const real* delta;
    const real* sign;                               // none: the weights are free
    Update W;
    Update b;
    int N, n_in, n_out;
    int tiles;                                      // of one network
    int common;                                     // h is (N, n_in), not (K, N, n_in)
};

typedef Operand<BM, TM, false> Rows;                // h (N, n_in): its columns are the rows of h^T
typedef Operand<BN, TN, false> Columns;             // delta (N, n_out)
typedef Product<Rows, Columns> HDelta;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
signed_descend(const Group<SignedDescend> group) {
    __shared__ __align__(16) real pool[HDelta::POOL];
    __shared__ Rates W_rates;
    __shared__ Rates b_rates;
    int block;
    const SignedDescend& p = group.mine(block);
    const Tile tile = tile_of(block % p.tiles, max(p.n_in, 1), p.n_out);
    const size_t network = block / p.tiles, seen = p.common ? 0 : network;
    const Rows h(p.h + seen * p.N * p.n_in, p.N, p.n_in, tile.row);
    const Columns delta(p.delta + network * p.N * p.n_out, p.N, p.n_out, tile.column);
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
        if (i >= p.n_in || j >= p.n_out) continue;
        const size_t at = (network * p.n_in + i) * p.n_out + j;
        update(p.W, W_rates, at, g[x] * share);
        if (p.sign) p.W.w[at] = of_sign(p.W.w[at], p.sign[j]);
    }
    if (tile.row > 0) return;                       // the whole block
    const real sum = HDelta::column_sum(total, pool);
    const int j = tile.column + threadIdx.x;
    if (threadIdx.x < BN && j < p.n_out) update(p.b, b_rates, network * p.n_out + j, sum * share);
}
