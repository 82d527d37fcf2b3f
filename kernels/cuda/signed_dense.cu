// signed_dense.cu -- h' = sign max(0, h W + b) in each of K networks, a tile of one to a block.
//
// As dense.cu, but that a block first finds its network.  All may see the same h, (N, n_in).
#include "group.cuh"
#include "tile.cuh"

struct SignedDense {
    const real* h;
    const real* W;
    const real* b;
    const real* sign;
    real* out;
    int N, n_in, n_out;
    int tiles;                                      // of one network
    int common;                                     // h is (N, n_in), not (K, N, n_in)
};

typedef Operand<BM, TM, true> Rows;                 // h (N, n_in): k runs along its lines
typedef Operand<BN, TN, false> Columns;             // W (n_in, n_out): the columns do
typedef Product<Rows, Columns> HW;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
signed_dense(const Group<SignedDense> group) {
    __shared__ __align__(16) real pool[HW::POOL];
    int block;
    const SignedDense& p = group.mine(block);
    const Tile tile = tile_of(block % p.tiles, p.N, p.n_out);
    const size_t network = block / p.tiles, seen = p.common ? 0 : network;
    const Rows h(p.h + seen * p.N * p.n_in, p.N, p.n_in, tile.row);
    const Columns W(p.W + network * p.n_in * p.n_out, p.n_in, p.n_out, tile.column);
    const real* b = p.b + network * p.n_out;
    real* out = p.out + network * p.N * p.n_out;
    real a[EACH];
    HW::start(h, W, p.n_in, pool);
    HW::make(h, W, p.n_in, pool, a);
#pragma unroll
    for (int x = 0; x < EACH; ++x) {
        const int n = tile.row + HW::row(x), j = tile.column + HW::column(x);
        if (n >= p.N || j >= p.n_out) continue;
        const real v = a[x] + b[j];
        out[size_t(n) * p.n_out + j] = p.sign[j] * (v < 0 ? real(0) : v);   // NaN is not below 0
    }
}
