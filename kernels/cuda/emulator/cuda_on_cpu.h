// What a kernel sees when a C++ compiler compiles it for the CPU.
//
// The build puts this file in front of an unchanged .cu file.  Every CUDA thread is a fiber, a
// small stack that can be parked; the runtime runs the threads of a block one after the other on
// one core, and parks a thread whenever it reaches a barrier or an operation of its warp.
#pragma once
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EMULATED 1
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __grid_constant__

// Vectors -----------------------------------------------------------------------------------------

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct uint3 { unsigned x, y, z; };
#define EMULATED_VECTOR(T, N, QUAD)                                            \
    struct alignas(2 * sizeof(T)) N##2 { T x, y; };                            \
    struct alignas(QUAD) N##4 { T x, y, z, w; };                               \
    inline N##2 make_##N##2(T x, T y) { return {x, y}; }                       \
    inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATED_VECTOR(float, float, 16)
EMULATED_VECTOR(int, int, 16)
EMULATED_VECTOR(unsigned, uint, 16)
EMULATED_VECTOR(double, double, 16)
#undef EMULATED_VECTOR

// The runtime -------------------------------------------------------------------------------------

extern "C" {
struct EmulatedPlace {                  // where a thread is
    uint3 thread;
    unsigned lane;
    const uint3* block;
};
extern const EmulatedPlace* emulated_place;
extern uint3 emulated_block_dim, emulated_grid_dim;
uint3 emulated_thread_idx() __attribute__((const));
uint3 emulated_block_idx() __attribute__((const));
uint3 emulated_get_block_dim() __attribute__((const));
uint3 emulated_get_grid_dim() __attribute__((const));
unsigned emulated_lane() __attribute__((const));

// Variable `slot` among the file's __shared__ ones; a checked access covers `grain` bytes or more.
void* emulated_shared(int slot, size_t bytes, int grain, const char* name);
void* emulated_dynamic_shared();
void emulated_block_barrier(int line);
int emulated_block_vote(int predicate, int line);               // how many of the block say yes
void emulated_grid_barrier(int line);
// Waits for the lanes in `mask`; the last one to arrive calls `complete` with everyone's payload.
void emulated_warp(unsigned mask, int line, int orders_memory, void* payload,
                   void (*complete)(void** payloads, unsigned mask));
void emulated_atomic(const void* at);                           // the next access there is atomic
void emulated_copy(void* dst, const void* src, int bytes, int src_bytes);
void emulated_copy_commit();
void emulated_copy_wait(int keep);
void emulated_fail(const char* what, int line) __attribute__((noreturn));
}

#ifdef EMULATED_CHECKED     // calls, because a read of the runtime's memory would be looked up too
#define threadIdx emulated_thread_idx()
#define blockIdx emulated_block_idx()
#define blockDim emulated_get_block_dim()
#define gridDim emulated_get_grid_dim()
#define EMULATED_LANE emulated_lane()
#else
#define threadIdx (emulated_place->thread)
#define blockIdx (*emulated_place->block)
#define blockDim emulated_block_dim
#define gridDim emulated_grid_dim
#define EMULATED_LANE (emulated_place->lane)
#endif
constexpr int warpSize = 32;

// Barriers and fences -----------------------------------------------------------------------------

#define __syncthreads() emulated_block_barrier(__LINE__)
#define __syncthreads_count(p) emulated_block_vote((p) != 0, __LINE__)
#define __syncthreads_or(p) (emulated_block_vote((p) != 0, __LINE__) != 0)
#define __syncthreads_and(p) (emulated_block_vote((p) == 0, __LINE__) == 0)
inline void __threadfence() {}
inline void __threadfence_block() {}

// Operations of a warp ----------------------------------------------------------------------------

namespace emulated {

template <class T> struct Shuffle { T in, out; int from; };

template <class T> inline T poison() {
    T v;
    memset(&v, 0xff, sizeof v);
    return v;
}

// What comes from a lane outside the mask is undefined on a GPU: poison here.
template <class T> inline void shuffled(void** payloads, unsigned mask) {
    for (int lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1) {
            auto* mine = static_cast<Shuffle<T>*>(payloads[lane]);
            mine->out = mask >> mine->from & 1
                            ? static_cast<Shuffle<T>*>(payloads[mine->from])->in : poison<T>();
        }
}

template <class T> inline T shuffle(unsigned mask, T v, int from, int line) {
    Shuffle<T> payload{v, v, from};
    emulated_warp(mask, line, 0, &payload, shuffled<T>);
    return payload.out;
}

inline int my_lane() { return static_cast<int>(EMULATED_LANE); }
inline int segment(int width) { return my_lane() & ~(width - 1); }

template <class T> inline T shuffle_down(unsigned mask, T v, int by, int line, int width = 32) {
    const int from = my_lane() + by;
    return shuffle(mask, v, from < segment(width) + width ? from : my_lane(), line);
}
template <class T> inline T shuffle_up(unsigned mask, T v, int by, int line, int width = 32) {
    const int from = my_lane() - by;
    return shuffle(mask, v, from >= segment(width) ? from : my_lane(), line);
}
template <class T> inline T shuffle_xor(unsigned mask, T v, int with, int line, int width = 32) {
    const int from = my_lane() ^ with;
    return shuffle(mask, v, from < segment(width) + width ? from : my_lane(), line);
}
template <class T> inline T shuffle_from(unsigned mask, T v, int lane, int line, int width = 32) {
    return shuffle(mask, v, segment(width) + (lane & (width - 1)), line);
}

struct Vote { int predicate; unsigned ballot; };

inline void voted(void** payloads, unsigned mask) {
    unsigned ballot = 0;
    for (int lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1 && static_cast<Vote*>(payloads[lane])->predicate) ballot |= 1u << lane;
    for (int lane = 0; lane < 32; ++lane)
        if (mask >> lane & 1) static_cast<Vote*>(payloads[lane])->ballot = ballot;
}
inline unsigned vote(unsigned mask, int predicate, int line) {
    Vote payload{predicate, 0};
    emulated_warp(mask, line, 0, &payload, voted);
    return payload.ballot;
}

inline void met(void**, unsigned) {}
struct Meet {
    int line;
    void operator()(unsigned mask = 0xffffffffu) const {
        emulated_warp(mask, line, 1, nullptr, met);
    }
};

}  // namespace emulated

// Macros, because a report names the line of the call.
#define __shfl_down_sync(m, v, by, ...) \
    emulated::shuffle_down(m, v, by, __LINE__, ##__VA_ARGS__)
#define __shfl_up_sync(m, v, by, ...) emulated::shuffle_up(m, v, by, __LINE__, ##__VA_ARGS__)
#define __shfl_xor_sync(m, v, with, ...) \
    emulated::shuffle_xor(m, v, with, __LINE__, ##__VA_ARGS__)
#define __shfl_sync(m, v, lane, ...) emulated::shuffle_from(m, v, lane, __LINE__, ##__VA_ARGS__)
#define __ballot_sync(m, p) emulated::vote(m, (p) != 0, __LINE__)
#define __any_sync(m, p) (emulated::vote(m, (p) != 0, __LINE__) != 0)
#define __all_sync(m, p) (emulated::vote(m, (p) == 0, __LINE__) == 0)
#define __syncwarp(...) emulated::Meet{__LINE__}(__VA_ARGS__)

// Atomics: one core runs all threads, so a read and a write do ------------------------------------

#define EMULATED_ATOMIC(NAME, RESULT)                                          \
    template <class T> inline T NAME(T* at, T v) {                             \
        emulated_atomic(at);                                                   \
        const T old = *at;                                                     \
        emulated_atomic(at);                                                   \
        *at = (RESULT);                                                        \
        return old;                                                            \
    }
EMULATED_ATOMIC(atomicAdd, old + v)
EMULATED_ATOMIC(atomicSub, old - v)
EMULATED_ATOMIC(atomicMax, old > v ? old : v)
EMULATED_ATOMIC(atomicMin, old < v ? old : v)
EMULATED_ATOMIC(atomicExch, v)
EMULATED_ATOMIC(atomicOr, old | v)
EMULATED_ATOMIC(atomicAnd, old & v)
#undef EMULATED_ATOMIC
template <class T> inline T atomicCAS(T* at, T wanted, T v) {
    emulated_atomic(at);
    const T old = *at;
    emulated_atomic(at);
    *at = old == wanted ? v : old;
    return old;
}

// Arithmetic --------------------------------------------------------------------------------------

template <class T> inline T __ldg(const T* at) { return *at; }
template <class T> inline T __ldcs(const T* at) { return *at; }
template <class T> inline void __stcs(T* at, T v) { *at = v; }
template <class T> inline T min(T a, T b) { return b < a ? b : a; }
template <class T> inline T max(T a, T b) { return a < b ? b : a; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
inline double sinpi(double x) {                 // exact where it is 0, 1 or -1
    const double r = fabs(fmod(x, 2.0)), s = x < 0 ? -1 : 1;
    if (r == 0 || r == 1) return 0 * s;
    if (r == 0.5 || r == 1.5) return r == 0.5 ? s : -s;
    return s * sin(3.14159265358979323846 * r);
}
inline double cospi(double x) {
    const double r = fabs(fmod(x, 2.0));
    if (r == 0.5 || r == 1.5) return 0;
    return cos(3.14159265358979323846 * r);
}
inline float sinpif(float x) { return float(sinpi(x)); }
inline float cospif(float x) { return float(cospi(x)); }
inline void sincospif(float x, float* s, float* c) { *s = sinpif(x), *c = cospif(x); }
inline void sincospi(double x, double* s, double* c) { *s = sinpi(x), *c = cospi(x); }
inline unsigned __umulhi(unsigned a, unsigned b) {
    return unsigned((unsigned long long)a * b >> 32);
}
template <class To, class From> inline To emulated_bits(From v) {
    To bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}
inline int __float_as_int(float x) { return emulated_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return emulated_bits<unsigned>(x); }
inline float __int_as_float(int x) { return emulated_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return emulated_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emulated_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulated_bits<double>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }

// The tensor cores' product, see device.cuh -------------------------------------------------------

namespace emulated {

struct Fragments { float* d; const unsigned *a, *b; };

inline float tf32(unsigned bits) { return __uint_as_float(bits & 0xffffe000u); }  // 13 bits unread

inline void multiplied(void** payloads, unsigned mask) {
    if (mask != 0xffffffffu) emulated_fail("mma.sync needs all 32 lanes", 0);
    float A[16][8], B[8][8];
    for (int lane = 0; lane < 32; ++lane) {
        auto* f = static_cast<Fragments*>(payloads[lane]);
        const int g = lane / 4, t = lane % 4;
        A[g][t] = tf32(f->a[0]), A[g + 8][t] = tf32(f->a[1]);
        A[g][t + 4] = tf32(f->a[2]), A[g + 8][t + 4] = tf32(f->a[3]);
        B[t][g] = tf32(f->b[0]), B[t + 4][g] = tf32(f->b[1]);
    }
    for (int lane = 0; lane < 32; ++lane)
        for (int e = 0; e < 4; ++e) {
            float& d = static_cast<Fragments*>(payloads[lane])->d[e];
            const int row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
            double sum = d;
            for (int k = 0; k < 8; ++k) sum += double(A[row][k]) * double(B[k][column]);
            d = float(sum);
        }
}

template <class D, class A, class B>
inline void mma_m16n8k8_tf32(D& d, const A& a, const B& b, int line) {
    Fragments payload{d, a, b};
    emulated_warp(0xffffffffu, line, 0, &payload, multiplied);
}

}  // namespace emulated
