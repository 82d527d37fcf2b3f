// conv_grad.cu -- dW = sum over places p of image[what p sees]^T units[p] / N.
//
//     conv_grad               image h, units delta        dW (S, F)
//     conv_transposed_grad    image delta, units h        dW (F, S): TRANSPOSED
//
// conv_grad           a block makes a tile of dW; the terms are the places of the examples, one
//                     after the other, dealt to `parts` blocks that leave their sums in `sums`
// conv_grad_mean      a thread adds up one weight's parts, in order, and divides
//
// What a tap sees outside the image is 0 here, and 0 NaN is NaN; but the gradient of a weight is no
// concern of a place whose tap is outside.  So a sum that is NaN is made again, place by place.
#include "group.cuh"
#include "stencil.cuh"
#include "image_product.cuh"

struct ConvGrad {
    const real* image;
    const real* units;
    real* sums;
    real* dW;
    Stencil where;
    int N, F, parts;
};

using First = Operand<false, false, !TRANSPOSED>;
using Second = Operand<true, false, TRANSPOSED>;
using Shared = Memory<First, Second>;

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_grad(const Group<ConvGrad> group) {
    __shared__ __align__(16) Shared memory;
    int block;
    const ConvGrad& p = group.mine(block);
    const Stencil& at = p.where;
    const int S = at.k * at.k * at.ch, P = at.R1 * at.C1, line = at.k * at.ch;
    const int rows = TRANSPOSED ? p.F : S, width = TRANSPOSED ? S : p.F;
    const long long n_in = (long long)at.R * at.C * at.ch;
    const Tile tile(block, rows, width, p.parts);

    Outer* patch = TRANSPOSED ? memory.columns : memory.rows;
    Outer* unit = TRANSPOSED ? memory.rows : memory.columns;
    const int s0 = TRANSPOSED ? tile.column : tile.row, f0 = TRANSPOSED ? tile.row : tile.column;
    for (int i = threadIdx.x; i < (TRANSPOSED ? BN : BM); i += THREADS) {
        const int s = s0 + i;
        patch[i] = {p.image + s / line * at.C * at.ch + s % line, s < S ? s / line : OUTSIDE,
                    s % line};
    }
    for (int f = threadIdx.x; f < (TRANSPOSED ? BM : BN); f += THREADS)
        unit[f] = {f0 + f < p.F ? p.units + f0 + f : nullptr, 0, 0};
    auto term = [&](int k) {
        const int n = k / P, place = k % P;
        const int y = place / at.C1 * at.s - at.top, x = (place % at.C1 * at.s - at.left) * at.ch;
        const long long in_image = n * n_in + y * at.C * at.ch + x, in_units = (long long)k * p.F;
        return TRANSPOSED ? Inner{in_units, in_image, y, x} : Inner{in_image, in_units, y, x};
    };

    if (threadIdx.x == 0) memory.tile = tile;
    __syncthreads();
    const Limits limits{at.R, at.C * at.ch};
    const First first(memory.rows, limits);
    const Second second(memory.columns, limits);
    const Range range(p.N * P, tile.part, p.parts);
    const bool wide = copied_wide(p.image, at.ch) && copied_wide(p.units, p.F);
    Sums sums;
    product(sums, memory, first, second, wide, range.first, range.end, term);

    const Tile done = memory.tile;
    real* out = p.sums + (long long)done.part * S * p.F;
    sums.each([&](int m, int n, real sum, real next) {
        m += done.row;
        n += done.column;
        if (m < rows) put(out + (long long)m * width + n, width - n, sum, next);
    });
}

// The sum for the s-th number that a place sees and channel f, over the places where it is inside.
__device__ real inside_only(const ConvGrad& p, int s, int f) {
    const Stencil& at = p.where;
    const int i = s / (at.k * at.ch), x = s % (at.k * at.ch);
    const long long P = at.R1 * at.C1;
    real sum = 0;
    for (long long k = 0; k < p.N * P; ++k) {
        const int row = int(k % P) / at.C1 * at.s - at.top + i;
        const int across = (int(k % P) % at.C1 * at.s - at.left) * at.ch + x;
        if (unsigned(row) < unsigned(at.R) && unsigned(across) < unsigned(at.C * at.ch))
            sum += p.image[(k / P * at.R + row) * at.C * at.ch + across] * p.units[k * p.F + f];
    }
    return sum;
}

extern "C" __global__ void conv_grad_mean(const Group<ConvGrad> group) {
    int block;
    const ConvGrad& p = group.mine(block);
    const int S = p.where.k * p.where.k * p.where.ch, count = S * p.F;
    const int i = block * blockDim.x + threadIdx.x;
    if (i >= count) return;
    real sum = 0;
    for (int part = 0; part < p.parts; ++part) sum += p.sums[(long long)part * count + i];
    const int s = TRANSPOSED ? i % S : i / p.F, f = TRANSPOSED ? i / S : i % p.F;
    if (sum != sum) sum = inside_only(p, s, f);
    p.dW[i] = sum / p.N;
}
