// pack.cuh -- sixteen neighbouring bytes, which a thread reads or writes in one instruction.
//
// A warp that moves 32 packs touches 512 bytes in a row: as few instructions as the hardware has,
// and every byte of every sector is wanted.  An array that does not begin on sixteen bytes (a part
// of another) is moved number by number.
#pragma once

struct alignas(16) Pack { real at[16 / sizeof(real)]; };

constexpr int PACK = 16 / sizeof(real);             // numbers in a pack: four, or two doubles

__device__ __forceinline__ bool aligned(const void* p) { return (size_t)p % 16 == 0; }

// Numbers i, i + 1, .. of x, of which there are n; 0 for those past the end, and without an x.
__device__ __forceinline__ Pack load(const real* x, size_t i, size_t n, bool whole) {
    Pack p = {};
    if (!x) return p;
    if (whole && i + PACK <= n) return *reinterpret_cast<const Pack*>(x + i);
#pragma unroll
    for (int e = 0; e < PACK; ++e)
        if (i + e < n) p.at[e] = x[i + e];
    return p;
}

__device__ __forceinline__ void store(real* x, size_t i, size_t n, bool whole, const Pack& p) {
    if (!x) return;
    if (whole && i + PACK <= n) {
        *reinterpret_cast<Pack*>(x + i) = p;
        return;
    }
#pragma unroll
    for (int e = 0; e < PACK; ++e)
        if (i + e < n) x[i + e] = p.at[e];
}
