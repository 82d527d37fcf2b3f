// The few hardware instructions that kernels use, each beside its meaning on a CPU.
//
// No other file has asm.  EMULATED is defined where the kernels are compiled for the emulator.
#pragma once

// D(16x8) += A(16x8) B(8x8): tf32 in, float sums, by the 32 lanes of a warp together.  Lane l, with
// g = l / 4 and t = l % 4, has
//     a = A[g][t], A[g + 8][t], A[g][t + 4], A[g + 8][t + 4]      b = B[t][g], B[t + 4][g]
//     d = D[g][2 t], D[g][2 t + 1], D[g + 8][2 t], D[g + 8][2 t + 1]
#ifdef EMULATED
#define mma_m16n8k8_tf32(d, a, b) emulated::mma_m16n8k8_tf32(d, a, b, __LINE__)
#else
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4],
                                                 const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

// x rounded to the 10 bits of mantissa that tf32 has, nearest, ties away from zero; as bits.
__device__ __forceinline__ unsigned to_tf32(float x) {
#ifdef EMULATED
    return x - x == 0 ? (__float_as_uint(x) + 0x1000u) & 0xffffe000u : __float_as_uint(x);
#else
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
#endif
}

// Copy SIZE bytes (4, 8 or 16) from global to shared memory while the thread goes on.  Only the
// first src_bytes are read, and zeros take the place of the others.
#ifdef EMULATED
template <int SIZE> inline void cp_async(void* dst, const void* src, int src_bytes = SIZE) {
    emulated_copy(dst, src, SIZE, src_bytes);
}
#else
template <int SIZE>
__device__ __forceinline__ void cp_async(void* dst, const void* src, int src_bytes = SIZE) {
    const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(dst));
    if (SIZE == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                     ::"r"(to), "l"(src), "r"(src_bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                     ::"r"(to), "l"(src), "n"(SIZE), "r"(src_bytes) : "memory");
}
#endif

// The copies that this thread has begun since the last call are a group.
__device__ __forceinline__ void cp_async_commit() {
#ifdef EMULATED
    emulated_copy_commit();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Wait for this thread's groups of copies, all but the last KEEP.
template <int KEEP> __device__ __forceinline__ void cp_async_wait() {
#ifdef EMULATED
    emulated_copy_wait(KEEP);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(KEEP) : "memory");
#endif
}

// A barrier for the whole grid, which has to be launched as cooperative; `bar` is one word of
// zeros.  Every block takes a ticket and waits until all of this round have one.
#ifdef EMULATED
#define grid_sync(bar) emulated_grid_barrier(__LINE__)
#else
__device__ __forceinline__ void grid_sync(unsigned* bar) {
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0 && threadIdx.z == 0) {
        const unsigned blocks = gridDim.x * gridDim.y * gridDim.z;
        __threadfence();
        const unsigned goal = (atomicAdd(bar, 1u) / blocks + 1u) * blocks;
        unsigned seen;
        do {
            asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(bar) : "memory");
        } while (static_cast<int>(seen - goal) < 0);
        __threadfence();
    }
    __syncthreads();
}
#endif
