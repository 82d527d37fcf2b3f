// conv_scatter.cu -- e = sum over the places p that see a unit of h[p] W, there; one W for all.
//
//     conv_pull_back      e               W (S, F), read as its transpose
//     conv_transposed     f(e + b)        W (F, S): TRANSPOSED
//
// The rows and columns of the image are of s x s kinds, see stencil.cuh.  Each kind is one product:
// its rows are the units of that kind in all examples, its terms the channels of the places that
// look there, by the same taps for all.  A block makes a tile of one of them.
#include "group.cuh"
#include "stencil.cuh"
#include "nonlinearity.cuh"
#include "image_product.cuh"

struct ConvScatter {
    const real* h;
    const real* W;
    const real* b;
    real* out;
    Stencil where;
    int N, F, f, parts;
};

using Said = Operand<false, true, true>;
using Weights = Operand<true, !TRANSPOSED, false>;
using Shared = Memory<Said, Weights>;

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_scatter(const Group<ConvScatter> group) {
    __shared__ __align__(16) Shared memory;
    int block;
    const ConvScatter& p = group.mine(block);
    const Stencil& at = p.where;
    const int S = at.k * at.k * at.ch, P = at.R1 * at.C1;
    const int most = p.N * ((at.R + at.s - 1) / at.s) * ((at.C + at.s - 1) / at.s);
    const Tile tile(block, most, at.ch, p.parts);
    const Kind r(tile.place / at.s, at.R, at.k, at.s, at.top);
    const Kind c(tile.place % at.s, at.C, at.k, at.s, at.left);
    const int each = r.count * c.count, rows = p.N * each;
    if (tile.row >= rows) return;                    // a kind with fewer than most, or none

    for (int m = threadIdx.x; m < BM; m += THREADS) {
        const int n = (tile.row + m) / each, q = (tile.row + m) % each;
        const int y = (r.first + q / c.count * at.s + at.top) / at.s;   // the place of tap r.tap
        const int x = (c.first + q % c.count * at.s + at.left) / at.s;
        memory.rows[m] = {p.h + ((long long)n * P + y * at.C1 + x) * p.F,
                          tile.row + m < rows ? y : OUTSIDE, x};
    }
    for (int n = threadIdx.x; n < BN; n += THREADS) {
        const int column = tile.column + n;
        memory.columns[n] = {column < at.ch ? p.W + column * (TRANSPOSED ? 1 : p.F) : nullptr,
                             0, 0};
    }
    auto term = [&](int k) {
        const int channel = k % p.F, i = k / p.F / c.taps, j = k / p.F % c.taps;
        const long long tap = ((r.tap + i * at.s) * at.k + c.tap + j * at.s) * at.ch;
        return Inner{channel - (long long)(i * at.C1 + j) * p.F,
                     TRANSPOSED ? (long long)channel * S + tap : tap * p.F + channel, -i, -j};
    };

    if (threadIdx.x == 0) memory.tile = tile;
    __syncthreads();
    const Said said(memory.rows, {at.R1, at.C1});
    const Weights weights(memory.columns, {});
    const Range range(r.taps * c.taps * p.F, tile.part, p.parts);
    const bool wide = copied_wide(p.h, p.F) && copied_wide(p.W, TRANSPOSED ? at.ch : p.F);
    Sums sums;
    product(sums, memory, said, weights, wide, range.first, range.end, term);

    const Tile done = memory.tile;
    real* out = p.out + (long long)done.part * p.N * at.R * at.C * at.ch;
    sums.each([&](int m, int n, real e, real next) {
        m += done.row;
        n += done.column;
        if (m >= rows || n >= at.ch) return;
        const int q = m % each, left = at.ch - n;
        const int y = r.first + q / c.count * at.s, x = c.first + q % c.count * at.s;
        if (p.b) {
            e += p.b[n];
            if (left > 1) next += p.b[n + 1];
        }
        put(out + (((long long)(m / each) * at.R + y) * at.C + x) * at.ch + n, left,
            f_of(p.f, e), f_of(p.f, next));
    });
}
