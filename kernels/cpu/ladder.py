"""The ladder: one product of matrices, C = A B, from its definition to the tile we compute with.

    three_loops       C[i, j] = sum_k A[i, k] B[k, j], as it stands
    along_rows        the same additions in another order: memory is read as it lies
    blocks            of B that stay in the cache until every row of A has used them
    plain_tile        4 rows x 4 steps of k at once: a number that is loaded is used four times
    plain_panels      B copied first, so that the tile reads it from one end to the other
    vector_tile       sums that never leave the registers: `tiles`, cut as in `products`

Each rung adds one idea to the one below; all are called alike and find the same numbers up to
rounding.  Nothing else uses the first five.  `python -m benchmarks --only ladder` shows what each
idea is worth on a machine.

    A, B, C     (m, k), (k, n), (m, n), in C order; C is overwritten
"""
import numpy as np
from numba import njit

from minicredit.kernels.cpu import tiles
from minicredit.kernels.cpu.products import PLAIN, in_turn
from minicredit.kernels.cpu.threads import FUSED, SERIAL

ROWS, STEPS, COLUMNS = 4, 4, 64                     # of the plain tile
DEEP, WIDE = 64, 1024                               # of a block of B: half of a second cache


@njit(**FUSED)
def three_loops(A, B, C):
    """Each number by its definition.  B is read down its columns: every step is another line of
    memory, of which one number is used; and a sum waits for the addition before."""
    (m, n), K = C.shape, len(B)
    for i in range(m):
        for j in range(n):
            total = C.dtype.type(0)
            for k in range(K):
                total += A[i, k] * B[k, j]
            C[i, j] = total


@njit(**FUSED)
def along_rows(A, B, C):
    """k before j: a row of C grows by a multiple of a row of B.  Both lie side by side in memory,
    and no addition waits for its neighbour, so the compiler does a vector of them at a time."""
    m, K = A.shape
    C[:] = 0
    for i in range(m):
        for k in range(K):
            a, b, c = A[i, k], B[k], C[i]
            for j in range(len(c)):
                c[j] += a * b[j]


@njit(**FUSED)
def blocks(A, B, C):
    """The same, block of B by block: DEEP x WIDE numbers, which every row of A uses before the next
    block takes their place in the cache.  Worth something where B does not fit there whole."""
    (m, n), K = C.shape, len(B)
    C[:] = 0
    for k0 in range(0, K, DEEP):
        for j0 in range(0, n, WIDE):
            for i in range(m):
                c = C[i][j0:j0 + WIDE]
                for k in range(k0, min(K, k0 + DEEP)):
                    a, b = A[i, k], B[k][j0:j0 + WIDE]
                    for j in range(len(c)):
                        c[j] += a * b[j]


@njit(**FUSED)
def sixteen(a0, a1, a2, a3, b, step, t):
    """t[r, j] += sum_u a_r[u] b[u step + j] for 4 rows and 4 steps: 4 loads of B, 16 products."""
    a00, a01, a02, a03 = a0[0], a0[1], a0[2], a0[3]
    a10, a11, a12, a13 = a1[0], a1[1], a1[2], a1[3]
    a20, a21, a22, a23 = a2[0], a2[1], a2[2], a2[3]
    a30, a31, a32, a33 = a3[0], a3[1], a3[2], a3[3]
    n = np.uintp(step)                              # an index that may be negative costs a test,
    for i in range(COLUMNS):                        # and vectors have none
        j = np.uintp(i)
        x0, x1, x2, x3 = b[j], b[n + j], b[n + n + j], b[n + n + n + j]
        t[i] += a00 * x0 + a01 * x1 + a02 * x2 + a03 * x3
        t[COLUMNS + i] += a10 * x0 + a11 * x1 + a12 * x2 + a13 * x3
        t[2 * COLUMNS + i] += a20 * x0 + a21 * x1 + a22 * x2 + a23 * x3
        t[3 * COLUMNS + i] += a30 * x0 + a31 * x1 + a32 * x2 + a33 * x3


@njit(**FUSED)
def column_of_tiles(A, b, step, j, K, C, t):
    """64 columns of C, from column j on: tiles of 4 rows, as far as there are four."""
    for i in range(0, len(A) // ROWS * ROWS, ROWS):
        a0, a1, a2, a3 = A[i], A[i + 1], A[i + 2], A[i + 3]
        t[:] = 0
        for k in range(0, K, STEPS):
            sixteen(a0[k:k + STEPS], a1[k:k + STEPS], a2[k:k + STEPS], a3[k:k + STEPS],
                    b[k * step:], step, t)
        for r in range(ROWS):
            C[i + r][j:j + COLUMNS] = t[r * COLUMNS:r * COLUMNS + COLUMNS]


@njit(**FUSED)
def edges(A, B, C):
    """What no tile covers is done along the rows: the last steps of k, columns and rows."""
    (m, n), K = C.shape, len(B)
    m4, n64, K4 = m // ROWS * ROWS, n // COLUMNS * COLUMNS, K // STEPS * STEPS
    for i in range(m):
        for k in range(K):
            first = n64 if i < m4 and k < K4 else 0
            a, b, c = A[i, k], B[k][first:], C[i][first:]
            for j in range(len(c)):
                c[j] += a * b[j]


@njit(**SERIAL)
def plain_tile(A, B, C):
    """A tile of C, 4 rows x 64 columns, stays in the nearest cache while all of k goes by, 4 steps
    at a time.  But it walks down B from row to row, where the nearest cache holds few."""
    n, K = C.shape[1], len(B) // STEPS * STEPS
    t, b = np.empty(ROWS * COLUMNS, C.dtype), B.reshape(-1)
    C[:] = 0
    for j in range(0, n // COLUMNS * COLUMNS, COLUMNS):
        column_of_tiles(A, b[j:], n, j, K, C, t)
    edges(A, B, C)


@njit(**SERIAL)
def plain_panels(A, B, C):
    """The same tile, but 64 columns of B are copied side by side first: one copy, read from one end
    to the other for every 4 rows."""
    n, K = C.shape[1], len(B) // STEPS * STEPS
    t, panel = np.empty(ROWS * COLUMNS, C.dtype), np.empty(K * COLUMNS, C.dtype)
    C[:] = 0
    for j in range(0, n // COLUMNS * COLUMNS, COLUMNS):
        for k in range(K):
            panel[k * COLUMNS:k * COLUMNS + COLUMNS] = B[k][j:j + COLUMNS]
        column_of_tiles(A, panel, COLUMNS, j, K, C, t)
    edges(A, B, C)


def vector_tile(A, B, C):
    """The tile in the compiler's own language: as many sums as the processor has registers for, of
    whole vectors, which no loop of ours can name; and panels four at a time.  See `tiles`."""
    (m, n), K = C.shape, len(B)
    if not m * n * K:
        C[:] = 0
        return
    a, b, c = A.reshape(-1), B.reshape(-1), C.reshape(-1)
    in_turn(tiles.address(a.dtype), a, False, b, False, c, c, PLAIN, 1.0, 1, m, n, K, 0, c)


RUNGS = three_loops, along_rows, blocks, plain_tile, plain_panels, vector_tile
