// warp.cuh -- sums and maxima over the 32 lanes of a warp: the same answer, bit for bit, in each.
//
// In five steps every lane meets the lane 16, 8, 4, 2, 1 further, so the order of the additions is
// a fixed tree.  All 32 lanes must come here together.
#pragma once

__device__ __forceinline__ real warp_sum(real v) {
    for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffff, v, step);
    return v;
}

// The largest; a NaN may be lost here, but whatever is then computed from its own lane keeps it.
__device__ __forceinline__ real warp_max(real v) {
    for (int step = 16; step > 0; step /= 2) {
        const real other = __shfl_xor_sync(0xffffffff, v, step);
        v = other > v ? other : v;
    }
    return v;
}
