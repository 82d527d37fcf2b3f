// local_scatter.cu -- e = sum over the places p that see a unit of h[p] W[p], there.
//
//     local_pull_back     e               W (P, S, F), read as its transpose
//     local_transposed    f(e + b)        W (P, F, S): TRANSPOSED
//
// A block makes a tile of e, BM examples x BN channels at one row and column of the image.  It
// gathers: the terms are the channels of the places that look there, each with one tap, so that
// every unit is written once, by one block, in one order.  Those that most places see come first,
// so that no long sum begins last.  For `parts` see local_gather.cu.
#include "group.cuh"
#include "stencil.cuh"
#include "nonlinearity.cuh"
#include "image_product.cuh"

struct LocalScatter {
    const real* h;
    const real* W;
    const real* b;
    real* out;
    Stencil where;
    int N, F, f, parts;
};

using Said = Operand<false, true, false>;
using Weights = Operand<true, !TRANSPOSED, false>;
using Shared = Memory<Said, Weights>;

// The i-th unit of an image, kind by kind; its row times C and its column.
__device__ int by_kind(const Stencil& at, int i) {
    for (int kind = 0;; ++kind) {
        const Kind r(kind / at.s, at.R, at.k, at.s, at.top);
        const Kind c(kind % at.s, at.C, at.k, at.s, at.left);
        if (i < r.count * c.count)
            return (r.first + i / c.count * at.s) * at.C + c.first + i % c.count * at.s;
        i -= r.count * c.count;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
local_scatter(const Group<LocalScatter> group) {
    __shared__ __align__(16) Shared memory;
    int block;
    const LocalScatter& p = group.mine(block);
    const Stencil& at = p.where;
    Tile tile(block, p.N, at.ch, p.parts);
    tile.place = by_kind(at, tile.place);
    const int S = at.k * at.k * at.ch, P = at.R1 * at.C1, units = at.R * at.C;
    const Readers rows = readers(tile.place / at.C, at.k, at.s, at.top, at.R1);
    const Readers columns = readers(tile.place % at.C, at.k, at.s, at.left, at.C1);

    for (int m = threadIdx.x; m < BM; m += THREADS)
        memory.rows[m] = {tile.row + m < p.N ? p.h + (long long)(tile.row + m) * P * p.F : nullptr,
                          0, 0};
    for (int n = threadIdx.x; n < BN; n += THREADS) {
        const int column = tile.column + n;
        memory.columns[n] = {column < at.ch ? p.W + column * (TRANSPOSED ? 1 : p.F) : nullptr,
                             0, 0};
    }
    auto term = [&](int k) {
        const int channel = k % p.F, r = k / p.F / columns.count, c = k / p.F % columns.count;
        const long long place = (rows.place - r) * at.C1 + columns.place - c;
        const int tap = (rows.tap + r * at.s) * at.k + columns.tap + c * at.s;
        return Inner{place * p.F + channel,
                     TRANSPOSED ? (place * p.F + channel) * S + tap * at.ch
                                : (place * S + tap * at.ch) * p.F + channel, 0, 0};
    };

    if (threadIdx.x == 0) memory.tile = tile;
    __syncthreads();
    const Said said(memory.rows, {});
    const Weights weights(memory.columns, {});
    const Range range(rows.count * columns.count * p.F, tile.part, p.parts);
    const bool wide = copied_wide(p.h, p.F) && copied_wide(p.W, TRANSPOSED ? at.ch : p.F);
    Sums sums;
    product(sums, memory, said, weights, wide, range.first, range.end, term);

    const Tile done = memory.tile;
    real* out = p.out + (long long)done.part * p.N * units * at.ch;
    sums.each([&](int m, int n, real e, real next) {
        m += done.row;
        n += done.column;
        if (m >= p.N || n >= at.ch) return;
        const int unit = done.place * at.ch + n, left = at.ch - n;
        if (p.b) {
            e += p.b[unit];
            if (left > 1) next += p.b[unit + 1];
        }
        put(out + (long long)m * units * at.ch + unit, left, f_of(p.f, e), f_of(p.f, next));
    });
}
