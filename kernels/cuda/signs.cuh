// signs.cuh -- the nearest number that a unit's class allows: sign max(0, sign w).
#pragma once

__device__ __forceinline__ real of_sign(real w, real sign) {
    const real v = sign * w;
    return sign * (v < 0 ? real(0) : v);            // NaN is not below 0
}
