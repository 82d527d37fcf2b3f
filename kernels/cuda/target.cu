// target.cu -- what the layer below should have said (Lee et al. 2015, difference target):
//
//     h_hat' = h' + (f(h_hat V + c) - f(h V + c))
//
// A block makes BM / 2 rows of h_hat'.  Its tile of the product has twice as many: in the upper
// half h_hat V, in the lower half h V, from the same columns of V, which are read once.  The two
// numbers of an entry end up in the same thread, and were added up in the same order: where h_hat
// is h, bit for bit, the bracket is 0 and h_hat' is h'.
#include "group.cuh"
#include "nonlinearity.cuh"
#include "tile.cuh"

struct Target {
    const real* h_hat; const real* h; const real* V; const real* c; const real* below; real* out;
    int N, n_above, n_below, f;
};

typedef Operand<BM, TM, true, true> Rows;           // h_hat (N, n_above) over h (N, n_above)
typedef Operand<BN, TN, false> Columns;             // V (n_above, n_below)
typedef Product<Rows, Columns> Both;
static_assert(EACH % 2 == 0, "target: a thread needs both numbers of an entry");

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
target(const Group<Target> group) {
    __shared__ __align__(16) real pool[Both::POOL];
    int block;
    const Target& p = group.mine(block);
    const Tile tile = tile_of(block, 2 * p.N, p.n_below);
    const int first = tile.row / 2;
    const Rows rows(p.h_hat, p.N, p.n_above, first, p.h);
    const Columns V(p.V, p.n_above, p.n_below, tile.column);
    real a[EACH];
    Both::start(rows, V, p.n_above, pool);
    Both::make(rows, V, p.n_above, pool, a);
#pragma unroll
    for (int x = 0; x < EACH / 2; ++x) {        // x and x + EACH / 2 are BM / 2 rows apart
        const int n = first + Both::row(x), j = tile.column + Both::column(x);
        if (n >= p.N || j >= p.n_below) continue;
        const size_t at = size_t(n) * p.n_below + j;
        const real up = f_of(p.f, a[x] + p.c[j]), down = f_of(p.f, a[x + EACH / 2] + p.c[j]);
        p.out[at] = p.below[at] + (up - down);
    }
}
