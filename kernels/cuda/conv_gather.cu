// conv_gather.cu -- a[p] = h[what place p sees] W, the same W at every place.
//
//     conv_dense                  f(a + b)        W (S, F)
//     conv_transposed_pull_back   a               W (F, S), read as its transpose: TRANSPOSED
//
// One product: its rows are the places of the examples, one after the other, and the terms are the
// S taps of a kernel.  A block makes a tile of it, BM rows x BN channels.  Which taps fall outside
// the image differs from row to row; what is outside is 0.  For `parts` see local_gather.cu.
#include "group.cuh"
#include "stencil.cuh"
#include "nonlinearity.cuh"
#include "image_product.cuh"

struct ConvGather {
    const real* h;
    const real* W;
    const real* b;
    real* out;
    Stencil where;
    int N, F, f, parts;
};

using Seen = Operand<false, true, true>;
using Weights = Operand<true, TRANSPOSED, false>;
using Shared = Memory<Seen, Weights>;

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
conv_gather(const Group<ConvGather> group) {
    __shared__ __align__(16) Shared memory;
    int block;
    const ConvGather& p = group.mine(block);
    const Stencil& at = p.where;
    const int S = at.k * at.k * at.ch, P = at.R1 * at.C1, rows = p.N * P, width = at.k * at.ch;
    const long long n_in = (long long)at.R * at.C * at.ch;
    const Tile tile(block, rows, p.F, p.parts);

    for (int m = threadIdx.x; m < BM; m += THREADS) {
        const int n = (tile.row + m) / P, place = (tile.row + m) % P;
        const int y = place / at.C1 * at.s - at.top, x = (place % at.C1 * at.s - at.left) * at.ch;
        memory.rows[m] = {p.h + (n * n_in + y * at.C * at.ch + x),
                          tile.row + m < rows ? y : OUTSIDE, x};
    }
    for (int n = threadIdx.x; n < BN; n += THREADS) {
        const int column = tile.column + n;
        memory.columns[n] = {column < p.F ? p.W + column * (TRANSPOSED ? S : 1) : nullptr, 0, 0};
    }
    auto term = [&](int k) {
        const int i = k / width, x = k % width;
        return Inner{i * at.C * at.ch + x, (long long)k * (TRANSPOSED ? 1 : p.F), i, x};
    };

    if (threadIdx.x == 0) memory.tile = tile;
    __syncthreads();
    const Seen seen(memory.rows, {at.R, at.C * at.ch});
    const Weights weights(memory.columns, {});
    const Range range(S, tile.part, p.parts);
    const bool wide = copied_wide(p.h, at.ch) && copied_wide(p.W, TRANSPOSED ? at.ch : p.F);
    Sums sums;
    product(sums, memory, seen, weights, wide, range.first, range.end, term);

    const Tile done = memory.tile;
    real* out = p.out + (long long)done.part * rows * p.F;
    sums.each([&](int m, int n, real a, real next) {
        m += done.row;
        n += done.column;
        if (m >= rows || n >= p.F) return;
        const int left = p.F - n;
        if (p.b) {
            a += p.b[n];
            if (left > 1) next += p.b[n + 1];
        }
        put(out + (long long)m * p.F + n, left, f_of(p.f, a), f_of(p.f, next));
    });
}
