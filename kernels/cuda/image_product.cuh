// A tile of a product with what places of an image see, without ever writing that down.
//
//     C[m][n] = sum over k of A(m, k) B(k, n)
//
// A block makes BM x BN of C, BK terms at a time.  Both operands are read straight from where they
// lie: an element's address is the sum of two numbers, one that belongs to its row (or column), one
// that belongs to its term, and both are looked up in tables in shared memory, which a kernel fills
// with its own geometry.  An element outside the image, or past the end, is 0 and is not read.
//
// The tiles of the next STAGES - 1 steps are on their way to shared memory (cp.async) while the
// block multiplies the present one; each step has one barrier.
#pragma once
#include "device.cuh"

constexpr int BK = 16;
constexpr int WIDE = 16 / sizeof(real);              // numbers in the widest copy
constexpr int STAGES = sizeof(real) == 4 ? 3 : 2;
constexpr int OUTSIDE = -(1 << 30);

#include "image_sums.cuh"

// What a row of A or a column of B adds to an address, and to the place in the image.
struct Outer { long long at; int y, x; };

// What a term adds: to an address in A, to one in B, and to the place in the image.
struct Inner { long long a, b; int y, x; };

// The sides of the image that a checked operand must not leave.
struct Limits { int y, x; };

// One operand.  ALONG_TERMS: neighbours in memory are neighbouring terms, not rows or columns.
// CHECKED: whether an element is inside depends on its row or column and its term together.
template <bool SECOND, bool ALONG_TERMS, bool CHECKED> struct Operand {
    static constexpr int SIZE = SECOND ? BN : BM;
    // Fragments (8 rows x 4 terms) and 16-byte copies fall on 32 different banks.
    static constexpr int STRIDE = ALONG_TERMS ? BK + WIDE : SIZE + 2 * WIDE;
    static constexpr int NUMBERS = ALONG_TERMS ? SIZE * STRIDE : BK * STRIDE;

    static __device__ int offset(int outer, int k) {
        return ALONG_TERMS ? outer * STRIDE + k : k * STRIDE + outer;
    }

    static __device__ bool inside(const Outer& outer, const Inner& inner, const Limits& limits) {
        if (!CHECKED) return outer.y != OUTSIDE && inner.y != OUTSIDE;
        return unsigned(outer.y + inner.y) < unsigned(limits.y)
               && unsigned(outer.x + inner.x) < unsigned(limits.x);
    }

    static __device__ void copy(real* tile, const real* from, const Outer* outers,
                                const Inner* inners, const Limits& limits, bool wide) {
        constexpr int SHORT = ALONG_TERMS ? BK : SIZE, COUNT = SIZE * BK / WIDE;
        for (int i = threadIdx.x; i < COUNT; i += THREADS) {
            const int along = i % (SHORT / WIDE) * WIDE, across = i / (SHORT / WIDE);
#pragma unroll
            for (int v = 0; v < WIDE; ++v) {
                const int outer = ALONG_TERMS ? across : along + v;
                const int k = ALONG_TERMS ? along + v : across;
                const bool in = inside(outers[outer], inners[k], limits);
                const long long inner_at = SECOND ? inners[k].b : inners[k].a;
                const real* source = in ? from + (outers[outer].at + inner_at) : from;
                if (wide) {
                    if (v == 0) cp_async<16>(tile + offset(outer, k), source, in ? 16 : 0);
                } else {
                    cp_async<sizeof(real)>(tile + offset(outer, k), source, in ? sizeof(real) : 0);
                }
            }
        }
    }
};

template <class A, class B> struct Memory {
    real a[STAGES][A::NUMBERS];
    real b[STAGES][B::NUMBERS];
    Outer rows[BM];
    Outer columns[BN];
    Inner terms[STAGES][BK];
};

// The arrays of a product, and whether rows of theirs can be copied WIDE numbers at a time.
struct Sources { const real* a; const real* b; bool wide_a, wide_b; Limits limits; };

// sums += the product over terms [first, end).  term(k) is the Inner of a term.  All threads call
// this, after the tables of rows and columns have been filled; it begins with a barrier.
template <class A, class B, class Term>
__device__ void product(Sums& sums, Memory<A, B>& memory, const Sources& from, int first, int end,
                        Term term) {
    const int steps = end > first ? (end - first + BK - 1) / BK : 0;
    auto look_up = [&](int step) {                   // the table of a step's terms
        const int i = threadIdx.x, k = first + step * BK + i;
        if (i < BK) memory.terms[step % STAGES][i] = k < end ? term(k)
                                                             : Inner{0, 0, OUTSIDE, OUTSIDE};
    };
    auto fetch = [&](int step) {
        const int slot = step % STAGES;
        if (step < steps) {
            A::copy(memory.a[slot], from.a, memory.rows, memory.terms[slot], from.limits,
                    from.wide_a);
            B::copy(memory.b[slot], from.b, memory.columns, memory.terms[slot], from.limits,
                    from.wide_b);
        }
        cp_async_commit();                           // empty groups keep the count right
    };
    for (int step = 0; step < STAGES; ++step) look_up(step);
    __syncthreads();
    for (int step = 0; step < STAGES - 1; ++step) fetch(step);
    for (int step = 0; step < steps; ++step) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();                             // this step's tiles are here; the last's free
        fetch(step + STAGES - 1);
        look_up(step + STAGES);
        sums.template add<A, B>(memory.a[step % STAGES], memory.b[step % STAGES]);
    }
}

// Which tile of C, for which place and which part of the terms, a block makes.  Blocks that read
// the same weights, those of one place and column, follow each other.
struct Tile {
    int place, part, row, column;

    __device__ Tile(int block, int rows, int columns, int parts) {
        const int down = (rows + BM - 1) / BM, across = (columns + BN - 1) / BN;
        row = block % down * BM;
        block /= down;
        part = block % parts;
        block /= parts;
        column = block % across * BN;
        place = block / across;
    }
};

// The terms of one of several parts, in whole steps.
struct Range {
    int first, end;

    __device__ Range(int terms, int part, int parts) {
        const int steps = (terms + BK - 1) / BK, each = (steps + parts - 1) / parts * BK;
        first = min(terms, part * each);
        end = min(terms, first + each);
    }
};

// Whether an array can be copied WIDE numbers at a time, given how many lie side by side.
__device__ inline bool copied_wide(const real* array, int neighbours) {
    return neighbours % WIDE == 0 && reinterpret_cast<size_t>(array) % 16 == 0;
}
