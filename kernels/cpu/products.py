"""Products of matrices in tiles: C = f(alpha op(A) op(B) + b), K of them, in one thread or several.

    for every group of GROUP panels of columns:
        for every part of k, DEEP bytes of it:
            pack that part of op(B)                             stays in a core's second cache
            for every panel, for every tile of rows: C += A B   `tiles`
    f(C + b)

Every number of C is one chain of multiplications and additions in the order of k, whichever tile it
is in and whichever thread adds it up.  So the bits do not depend on how a product is cut, and it is
cut to suit the threads that there are.

The rows of A, or of A^T, may lie so that a cache has few places for them; A is then copied, or
turned round, first.
"""
from pathlib import Path

import numpy as np
from numba import get_num_threads, njit, prange

from minicredit.kernels.cpu import tiles
from minicredit.kernels.cpu.functions import tanh
from minicredit.kernels.cpu.threads import FUSED, INLINE, PARALLEL, SERIAL, SMALL_PRODUCT

PLAIN, LINEAR, TANH, RELU, SIGNED, SUMS = range(6)  # what follows a product; PLAIN: nothing
GROUP = 8 // tiles.VECTORS                          # panels packed at a time
DEEP = 4096                                         # bytes of k at a time
SHALLOW = 160                                       # numbers of A^T's columns that are near enough
MOST = 512                                          # rows of a block
ALIKE = 1 << 11                                     # bytes: rows so far apart are in few places
NARROW = 100                                        # columns
NEAR = 1 << 17                                      # bytes of A that stay in the second cache
MOVED = 7                                           # multiplications in the time of moving a number
NO, ONE = np.int64(0), np.int64(1)                  # a 0 in a call is a type of its own, for which
                                                    # what is called would be compiled again


def places():
    """In how many places of the first cache a line of memory may be; 8, if not told."""
    cache = Path("/sys/devices/system/cpu/cpu0/cache/index0/ways_of_associativity")
    try:
        return int(cache.read_text())
    except (OSError, ValueError):
        return 8


CROWDED = tiles.MR > places()                       # a tile's rows, if they lie ALIKE


# One block ----------------------------------------------------------------------------------------

@njit(**FUSED)
def follow(C, first, m, n, step, b, sign, f):
    """f(C + b), in place, for m rows of C: n numbers each, `step` apart."""
    nothing, end = C.dtype.type(0), first + m * step
    if f == TANH:
        for row in range(first, end, step):
            a = C[row:row + n]
            for j in range(n):
                a[j] = tanh(a[j] + b[j])
    elif f == RELU:
        for row in range(first, end, step):
            a = C[row:row + n]
            for j in range(n):
                v = a[j] + b[j]
                a[j] = nothing if v < nothing else v            # NaN is not below 0, and stays
    elif f == SIGNED:
        for row in range(first, end, step):
            a = C[row:row + n]
            for j in range(n):
                v = a[j] + b[j]
                a[j] = sign[j] * (nothing if v < nothing else v)
    elif f == LINEAR:
        for row in range(first, end, step):
            a = C[row:row + n]
            for j in range(n):
                a[j] += b[j]


@njit(**INLINE)
def parted(n, at_most):
    """The size of n's parts, all alike or nearly: the fewest of so many at most."""
    return -(-n // max(1, -(-n // at_most)))


@njit(**INLINE)
def depth(k, A):
    """How many numbers of a sum are taken at a time."""
    return parted(k, DEEP // A.itemsize)


@njit(**INLINE)
def straight(m, k, A, a0, ta, step, c):
    """Part of op(A) as a tile wants it: memory, its beginning, steps down and along its rows.

    c : columns of the product, the fewer the less it is worth to copy A
    """
    bytes_on = step * A.itemsize                    # from row to row
    if not ta and not (CROWDED and bytes_on % ALIKE == 0 and c >= NARROW):
        return A, a0, step, ONE
    if ta and k <= SHALLOW and k * bytes_on <= NEAR and bytes_on % 512:
        return A, a0, ONE, step
    row = k + 2 * tiles.lanes(A)                    # one that is no power of two
    copied = np.empty(m * row, A.dtype)
    if ta:
        tiles.transpose(A, a0, step, m, k, copied, NO, row)
    else:
        for i in range(m):
            for j in range(k):
                copied[i * row + j] = A[a0 + i * step + j]
    return copied, NO, row, ONE


@njit(**INLINE)
def panels(how, m, c, k, A, a0, a_row, a_k, P, T, t0, t_row, more):
    """T = A P, or T += A P if `more`, for packed panels P with c columns; whole vectors of T."""
    NR = tiles.VECTORS * tiles.lanes(T)
    rows = m
    if m * k * T.itemsize > 2 * NEAR:               # no more of A than is still near in every panel
        rows = max(1, NEAR // (k * T.itemsize) // tiles.MR) * tiles.MR
    for r in range(0, m, rows):
        for first in range(0, c, NR):
            tiles.strip(how, min(rows, m - r), tiles.halves(min(NR, c - first), T), A,
                        a0 + r * a_row, a_row, a_k, P, first * k, NR, k, T,
                        t0 + r * t_row + first, t_row, more, tiles.NOTHING)


@njit(**INLINE)
def columns(how, m, c, k, A, a0, a_row, a_k, B, b0, ldb, tb, alpha, P, T, t0, t_row, S):
    """T = alpha A op(B) for c columns, at most GROUP panels; whole vectors of T are written.

    If there is an S, it gets the sums of the columns of alpha op(B): one more row, of ones.
    """
    NR, deep, one = tiles.VECTORS * tiles.lanes(T), depth(k, T), np.empty(1, T.dtype)
    one[0] = 1
    for k0 in range(0, k, deep):
        d = min(deep, k - k0)
        if tb:
            tiles.pack_transposed(B, b0 + k0, ldb, d, c, P, NO)
        else:
            tiles.pack(B, b0 + k0 * ldb, ldb, d, c, P, NO)
        if alpha != 1:
            for i in range(-(-c // NR) * NR * d):
                P[i] *= alpha
        for ones in range(2 if len(S) else 1):
            rows, M, m0, m_row, m_k, R, r0 = ((1, one, 0, 0, 0, S, 0) if ones else
                                              (m, A, a0 + k0 * a_k, a_row, a_k, T, t0))
            panels(how, rows, c, d, M, m0, m_row, m_k, P, R, r0, t_row, k0 > 0)


@njit(**INLINE)
def block(how, m, c, k, A, a0, ta, lda, B, b0, tb, ldb, alpha, C, c0, ldc, sums):
    """C = alpha op(A) op(B), m x c, in flat memory, rows of it lda, ldb and ldc numbers apart.

    sums : room for c sums of alpha op(B)'s columns, or for none
    """
    NR, one = tiles.VECTORS * tiles.lanes(C), C.dtype.type(alpha)
    side = GROUP * NR
    A, a0, a_row, a_k = straight(m, k, A, a0, ta, lda, c)
    P = np.empty(side * depth(k, C), C.dtype)
    T = np.empty(m * side, C.dtype)                 # what does not fit, or is not done in one go
    S = np.empty(side if len(sums) else 0, C.dtype)
    for j in range(0, c, side):
        width, there = min(side, c - j), b0 + (j * ldb if tb else j)
        aside = width % NR > 0 or depth(k, C) < k
        R, r0, r_row = (T, 0, side) if aside else (C, c0 + j, ldc)
        columns(how, m, width, k, A, a0, a_row, a_k, B, there, ldb, tb, one, P, R, r0, r_row, S)
        if aside:
            tiles.unpack(m, width, T, side, C, c0 + j, ldc)
        if len(sums):
            for i in range(width):
                sums[j + i] = S[i]


# All blocks ---------------------------------------------------------------------------------------

@njit(**SERIAL)
def cut(m, n, K, NR, threads):
    """Rows and columns of a block: those that keep the last of the threads shortest.

    A block costs its multiplications and what it moves, both times k.
    """
    best, found = np.inf, (m, n)
    for across in range(1, threads + 1):
        rows = parted(m, -(-m // -(-threads // across)))
        wide = min(n, -(-(-(-n // NR)) // across) * NR)
        turns = -(-K * -(-m // rows) * -(-n // wide) // threads)
        cost = turns * (rows * wide + MOVED * (rows + wide))
        if cost < best:
            best, found = cost, (rows, wide)
    return parted(found[0], MOST), found[1]


@njit(**SERIAL)
def numbered(how, at, A, ta, B, tb, b, sign, f, alpha, sizes, cut, C):
    """Block `at` of K products, and what follows it."""
    m, n, k, step = sizes                           # C[i] is m x n; A[i + 1] begins `step` later
    rows, wide = cut
    down, across = -(-m // rows), -(-n // wide)
    i, at = at // (down * across), at % (down * across)
    r, j = at // across * rows, at % across * wide
    h, w, first = min(rows, m - r), min(wide, n - j), i * m * n + r * n + j
    A_first, B_first = i * step + (r if ta else r * k), i * k * n + (j * k if tb else j)
    part = b[i * n + j:i * n + j + w]
    block(how, h, w, k, A, A_first, ta, m if ta else k, B, B_first, tb, k if tb else n, alpha,
          C, first, n, part if f == SUMS and r == 0 else part[:0])
    if f not in (PLAIN, SUMS):
        follow(C, first, h, w, n, part, sign[j:j + w], f)


@njit(**SERIAL)
def in_turn(how, A, ta, B, tb, b, sign, f, alpha, K, m, n, k, step, C):
    """All blocks, in one thread."""
    sizes = parted(m, MOST), n
    for at in range(K * -(-m // sizes[0])):
        numbered(how, at, A, ta, B, tb, b, sign, f, alpha, (m, n, k, step), sizes, C)


@njit(**PARALLEL)
def at_once(how, threads, A, ta, B, tb, b, sign, f, alpha, K, m, n, k, step, C):
    """All blocks, each in some thread; none touches what another writes."""
    rows, wide = cut(m, n, K, tiles.VECTORS * tiles.lanes(C), threads)
    for at in prange(K * -(-m // rows) * -(-n // wide)):
        numbered(how, np.intp(at), A, ta, B, tb, b, sign, f, alpha, (m, n, k, step), (rows, wide),
                 C)


def products(A, ta, B, tb, sizes, out, f=PLAIN, b=None, sign=None, alpha=1.0, K=1):
    """out = f(alpha op(A) op(B) + b), K times, all in flat memory.

    If f is SUMS, out = alpha op(A) op(B), and b becomes the sums of alpha op(B)'s columns.

    Parameters
    ----------
    A, B : array
        m x k and k x n matrices, or their transposes if ta or tb, K of them one after the other.
    sizes : (m, n, k, step)
        step: from one A to the next; 0 if all share one.  None of m, n, k is 0.
    out : array
        Room for K times m x n.
    """
    m, n, k, step = sizes
    b, sign = out if b is None else b, out if sign is None else sign        # of the right type
    threads = get_num_threads() if K * m * n * k > SMALL_PRODUCT else 1
    how = tiles.address(out.dtype)
    if threads > 1:
        at_once(how, threads, A, ta, B, tb, b, sign, f, alpha, K, m, n, k, step, out)
    else:
        in_turn(how, A, ta, B, tb, b, sign, f, alpha, K, m, n, k, step, out)
