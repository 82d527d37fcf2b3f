"""Instructions for K networks side by side, of a step as one compiled call; see `program`.

    SIGNED      out = sign max(0, h W + b)
    BACK        e = delta W^T
    SLOPE       delta = e sign [h != 0]
    DESCENT     g = h^T delta / N for a block of rows of W, then the optimiser's step for that block
    BIASES      g = sum of delta / N, the optimiser's step
    KEEP        W = sign max(0, sign W)
    TOTALS      out[r, c] = sum_j x[r row + c column + j step]: units of a class, or all networks

A network has few units, and its matrices are small, so nothing is copied that can be read or
written where it is: a product takes its columns from a matrix as it lies, and its result goes where
it belongs.  Whole vectors go beyond the last column, to where the next row begins; that is written
after it.  What all rows have in common (biases, signs) is repeated until it is long enough for
vectors.  Activities are shared out by examples: a thread has its rows of every network.
"""
import numpy as np
from numba import njit

from minicredit.kernels.cpu import tiles
from minicredit.kernels.cpu.addresses import memory
from minicredit.kernels.cpu.products import NO, ONE
from minicredit.kernels.cpu.program import (BLOCK, JOIN, MR, TILE, cut, descend, floats, ints,
                                            mine, width)
from minicredit.kernels.cpu.threads import INLINE, SERIAL

SIGNED, BACK, SLOPE, DESCENT, BIASES, KEEP, TOTALS = range(JOIN + 1, JOIN + 8)
LONG = 256                                          # numbers that are worth a loop over vectors
DEEP = 400                                          # numbers of a sum that are taken at a time


@njit(**SERIAL)
def repeats(n):
    """How many rows of n numbers are long enough."""
    return max(1, LONG // n)


@njit(**SERIAL)
def repeat(row, out):
    """The row again and again; the length of out is a multiple of its own."""
    for first in range(0, len(out), len(row)):
        for j in range(len(row)):
            out[first + j] = row[j]


# Products -----------------------------------------------------------------------------------------

@njit(**SERIAL)
def product(how, m, n, k, A, a0, a_row, a_k, B, b0, b_k, panel, C, c0, t):
    """C = A B, m x n, the rows of C one after the other, and no more than these is written.

    B : columns j, j + 1, .. of it, for j = 0, NR, .., begin j `panel` further on, rows b_k apart
    t : room for m NR numbers
    """
    NR, half = width(C), width(C) // (2 * tiles.VECTORS)
    j = (n - 1) // NR * NR
    while j >= 0:                           # the last panel first: what it writes beyond a row, the
        side = min(NR, n - j)               # first one writes over
        some = m if side % half == 0 else 0 if k > DEEP else max(0, m - MR)
        parts(how, some, side, k, A, a0, a_row, a_k, B, b0 + j * panel, b_k, C, c0 + j, n)
        if some < m:
            parts(how, m - some, side, k, A, a0 + some * a_row, a_row, a_k, B, b0 + j * panel,
                  b_k, t, NO, NR)
            for r in range(some, m):
                for x in range(side):
                    C[c0 + r * n + j + x] = t[(r - some) * NR + x]
        j -= NR


@njit(**SERIAL)
def parts(how, m, n, k, A, a0, a_row, a_k, B, b0, b_k, T, t0, t_row):
    """T = A B, n <= NR, in parts of k: so much of B stays near for all rows."""
    deep, halves = -(-k // -(-k // DEEP)), -(-2 * n // tiles.lanes(T))
    for k0 in range(0, k, deep):
        tiles.strip(how, m, halves, A, a0 + k0 * a_k, a_row, a_k, B, b0 + k0 * b_k, b_k,
                    min(deep, k - k0), T, t0, t_row, k0 > 0, tiles.NOTHING)


@njit(**SERIAL)
def within(B, first, k, n, P):
    """Where a product may read a matrix k x n in whole vectors: there, or at B's end in panels.

    Returns
    -------
    memory, b0, b_k, panel : as `product` takes them
    """
    if first + k * n + width(P) <= len(B):
        return B, first, n, 1
    tiles.pack(B, first, n, k, n, P, NO)
    return P, 0, width(P), k


@njit(**INLINE)
def signed(share, shares, c, x, own):
    """SIGNED: h, W, b, sign, out; N, k, n, K, whether all see one h."""
    N, k, n, K, common = c[6], c[7], c[8], c[9], c[10]
    h, W = memory(c[1], (1 if common else K) * N * k, own), memory(c[2], K * k * n, own)
    b, sign, out = memory(c[3], K * n, own), memory(c[4], n, own), memory(c[5], K * N * n, own)
    first, m = cut(N, share, shares), cut(N, share + 1, shares) - cut(N, share, shares)
    many, room = repeats(n) * n, m * width(own)
    t, s, bias, P = own[:room], own[room:][:many], own[room + many:][:many], own[room + 2 * many:]
    repeat(sign, s)
    for one in range(K):
        B, b0, b_k, panel = within(W, one * k * n, k, n, P)
        at = (one * N + first) * n
        product(c[TILE], m, n, k, h, ((0 if common else one * N) + first) * k, k, ONE, B, b0,
                b_k, panel, out, at, t)
        repeat(b[one * n:one * n + n], bias)
        for row in range(at, at + m * n, many):
            rectify(out[row:min(row + many, at + m * n)], bias, s)


@njit(**SERIAL)
def rectify(a, b, sign):
    """a = sign max(0, a + b), in place."""
    nothing = a.dtype.type(0)
    for i in range(len(a)):
        v = a[i] + b[i]
        a[i] = sign[i] * (nothing if v < nothing else v)        # NaN is not below 0, and stays


@njit(**INLINE)
def back(share, shares, c, x, own):
    """BACK: delta, W, out; N, n_in, n_out, K."""
    N, n, k, K, NR = c[4], c[5], c[6], c[7], width(own)
    delta, W = memory(c[1], K * N * k, own), memory(c[2], K * n * k, own)
    out, t, P = memory(c[3], K * N * n, own), own[:N * NR], own[N * NR:]
    first, m = cut(N, share, shares), cut(N, share + 1, shares) - cut(N, share, shares)
    for one in range(K):
        tiles.pack_transposed(W, one * n * k, k, k, n, P, NO)
        product(c[TILE], m, n, k, delta, (one * N + first) * k, k, ONE, P, NO, NR, k,
                out, (one * N + first) * n, t)


@njit(**INLINE)
def descent(share, shares, c, x, own):
    """DESCENT: h, delta; N, n_in, n_out, K, if all see one h; how to descend, w, three states."""
    N, n_in, n, K, common, NR = c[3], c[4], c[5], c[6], c[7], width(own)
    packed = -1
    h, delta = memory(c[1], (1 if common else K) * N * n_in, own), memory(c[2], K * N * n, own)
    t, G, P = own[:BLOCK * NR], own[BLOCK * NR:][:BLOCK * n], own[BLOCK * (NR + n):]
    B, b0, b_k, panel = delta, 0, n, 1
    row, last = cut(K * n_in, share, shares), cut(K * n_in, share + 1, shares)
    while row < last:
        one, first = row // n_in, row % n_in
        some = min(BLOCK, last - row, n_in - first)
        if packed != one:
            B, b0, b_k, panel = within(delta, one * N * n, N, n, P)
            packed = one
        product(c[TILE], some, n, N, h, (0 if common else one * N * n_in) + first, ONE, n_in,
                B, b0, b_k, panel, G, NO, t)
        descend(c, 8, x, row * n, some * n, N, G)
        row += some


# Number by number, row by row ---------------------------------------------------------------------

@njit(**INLINE)
def slope(share, shares, c, x, own):
    """SLOPE: e, h, sign, out; N, n, K, and how many numbers a row of e has."""
    N, n, K, each = c[5], c[6], c[7], c[8]
    e, h = memory(c[1], K * N * each, own), memory(c[2], K * N * n, own)
    sign, out = memory(c[3], n, own), memory(c[4], K * N * n, own)
    first, m = cut(N, share, shares), cut(N, share + 1, shares) - cut(N, share, shares)
    many = repeats(n) * n
    s, t = own[:many], own[many:]
    repeat(sign, s)
    for one in range(K):
        row = one * N + first
        if each < n:                        # one number for all: a matrix of one column, and sign
            product(c[TILE], m, n, ONE, e, row, ONE, ONE, s, NO, n, ONE, out, row * n, t)
        for at in range(row * n, (row + m) * n, many):
            end = min(at + many, (row + m) * n)
            if each < n:
                shut(h[at:end], out[at:end])
            else:
                gate(e[at:end], h[at:end], s, out[at:end])


@njit(**SERIAL)
def gate(e, h, sign, out):
    """out = e sign [h != 0]."""
    nothing = h.dtype.type(0)
    for i in range(len(out)):
        out[i] = e[i] * (nothing * sign[i] if h[i] == 0 else sign[i])


@njit(**SERIAL)
def shut(h, out):
    """out = out [h != 0]; a NaN stays one."""
    nothing, one = h.dtype.type(0), h.dtype.type(1)
    for i in range(len(out)):
        out[i] *= nothing if h[i] == 0 else one


@njit(**INLINE)
def biases(share, shares, c, x, own):
    """BIASES: delta; N, n, K; how to descend, w, three states.  Each thread has some networks.

    Several rows are added up side by side, as many whoever does it.
    """
    N, n, K = c[2], c[3], c[4]
    delta = memory(c[1], K * N * n, own)
    many = repeats(n) * n
    g, sums = own[:n], own[n:][:many]
    for one in range(cut(K, share, shares), cut(K, share + 1, shares)):
        sums[:] = 0
        for row in range(one * N * n, (one + 1) * N * n, many):
            part = delta[row:min(row + many, (one + 1) * N * n)]
            for i in range(len(part)):
                sums[i] += part[i]
        g[:] = 0
        for first in range(0, many, n):
            for j in range(n):
                g[j] += sums[first + j]
        descend(c, 5, x, one * n, n, N, g)


@njit(**INLINE)
def keep(share, shares, c, x, own):
    """KEEP: W, sign; rows, numbers in a row."""
    n, many = c[4], repeats(c[4]) * c[4]
    W, s, nothing = memory(c[1], c[3] * n, own), own[:many], own.dtype.type(0)
    repeat(memory(c[2], n, own), s)
    last = cut(c[3], share + 1, shares) * n
    for row in range(cut(c[3], share, shares) * n, last, many):
        w = W[row:min(row + many, last)]
        for i in range(len(w)):
            v = s[i] * w[i]
            w[i] = s[i] * (nothing if v < nothing else v)


@njit(**INLINE)
def totals(share, shares, c, x, own):
    """TOTALS: x, out; rows, columns, terms; row, column, step; out's row and column; x's numbers.
    """
    N, n, terms, across, along, step = c[3], c[4], c[5], c[6], c[7], c[8]
    x, out = memory(c[1], c[11], own), memory(c[2], N * n, own)
    for row in range(cut(N, share, shares), cut(N, share + 1, shares)):
        for place in range(n):
            total = own.dtype.type(0)
            for term in range(terms):
                total += x[row * across + place * along + term * step]
            out[row * c[9] + place * c[10]] = total


def handlers(real):
    """As `program.handlers`, for these instructions."""
    like = np.empty(0, real)

    def signed_at(c, x, share, shares, scratch, room):
        signed(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    def back_at(c, x, share, shares, scratch, room):
        back(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    def slope_at(c, x, share, shares, scratch, room):
        slope(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    def descent_at(c, x, share, shares, scratch, room):
        descent(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    def biases_at(c, x, share, shares, scratch, room):
        biases(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    def keep_at(c, x, share, shares, scratch, room):
        keep(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    def totals_at(c, x, share, shares, scratch, room):
        totals(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    return {SIGNED: signed_at, BACK: back_at, SLOPE: slope_at, DESCENT: descent_at,
            BIASES: biases_at, KEEP: keep_at, TOTALS: totals_at}
