// dense.cu -- h' = f(h W + b), a tile of h' to a block; bias and nonlinearity in passing.
#include "group.cuh"
#include "nonlinearity.cuh"
#include "tile.cuh"

struct Dense { const real* h; const real* W; const real* b; real* out; int N, n_in, n_out, f; };

typedef Operand<BM, TM, true> Rows;                 // h (N, n_in): k runs along its lines
typedef Operand<BN, TN, false> Columns;             // W (n_in, n_out): the columns do
typedef Product<Rows, Columns> HW;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
dense(const Group<Dense> group) {
    __shared__ __align__(16) real pool[HW::POOL];
    int block;
    const Dense& p = group.mine(block);
    const Tile tile = tile_of(block, p.N, p.n_out);
    const Rows h(p.h, p.N, p.n_in, tile.row);
    const Columns W(p.W, p.n_in, p.n_out, tile.column);
    real a[EACH];
    HW::start(h, W, p.n_in, pool);
    HW::make(h, W, p.n_in, pool, a);
#pragma unroll
    for (int x = 0; x < EACH; ++x) {
        const int n = tile.row + HW::row(x), j = tile.column + HW::column(x);
        if (n < p.N && j < p.n_out) p.out[size_t(n) * p.n_out + j] = f_of(p.f, a[x] + p.b[j]);
    }
}
