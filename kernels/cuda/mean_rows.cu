// mean_rows.cu -- db = sum of the rows of delta / N: the gradient of biases.
//
// A block of 32 x 8 threads adds up its share of the rows for 32 columns: thread (x, y) every
// eighth row of column x, and then thread (x, 0) the eight sums, in order.  Several `parts`
// leave their sums in `out`, one after the other, for sum_parts.cu.
#include "group.cuh"

constexpr int ACROSS = 32, DOWN = 8;

struct MeanRows {
    const real* delta;
    real* out;
    int rows, columns, parts, N;
};

extern "C" __global__ void __launch_bounds__(ACROSS * DOWN) mean_rows(const Group<MeanRows> group) {
    __shared__ real sums[DOWN][ACROSS];
    int block;
    const MeanRows& p = group.mine(block);
    const int across = (p.columns + ACROSS - 1) / ACROSS, part = block / across;
    const int column = block % across * ACROSS + threadIdx.x;
    const int each = (p.rows + p.parts - 1) / p.parts;
    const int end = min(p.rows, (part + 1) * each);
    real sum = 0;
    if (column < p.columns)
        for (int row = part * each + threadIdx.y; row < end; row += DOWN)
            sum += p.delta[(long long)row * p.columns + column];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || column >= p.columns) return;
    sum = 0;
    for (int y = 0; y < DOWN; ++y) sum += sums[y][threadIdx.x];
    p.out[(long long)part * p.columns + column] = sum / p.N;
}
