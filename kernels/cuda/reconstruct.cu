// reconstruct.cu -- how an inverse has to change, from what it gives back:
//
//     back = f(h V + c)      delta = (back - goal) f'(back)
//
// A tile of delta to a block; back is known to one thread and stored nowhere.
#include "group.cuh"
#include "nonlinearity.cuh"
#include "tile.cuh"

struct Reconstruct {
    const real* h; const real* V; const real* c; const real* goal; real* out;
    int N, n_above, n_below, f;
};

typedef Operand<BM, TM, true> Rows;                 // h (N, n_above)
typedef Operand<BN, TN, false> Columns;             // V (n_above, n_below)
typedef Product<Rows, Columns> HV;

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
reconstruct(const Group<Reconstruct> group) {
    __shared__ __align__(16) real pool[HV::POOL];
    int block;
    const Reconstruct& p = group.mine(block);
    const Tile tile = tile_of(block, p.N, p.n_below);
    const Rows h(p.h, p.N, p.n_above, tile.row);
    const Columns V(p.V, p.n_above, p.n_below, tile.column);
    real a[EACH];
    HV::start(h, V, p.n_above, pool);
    HV::make(h, V, p.n_above, pool, a);
#pragma unroll
    for (int x = 0; x < EACH; ++x) {
        const int n = tile.row + HV::row(x), j = tile.column + HV::column(x);
        if (n >= p.N || j >= p.n_below) continue;
        const size_t at = size_t(n) * p.n_below + j;
        const real back = f_of(p.f, a[x] + p.c[j]);
        p.out[at] = (back - p.goal[at]) * slope_of(p.f, back);
    }
}
