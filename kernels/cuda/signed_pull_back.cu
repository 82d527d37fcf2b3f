// signed_pull_back.cu -- e = delta W^T in each of K networks, a tile of one to a block; or
//
//     delta' = (delta W^T) sign [h != 0]      what the layer below, with activity h, has to do
//
// As pull_back.cu, but that a block first finds its network.  `influence` is the same of gates.
#include "group.cuh"
#include "tile.cuh"

struct SignedPullBack {
    const real* delta;
    const real* W;
    const real* h;                                  // none: e
    const real* sign;
    real* e;
    int N, n_out, n_in;
    int tiles;                                      // of one network
};

typedef Operand<BM, TM, true> Rows;                 // delta (N, n_out): k runs along its lines
typedef Operand<BN, TN, true> Columns;              // W (n_in, n_out): it does here as well
typedef Product<Rows, Columns> DeltaW;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
signed_pull_back(const Group<SignedPullBack> group) {
    __shared__ __align__(16) real pool[DeltaW::POOL];
    int block;
    const SignedPullBack& p = group.mine(block);
    const Tile tile = tile_of(block % p.tiles, p.N, p.n_in);
    const size_t network = block / p.tiles;
    const Rows delta(p.delta + network * p.N * p.n_out, p.N, p.n_out, tile.row);
    const Columns W(p.W + network * p.n_in * p.n_out, p.n_in, p.n_out, tile.column);
    const size_t first = network * p.N * p.n_in;
    real e[EACH];
    DeltaW::start(delta, W, p.n_out, pool);
    DeltaW::make(delta, W, p.n_out, pool, e);
#pragma unroll
    for (int x = 0; x < EACH; ++x) {
        const int n = tile.row + DeltaW::row(x), i = tile.column + DeltaW::column(x);
        if (n >= p.N || i >= p.n_in) continue;
        const size_t at = first + size_t(n) * p.n_in + i;
        p.e[at] = p.h ? e[x] * (p.sign[i] * real(p.h[at] != 0)) : e[x];
    }
}
