// nonlinearity.cuh -- h = f(a), and the slope f'(a) as a function of h.
#pragma once

enum { LINEAR, TANH, RELU };            // Python: nonlinearity.CODE

__device__ __forceinline__ real f_of(int f, real a) {
    if (f == TANH) return tanh(a);
    if (f == RELU) return a < 0 ? 0 : a;                    // NaN < 0 is false: NaN stays
    return a;
}

__device__ __forceinline__ real slope_of(int f, real h) {
    if (f == TANH) return 1 - h * h;
    if (f == RELU) return h > 0 ? 1 : 0;
    return 1;
}
