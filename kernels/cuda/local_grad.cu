// local_grad.cu -- dW[p] = image[what place p sees]^T units[p] / N, at every place p.
//
//     local_grad              image h, units delta        dW (P, S, F)
//     local_transposed_grad   image delta, units h        dW (P, F, S): TRANSPOSED
//
// A block makes a tile of one place's dW; the terms are the examples.  What a tap outside the image
// would have learned is 0, whatever the units say, NaN too.
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

// Where the s-th number that a place sees lies in the image.
__device__ __forceinline__ Outer seen(const Stencil& at, int row, int column, int s, int S) {
    const int i = s / (at.k * at.ch), x = column * at.ch + s % (at.k * at.ch);
    const bool in = s < S && unsigned(row + i) < unsigned(at.R)
                    && unsigned(x) < unsigned(at.C * at.ch);
    return {in ? (long long)(row + i) * at.C * at.ch + x : -1, 0, 0};
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
    const int row = tile.place / at.C1 * at.s - at.top, column = tile.place % at.C1 * at.s - at.left;
    const long long n_in = (long long)at.R * at.C * at.ch, n_out = (long long)P * p.F;

    Outer* patch = TRANSPOSED ? memory.columns : memory.rows;
    Outer* unit = TRANSPOSED ? memory.rows : memory.columns;
    const int s0 = TRANSPOSED ? tile.column : tile.row, f0 = TRANSPOSED ? tile.row : tile.column;
    for (int s = threadIdx.x; s < (TRANSPOSED ? BN : BM); s += THREADS)
        patch[s] = seen(at, row, column, s0 + s, S);
    for (int f = threadIdx.x; f < (TRANSPOSED ? BM : BN); f += THREADS)
        unit[f] = {f0 + f < p.F ? (long long)tile.place * p.F + f0 + f : -1, 0, 0};
    auto term = [&](int n) {
        return TRANSPOSED ? Inner{n * n_out, n * n_in, 0, 0} : Inner{n * n_in, n * n_out, 0, 0};
    };

    if (threadIdx.x == 0) memory.tile = tile;
    __syncthreads();
    const First first(TRANSPOSED ? p.units : p.image, memory.rows, {});
    const Second second(TRANSPOSED ? p.image : p.units, memory.columns, {});
    const bool wide = first.wide(TRANSPOSED ? p.F : at.ch) && second.wide(TRANSPOSED ? at.ch : p.F);
    Sums sums;
    product(sums, memory, first, second, wide, 0, p.N, term);

    const Tile done = memory.tile;
    real* out = p.dW + (long long)done.place * S * p.F;
    sums.each([&](int m, int n, real sum, real next) {
        const int s = TRANSPOSED ? n : m, t = TRANSPOSED ? n + 1 : m;
        if (patch[s].at < 0) sum = 0;
        if (patch[t].at < 0) next = 0;
        m += done.row;
        n += done.column;
        if (m < rows) put(out + (long long)m * width + n, width - n, sum / p.N, next / p.N);
    });
}
