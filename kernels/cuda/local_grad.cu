// local_grad.cu -- dW[p] = image[what place p sees]^T units[p] / N, at every place p.
//
//     local_grad              image h, units delta        dW (P, S, F)
//     local_transposed_grad   image delta, units h        dW (P, F, S): TRANSPOSED
//
// A block makes a tile of one place's dW; the terms are the examples.  What a tap outside the image
// would have learned is 0, whatever the units say, NaN too; a tile of such taps has no terms.
#include "group.cuh"
#include "stencil.cuh"
#include "image_product.cuh"

struct LocalGrad {
    const real* image;
    const real* units;
    real* dW;
    Stencil where;
    int N, F;
};

using First = Operand<false, false, false>;
using Second = Operand<true, false, false>;
using Shared = Memory<First, Second>;

// The s-th number that the place at this row and column sees, in the first image; null outside.
__device__ __forceinline__ const real* seen(const LocalGrad& p, int row, int column, int s, int S) {
    const Stencil& at = p.where;
    const int i = s / (at.k * at.ch), x = column * at.ch + s % (at.k * at.ch);
    const bool in = s < S && unsigned(row + i) < unsigned(at.R)
                    && unsigned(x) < unsigned(at.C * at.ch);
    return in ? p.image + (row + i) * at.C * at.ch + x : nullptr;
}

// The first tap inside the image from `tap` on; k k if there is none.
__device__ int next_inside(const Side& i, const Side& j, int k, int tap) {
    int row = tap / k, column = tap % k;
    if (column >= j.end) ++row, column = 0;
    if (row < i.first) row = i.first, column = 0;
    return row < i.end && j.first < j.end ? row * k + max(column, j.first) : k * k;
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
local_grad(const Group<LocalGrad> group) {
    __shared__ __align__(16) Shared memory;
    int block;
    const LocalGrad& p = group.mine(block);
    const Stencil& at = p.where;
    const int S = at.k * at.k * at.ch, P = at.R1 * at.C1;
    const int rows = TRANSPOSED ? p.F : S, width = TRANSPOSED ? S : p.F;
    const Tile tile(block, rows, width, 1);
    const int row = tile.place / at.C1 * at.s - at.top;
    const int column = tile.place % at.C1 * at.s - at.left;
    const int n_in = at.R * at.C * at.ch, n_out = P * p.F;

    Outer* patch = TRANSPOSED ? memory.columns : memory.rows;
    Outer* unit = TRANSPOSED ? memory.rows : memory.columns;
    const int s0 = TRANSPOSED ? tile.column : tile.row, f0 = TRANSPOSED ? tile.row : tile.column;
    for (int s = threadIdx.x; s < (TRANSPOSED ? BN : BM); s += THREADS)
        patch[s] = {seen(p, row, column, s0 + s, S), 0, 0};
    for (int f = threadIdx.x; f < (TRANSPOSED ? BM : BN); f += THREADS)
        unit[f] = {f0 + f < p.F ? p.units + tile.place * p.F + f0 + f : nullptr, 0, 0};
    auto term = [&](int n) {
        const long long in_image = (long long)n * n_in, in_units = (long long)n * n_out;
        return TRANSPOSED ? Inner{in_units, in_image, 0, 0} : Inner{in_image, in_units, 0, 0};
    };

    if (threadIdx.x == 0) memory.tile = tile;
    __syncthreads();
    const First first(memory.rows, {});
    const Second second(memory.columns, {});
    const bool wide = copied_wide(p.image, at.ch) && copied_wide(p.units, p.F);
    const Side i = taps_inside(tile.place / at.C1, at.k, at.s, at.top, at.R);
    const Side j = taps_inside(tile.place % at.C1, at.k, at.s, at.left, at.C);
    const int last = min(S, s0 + (TRANSPOSED ? BN : BM)) - 1;
    const bool any = next_inside(i, j, at.k, s0 / at.ch) <= last / at.ch;
    Sums sums;
    product(sums, memory, first, second, wide, 0, any ? p.N : 0, term);

    const Tile done = memory.tile;
    real* out = p.dW + (long long)done.place * S * p.F;
    sums.each([&](int m, int n, real sum, real next) {
        const int s = TRANSPOSED ? n : m, t = TRANSPOSED ? n + 1 : m;
        if (!patch[s].at) sum = 0;
        if (!patch[t].at) next = 0;
        m += done.row;
        n += done.column;
        if (m < rows) put(out + (long long)m * width + n, width - n, sum / p.N, next / p.N);
    });
}
