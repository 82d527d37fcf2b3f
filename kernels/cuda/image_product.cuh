// A tile of a product with what places of an image see, without ever writing that down.
//
//     C[m][n] = sum over k of A(m, k) B(k, n)
//
// A block makes BM x BN of C, BK terms at a time.  Both operands are read straight from where they
// lie: an element's address is the sum of an address that belongs to its row (or column) and of a
// number that belongs to its term.  Both are looked up in tables in shared memory, which a kernel
// fills with its own geometry.  What is outside the image, or past the end, is 0 and is not read.
//
// The tiles of the next STAGES - 1 steps are on their way to shared memory (cp.async) while the
// block multiplies the present one; a step has one barrier.
#pragma once
#include "device.cuh"

constexpr int BK = 16;
constexpr int WIDE = 16 / sizeof(real);              // numbers in the widest copy
constexpr int STAGES = sizeof(real) == 4 ? 3 : 2;
constexpr int OUTSIDE = -(1 << 30);

#include "image_sums.cuh"

// Where a row of A or a column of B begins in memory, and in the image.  An operand that is not
// checked against the image has no elements where that is nowhere.
struct Outer { const real* at; int y, x; };

// How much further a term is: in the memory of A, in that of B, and in the image.  Unchecked
// operands have no elements where it is negative.
struct Inner { long long a, b; int y, x; };

// The sides of the image that a checked operand must not leave.
struct Limits { int y, x; };

// N numbers side by side in shared memory.
template <int N> struct alignas(N * sizeof(real)) Row { real number[N]; };

// One operand, the first (A) or the second (B).  ALONG_TERMS: neighbours in memory are neighbouring
// terms, not rows or columns.  CHECKED: whether an element is inside depends on both its numbers.
template <bool SECOND, bool ALONG_TERMS, bool CHECKED> struct Operand {
    static constexpr int SIZE = SECOND ? BN : BM;
    static constexpr int CHUNKS = (ALONG_TERMS ? BK : SIZE) / WIDE;     // side by side in memory
    static constexpr int COUNT = SIZE * BK / WIDE, COPIES = (COUNT + THREADS - 1) / THREADS;
    static constexpr int STRIDE = SIZE + 2 * WIDE, LINE = 128 / (BK * sizeof(real));
    static constexpr int NUMBERS = ALONG_TERMS ? SIZE * BK : BK * STRIDE;

    const Outer* outers;
    Limits limits;
    Outer mine[COPIES];                              // of this thread's wide copies

    __device__ Operand(const Outer* outers, Limits limits) : outers(outers), limits(limits) {
#pragma unroll
        for (int c = 0; c < COPIES; ++c)
            mine[c] = outers[outer(COUNT % THREADS == 0 ? copy(c) : min(copy(c), COUNT - 1))];
    }

    // Number `c` of this thread's wide copies; the row or column, and the term, where one begins.
    static __device__ int copy(int c) { return threadIdx.x + c * THREADS; }
    static __device__ int outer(int i) { return ALONG_TERMS ? i / CHUNKS : i % CHUNKS * WIDE; }
    static __device__ int term(int i) { return ALONG_TERMS ? i % CHUNKS * WIDE : i / CHUNKS; }

    // Where the element of row `eight` + g and term k lies in a tile; g below 8, `eight` a multiple
    // of 8.  A fragment's 32 elements (8 rows, 4 terms) lie in 32 banks: rows of terms are 64 bytes
    // long, so their chunks change places from one pair of rows to the next.
    static __device__ int offset(int eight, int g, int k) {
        return ALONG_TERMS ? (eight + g) * BK + (k / WIDE ^ g / LINE % CHUNKS) * WIDE + k % WIDE
                           : k * STRIDE + eight + g;
    }

    // Begin to copy N numbers, or N zeros.
    template <int N> __device__ void one(real* to, const Outer& outer, const Inner& inner) const {
        const long long at = SECOND ? inner.b : inner.a;
        const bool in = CHECKED ? unsigned(outer.y + inner.y) < unsigned(limits.y)
                                      && unsigned(outer.x + inner.x) < unsigned(limits.x)
                                : outer.at && at >= 0;
        if (in) cp_async<N * sizeof(real)>(to, outer.at + at);
        else *reinterpret_cast<Row<N>*>(to) = {};
    }

    // Begin to copy the tile of a step, whose terms are `inners`.
    __device__ void fetch(real* tile, const Inner* inners, bool wide) const {
        if (wide) {
#pragma unroll
            for (int c = 0; c < COPIES; ++c) {
                const int i = copy(c), o = outer(i), k = term(i);
                if (COUNT % THREADS == 0 || i < COUNT)
                    one<WIDE>(tile + offset(o / 8 * 8, o % 8, k), mine[c], inners[k]);
            }
        } else {
#pragma unroll 1
            for (int i = threadIdx.x; i < SIZE * BK; i += THREADS) {
                const int o = ALONG_TERMS ? i / BK : i % SIZE, k = ALONG_TERMS ? i % BK : i / SIZE;
                one<1>(tile + offset(o / 8 * 8, o % 8, k), outers[o], inners[k]);
            }
        }
    }
};

// Which tile of C, for which place and which part of the terms, a block makes.  Blocks that read
// the same weights, those of one place and column, follow each other.
struct Tile {
    int place, part, row, column;

    Tile() = default;
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

template <class A, class B> struct Memory {
    real a[STAGES][A::NUMBERS];
    real b[STAGES][B::NUMBERS];
    Outer rows[BM];
    Outer columns[BN];
    Inner terms[STAGES][BK];
    Tile tile;                                       // kept here while registers are scarce
};

// Whether an array can be copied WIDE numbers at a time, given how many lie side by side.
__device__ inline bool copied_wide(const real* array, int neighbours) {
    return neighbours % WIDE == 0 && reinterpret_cast<size_t>(array) % 16 == 0;
}

// The terms [first, end) in steps of BK, and their tables.
template <class A, class B, class Term> struct Steps {
    Memory<A, B>& memory;
    const A& a;
    const B& b;
    Term term;
    int first, end, count;
    bool wide;

    // Fill the table of a step's terms; the warps take turns.
    __device__ void look_up(int step, int slot) const {
        const int i = threadIdx.x - step % (THREADS / 32) * 32, k = first + step * BK + i;
        if (unsigned(i) < BK)
            memory.terms[slot][i] = k < end ? term(k) : Inner{-1, -1, OUTSIDE, OUTSIDE};
    }

    // Begin to copy a step's tiles.  A group without copies keeps the count of groups right.
    __device__ void fetch(int step, int slot) const {
        if (step < count) {
            a.fetch(memory.a[slot], memory.terms[slot], wide);
            b.fetch(memory.b[slot], memory.terms[slot], wide);
        }
        cp_async_commit();
    }

    __device__ void add_to(Sums& sums) const {
#pragma unroll
        for (int step = 0; step < STAGES - 1; ++step) fetch(step, step);
        for (int step = 0, slot = 0, next = STAGES - 1; step < count; ++step) {
            cp_async_wait<STAGES - 2>();
            __syncthreads();                         // this step's tiles are here; the last's free
            fetch(step + STAGES - 1, next);
            look_up(step + STAGES, slot);
            sums.template add<A, B>(memory.a[slot], memory.b[slot]);
            next = slot;
            slot = slot + 1 < STAGES ? slot + 1 : 0;
        }
    }
};

// sums += the product over terms [first, end); term(k) is the Inner of a term.  All threads call
// this, after a barrier behind the filling of the tables of rows and columns.
template <class A, class B, class Term>
__device__ void product(Sums& sums, Memory<A, B>& memory, const A& a, const B& b, bool wide,
                        int first, int end, Term term) {
    const int count = end > first ? (end - first + BK - 1) / BK : 0;
    const Steps<A, B, Term> steps{memory, a, b, term, first, end, count, wide};
    for (int step = 0; step < STAGES; ++step) steps.look_up(step, step);
    __syncthreads();
    steps.add_to(sums);
    sums.gathered(memory.a[0]);
}

// Two numbers side by side, of which the first `left` are wanted.
__device__ inline void put(real* out, int left, real first, real second) {
    struct alignas(2 * sizeof(real)) Pair { real first, second; };
    if (left >= 2 && reinterpret_cast<size_t>(out) % sizeof(Pair) == 0) {
        *reinterpret_cast<Pair*>(out) = {first, second};
    } else if (left >= 1) {
        out[0] = first;
        if (left >= 2) out[1] = second;
    }
}

// The terms of one of several parts, in whole steps.
struct Range {
    int first, end;

    __device__ Range(int terms, int part, int parts) {
        const int steps = (terms + BK - 1) / BK, each = (steps + parts - 1) / parts * BK;
        first = min(terms, part * each);
        end = min(terms, first + each);
    }
};
