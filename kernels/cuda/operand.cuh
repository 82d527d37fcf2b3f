// operand.cuh -- A or B of a product: how a stage of it is filled, and where it keeps a number.
//
// WIDE of its rows (A) or columns (B) belong to a block's tile, MINE of them to a thread.  Either k
// runs along a line of memory (ALONG_K) or the rows or columns do; the stage has the same lines.
// Copies are four numbers wide where all lines begin at such a place, one number otherwise.  Past
// the edges the stage holds zeros.  PAIR: the second half of the rows is of another matrix.
#pragma once

struct alignas(16) Quad { real x, y, z, w; };

constexpr int SIDE = SLICE < 32 ? 32 / SLICE : 1;           // slices in a warp

template <int WIDE, int MINE, bool ALONG_K, bool PAIR = false> struct Operand {
    static constexpr bool DEEP = ALONG_K;
    static constexpr int LINES = ALONG_K ? WIDE : BK;       // of a stage
    static constexpr int LENGTH = ALONG_K ? BK : WIDE;
    static constexpr int PITCH = LENGTH + (TENSOR ? 0 : ALONG_K ? 4 * SIDE : SIDE > 1 ? 4 : 0);
    static constexpr int SIZE = LINES * PITCH;
    static constexpr int NEIGHBOURS = WIDE / MINE;          // threads along it
    static_assert(TENSOR || (ALONG_K ? BK % (8 * SIDE) == 0 : MINE % 4 == 0), "operand: quads");
    static_assert(!TENSOR || LENGTH % 32 == 0 || LENGTH == 16, "operand: banks");

    const real* at;
    const real* also;
    int lines, length, first;                               // first row or column of the tile
    bool quads;

    __device__ Operand(const real* at, int lines, int length, int first, const real* also = nullptr)
        : at(at), also(also), lines(lines), length(length), first(first),
          quads(length % 4 == 0 && (size_t(at) | size_t(also)) % 16 == 0) {}

    // Where number (line, column) of a stage is kept.  The quads that a warp reads at once, or the
    // numbers of a tensor core's fragment, must lie in different banks: the lines are padded, or
    // their quads change places.
    static __device__ __forceinline__ int spot(int line, int column) {
        constexpr bool SHORT = LENGTH == 16;                // two lines pass all 32 banks
        if (TENSOR && ALONG_K) column ^= (SHORT ? line / 2 % 4 : line % 8) * 4;
        if (TENSOR && !ALONG_K) column ^= (SHORT ? line / 2 % 2 : line % 4) * 8;
        return line * PITCH + column;
    }

    // Where it comes from, if the stage begins at k0; nullptr past the edges.
    __device__ __forceinline__ const real* source(int k0, int line, int column) const {
        const bool second = PAIR && line >= LINES / 2;
        const int row = (ALONG_K ? first : k0) + line - (second ? LINES / 2 : 0);
        column += ALONG_K ? k0 : first;
        if (row >= lines || column >= length) return nullptr;
        return (second ? also : at) + size_t(row) * length + column;
    }

    // Begins to fill a stage.
    __device__ __forceinline__ void copy(real* stage, int k0) const {
        constexpr int BYTES = sizeof(real), QUADS = LINES * LENGTH / 4;
        if (quads) {
#pragma unroll
            for (int i = 0; i < (QUADS + THREADS - 1) / THREADS; ++i) {
                const int e = threadIdx.x + i * THREADS;
                if (QUADS % THREADS && e >= QUADS) break;
                const int line = e / (LENGTH / 4), column = e % (LENGTH / 4) * 4;
                const real* from = source(k0, line, column);
                real* to = stage + spot(line, column);
                cp_async<16>(to, from ? from : at, from ? 16 : 0);
                if (BYTES == 8) cp_async<16>(to + 2, from ? from + 2 : at, from ? 16 : 0);
            }
        } else {
#pragma unroll 1
            for (int e = threadIdx.x; e < LINES * LENGTH; e += THREADS) {
                const int line = e / LENGTH, column = e % LENGTH;
                const real* from = source(k0, line, column);
                cp_async<BYTES>(stage + spot(line, column), from ? from : at, from ? BYTES : 0);
            }
        }
    }

    // Which of the tile's rows or columns is the i-th of a thread.
    static __device__ __forceinline__ int place(int thread, int i) {
        return ALONG_K ? thread + i * NEIGHBOURS : (i / 4 * NEIGHBOURS + thread) * 4 + i % 4;
    }

    // A thread's numbers for the four k of quad q.
    static __device__ __forceinline__ void fetch(const real* stage, int q, int thread,
                                                 real (&x)[4][MINE]) {
#pragma unroll
        for (int i = 0; i < (ALONG_K ? MINE : 4); ++i)
#pragma unroll
            for (int j = 0; j < (ALONG_K ? 1 : MINE / 4); ++j) {
                const int from = ALONG_K ? spot(place(thread, i), 4 * q)
                                         : spot(4 * q + i, place(thread, 4 * j));
                const Quad quad = *reinterpret_cast<const Quad*>(stage + from);
                if (ALONG_K) {
                    x[0][i] = quad.x, x[1][i] = quad.y, x[2][i] = quad.z, x[3][i] = quad.w;
                } else {
                    x[i][4 * j] = quad.x, x[i][4 * j + 1] = quad.y;
                    x[i][4 * j + 2] = quad.z, x[i][4 * j + 3] = quad.w;
                }
            }
    }
};
