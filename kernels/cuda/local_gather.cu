// local_gather.cu -- a[p] = h[what place p sees] W[p], at every place p.
//
//     local_dense                 f(a + b)        W (P, S, F)
//     local_transposed_pull_back  a               W (P, F, S), read as its transpose: TRANSPOSED
//
// A block makes a tile of a, BM examples x BN channels of one place.  The taps that fall inside the
// image are the terms: rows of the kernel, each one stretch of memory in the image and in W[p].
// Taps outside are left out.  Where places are few their terms are dealt to `parts` blocks, which
// leave their sums in `out`, one after the other, for sum_parts.cu.
#include "group.cuh"
#include "stencil.cuh"
#include "nonlinearity.cuh"
#include "image_product.cuh"

struct LocalGather {
    const real* h;
    const real* W;
    const real* b;
    real* out;
    Stencil where;
    int N, F, f, parts;
};

using Seen = Operand<false, true, false>;
using Weights = Operand<true, TRANSPOSED, false>;
using Shared = Memory<Seen, Weights>;

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
local_gather(const Group<LocalGather> group) {
    __shared__ __align__(16) Shared memory;
    int block;
    const LocalGather& p = group.mine(block);
    const Stencil& at = p.where;
    const Tile tile(block, p.N, p.F, p.parts);
    const int S = at.k * at.k * at.ch, P = at.R1 * at.C1;
    const long long n_in = (long long)at.R * at.C * at.ch;
    const Side i = taps_inside(tile.place / at.C1, at.k, at.s, at.top, at.R);
    const Side j = taps_inside(tile.place % at.C1, at.k, at.s, at.left, at.C);
    const int width = (j.end - j.first) * at.ch, terms = (i.end - i.first) * width;

    const real* corner = p.h + ((i.start + i.first) * at.C + j.start + j.first) * at.ch;
    const real* W = p.W + (long long)tile.place * S * p.F
                    + (i.first * at.k + j.first) * at.ch * (TRANSPOSED ? 1 : p.F);
    for (int m = threadIdx.x; m < BM; m += THREADS)
        memory.rows[m] = {tile.row + m < p.N ? corner + (tile.row + m) * n_in : nullptr, 0, 0};
    for (int n = threadIdx.x; n < BN; n += THREADS) {
        const int column = tile.column + n;
        memory.columns[n] = {column < p.F ? W + column * (TRANSPOSED ? S : 1) : nullptr, 0, 0};
    }
    auto term = [&](int k) {
        const int row = k / width, x = k % width;
        return Inner{(long long)row * at.C * at.ch + x,
                     (long long)(row * at.k * at.ch + x) * (TRANSPOSED ? 1 : p.F), 0, 0};
    };

    if (threadIdx.x == 0) memory.tile = tile;
    __syncthreads();
    const Seen seen(memory.rows, {});
    const Weights weights(memory.columns, {});
    const Range range(terms, tile.part, p.parts);
    const bool wide = copied_wide(p.h, at.ch) && copied_wide(p.W, TRANSPOSED ? at.ch : p.F);
    Sums sums;
    product(sums, memory, seen, weights, wide, range.first, range.end, term);

    const Tile done = memory.tile;
    real* out = p.out + (long long)done.part * p.N * P * p.F;
    sums.each([&](int m, int n, real a, real next) {
        m += done.row;
        n += done.column;
        if (m >= p.N || n >= p.F) return;
        const int unit = done.place * p.F + n, left = p.F - n;
        if (p.b) {
            a += p.b[unit];
            if (left > 1) next += p.b[unit + 1];
        }
        put(out + (long long)m * P * p.F + unit, left, f_of(p.f, a), f_of(p.f, next));
    });
}
