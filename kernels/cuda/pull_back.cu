// pull_back.cu -- e = delta W^T, a tile of e to a block; and with a nonlinearity f,
//
//     delta' = (delta W^T) f'(h)      what the layer below, with activity h, has to do
//
// which saves writing e and reading it again.  W is read along its lines, as it lies: column i of
// W^T is line i of W.
#include "group.cuh"
#include "nonlinearity.cuh"
#include "tile.cuh"

struct PullBack {
    const real* delta; const real* W; const real* h; real* out;
    int N, n_out, n_in, f;
};

typedef Operand<BM, TM, true> Rows;                 // delta (N, n_out): k runs along its lines
typedef Operand<BN, TN, true> Columns;              // W (n_in, n_out): it does here as well
typedef Product<Rows, Columns> DeltaW;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
pull_back(const Group<PullBack> group) {
    __shared__ __align__(16) real pool[DeltaW::POOL];
    int block;
    const PullBack& p = group.mine(block);
    const Tile tile = tile_of(block, p.N, p.n_in);
    const Rows delta(p.delta, p.N, p.n_out, tile.row);
    const Columns W(p.W, p.n_in, p.n_out, tile.column);
    real e[EACH];
    DeltaW::start(delta, W, p.n_out, pool);
    DeltaW::make(delta, W, p.n_out, pool, e);
#pragma unroll
    for (int x = 0; x < EACH; ++x) {
        const int n = tile.row + DeltaW::row(x), i = tile.column + DeltaW::column(x);
        if (n >= p.N || i >= p.n_in) continue;
        const size_t at = size_t(n) * p.n_in + i;
        p.out[at] = p.f == LINEAR ? e[x] : e[x] * slope_of(p.f, p.h[at]);
    }
}
