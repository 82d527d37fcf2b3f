"""A whole step as one compiled call: a table of instructions, and who does which part of each.

An instruction is a row of integers (what to do, addresses, sizes) and a row of floats.  All threads
walk through the table together, and each does its own share of every instruction: its rows.

    rows of a batch     activities, errors, targets, noise: row n needs row n of what came before
    rows of a matrix    a gradient and the optimiser's step: a weight needs all rows of the batch

So a thread can go on with the next instruction as soon as it has done its own rows, while they are
in its core's cache, until the cut changes.  There all wait for each other.  `schedule` finds those
places; a step of backprop has two stages, one of difference target propagation four.

    PRODUCT   out = f(A B + b); every thread packs B into panels for itself, see `tiles`: it would
              wait longer for panels that another one has just written
    GRADIENT  g = h^T delta / N for a block of rows of W, then the optimiser's step for that block
    BIAS      g = sum of delta / N, the optimiser's step
    UPDATE    the optimiser's step with a g that is there
    EACH      number by number: sums, differences, slopes
    NOISE     numbers of a key, or a sum with them
    XENT      SOFTMAX  JOIN

Those for K networks side by side are in `networks`.

Every number is computed in one way, whoever does the row: the result does not depend on how many
threads there are.  It is the operation's of the same name, but for the rounding of a gradient: its
sum is divided by N, and not what is added up.
"""
import numpy as np
from numba import njit, prange

from minicredit.kernels.cpu import tiles
from minicredit.kernels.cpu.addresses import call, memory
from minicredit.kernels.cpu.functions import tanh
from minicredit.kernels.cpu.losses import exponentials
from minicredit.kernels.cpu.products import ALIKE, GROUP, NO, ONE, straight
from minicredit.kernels.cpu.randomness import draw
from minicredit.kernels.cpu.threads import FUSED, INLINE, PARALLEL, SERIAL, threads_now
from minicredit.kernels.cpu.tiles import place

PRODUCT, GRADIENT, BIAS, UPDATE, EACH, NOISE, XENT, SOFTMAX, JOIN = range(9)
LINEAR, TANH, RELU = range(3)
DONE, NO_SUCH_LABEL, WRITTEN_OVER = range(3)    # what `run` says
(ADD, SUBTRACT, SCALE, DIFFERENCE, TANH_SLOPE, RELU_SLOPE, TANH_ERROR, RELU_ERROR, COPY,
 SIGNS) = range(10)
INTS, FLOATS = 16, 8                            # of an instruction
TILE, WHO = INTS - 2, INTS - 1                  # of all: addresses of the tile, of its function
INT, FLOAT = np.empty(0, np.int64), np.empty(0)  # types, for `memory`
BLOCK = 24                                      # rows of a gradient that are made, then used
MR = tiles.MR


@njit(**SERIAL)
def cut(n, share, shares):
    """The first row of a share of n rows."""
    return n * share // shares


@njit(**SERIAL)
def width(like):
    """Columns of a panel."""
    return tiles.VECTORS * tiles.lanes(like)


@njit(**FUSED)
def follow(f, a, b, n):
    """f(a + b), row by row of n, in place."""
    for row in range(len(a) // n):
        one = a[row * n:row * n + n]
        if f == TANH:
            for j in range(n):
                one[j] = tanh(one[j] + b[j])
        elif f == RELU:
            for j in range(n):
                v = one[j] + b[j]
                one[j] = 0 if v < 0 else v              # NaN is not below 0, and stays
        else:
            for j in range(n):
                one[j] += b[j]


@njit(**SERIAL)
def multiply(how, m, n, k, A, a0, a_row, a_k, B, b0, b_k, across, T, t0, t_row, t, wanted):
    """T = A B, m x n, and what is wanted next is asked for.

    Parameters
    ----------
    how : address of the tile
    B : columns j, j + 1, .. of it, for j = 0, NR, .., begin j / NR `across` further on, rows
        b_k apart; whole vectors are read
    t : room for m NR numbers
    wanted : tuple of int
        Three addresses, and so many bytes from each; and whether to write there, or else to read.
    """
    NR, L, count = width(T), width(T) // tiles.VECTORS, -(-m // MR)
    first, second, third, span, write = wanted
    turns = count * (k // tiles.UNROLLED)           # of the loops of a panel's tiles
    by = span // max(1, turns * -(-n // NR))
    for j in range(0, n, NR):
        side, at = min(NR, n - j), b0 + j // NR * across
        halves, line = tiles.halves(side, T), (first, by, second - first, third - first, write)
        if side % L:
            tiles.strip(how, m, halves, A, a0, a_row, a_k, B, at, b_k, k, t, NO, NR, False, line)
            tiles.unpack(m, side, t, NR, T, t0 + j, t_row)
        else:
            tiles.strip(how, m, halves, A, a0, a_row, a_k, B, at, b_k, k, T, t0 + j, t_row, False,
                        line)
        first, second, third = first + by * turns, second + by * turns, third + by * turns


@njit(**SERIAL)
def readable(B, b0, step, k, n, turned, P):
    """Where a product reads k x n of a matrix whose rows are `step` apart, or its columns, if B is
    `turned`.

    Where it is, if its rows are whole vectors, and lie so that a cache has places for a panel of
    them; or else in panels, in P.

    Returns
    -------
    memory, b0, b_k, across : as `multiply` takes them
    """
    NR = width(P)
    if turned:
        tiles.pack_transposed(B, b0, step, k, n, P, NO)
    elif n % tiles.lanes(P) or step * P.itemsize % 512 == 0:
        tiles.pack(B, b0, step, k, n, P, NO)
    else:
        return B, b0, step, NR
    return P, NO, NR, k * NR


@njit(**INLINE)
def product(share, shares, c, x, own):
    """PRODUCT: A, B, b or 0, out; N, k, n, f, whether memory holds B^T; what comes next, its bytes.

    GROUP panels at a time: they are still near when the last row reads them.
    """
    N, k, n, turned, NR = c[5], c[6], c[7], c[9], width(own)
    A, B, out = memory(c[1], N * k, own), memory(c[2], k * n, own), memory(c[4], N * n, own)
    first, m = cut(N, share, shares), cut(N, share + 1, shares) - cut(N, share, shares)
    t, P = own[:m * NR], own[m * NR:]
    A, a0, a_row, a_k = straight(m, k, A, first * k, False, k, n)
    following, half = c[10], c[11] // 2             # the next matrix, from its halves' beginnings
    for j in range(0, n, GROUP * NR):
        side = min(GROUP * NR, n - j)
        M, b0, b_k, across = readable(B, j * k if turned else j, k if turned else n, k, side,
                                      turned, P)
        part = half * side // n
        multiply(c[TILE], m, side, k, A, a0, a_row, a_k, M, b0, b_k, across, out, first * n + j, n,
                 t, (following, following + half, following + half, part, NO))
        following += part
    if c[3]:
        follow(c[8], out[first * n:(first + m) * n], memory(c[3], n, own), n)


@njit(**INLINE)
def descend(c, i, x, a, n, over, g):
    """The optimiser's step for n weights, from number a on; g over `over` is their gradient.

    Integers i, i + 1, .. of the instruction are where it is, and w, and three states; see
    `optimisers.handlers`.
    """
    skip = a * g.itemsize
    call(c[i], (place(x, NO), n, over, place(g, NO), c[i + 1] + skip, c[i + 2] + skip,
                c[i + 3] + skip, c[i + 4] + skip))


@njit(**INLINE)
def gradient(share, shares, c, x, own):
    """GRADIENT: h, delta; N, n_in, n_out; how to descend, w, three states.

    While a block is summed its weights and the first two states are claimed: other threads have
    read them since this one wrote them, or they are no longer near.
    """
    N, n_in, n_out, NR = c[3], c[4], c[5], width(own)
    h, delta = memory(c[1], N * n_in, own), memory(c[2], N * n_out, own)
    t, G, P = own[:BLOCK * NR], own[BLOCK * NR:][:BLOCK * n_out], own[BLOCK * (NR + n_out):]
    B, b0, b_k, across = readable(delta, NO, n_out, N, n_out, NO, P)
    top = cut(n_in, share + 1, shares)
    for first in range(cut(n_in, share, shares), top, BLOCK):
        rows = min(BLOCK, top - first)
        skip, size = first * n_out * own.itemsize, rows * n_out
        wanted = c[7] + skip, c[8] + skip, c[9] + skip, size * own.itemsize, ONE
        A, a0, a_row, a_k = h, first, ONE, n_in
        if n_in * own.itemsize % ALIKE == 0:
            A, a0, a_row, a_k = straight(rows, N, h, first, True, n_in, n_out)
        multiply(c[TILE], rows, n_out, N, A, a0, a_row, a_k, B, b0, b_k, across, G, NO, n_out, t,
                 wanted)
        descend(c, 6, x, first * n_out, size, N, G)


@njit(**INLINE)
def bias(share, shares, c, x, own):
    """BIAS: delta; N, n; how to descend, w, three states.  Rows of b are columns of delta."""
    N, n = c[2], c[3]
    delta = memory(c[1], N * n, own)
    a, z = cut(n, share, shares), cut(n, share + 1, shares)
    g = own[:z - a]
    g[:] = 0
    for row in range(N):
        one = delta[row * n + a:row * n + z]
        for j in range(len(g)):
            g[j] += one[j]
    descend(c, 4, x, a, z - a, N, g)


@njit(**INLINE)
def update(share, shares, c, x, own):
    """UPDATE: rows, numbers in a row, g; how to descend, w, three states."""
    n = c[2]
    a, z = cut(c[1], share, shares) * n, cut(c[1], share + 1, shares) * n
    descend(c, 4, x, a, z - a, ONE, memory(c[3], c[1] * n, own)[a:])


@njit(**FUSED)
def numbers(what, x, y, z, s, out):
    """EACH, of a part."""
    one, nothing = out.dtype.type(1), out.dtype.type(0)
    if what == ADD:
        for i in range(len(out)):
            out[i] = x[i] + y[i]
    elif what == SUBTRACT:
        for i in range(len(out)):
            out[i] = x[i] - y[i]
    elif what == SCALE:
        for i in range(len(out)):
            out[i] = s * x[i]
    elif what == DIFFERENCE:
        for i in range(len(out)):
            out[i] = x[i] + (y[i] - z[i])
    elif what == TANH_SLOPE:
        for i in range(len(out)):
            out[i] = x[i] * (one - y[i] * y[i])
    elif what == RELU_SLOPE:
        for i in range(len(out)):
            out[i] = x[i] * (one if y[i] > 0 else nothing)          # NaN 0 is NaN
    elif what == TANH_ERROR:
        for i in range(len(out)):
            out[i] = (x[i] - y[i]) * (one - z[i] * z[i])
    elif what == RELU_ERROR:
        for i in range(len(out)):
            out[i] = (x[i] - y[i]) * (one if z[i] > 0 else nothing)     # NaN 0 is NaN
    elif what == COPY:
        for i in range(len(out)):
            out[i] = x[i]
    else:
        for i in range(len(out)):
            sign = one if y[i] > 0 else -one if y[i] < 0 else nothing * y[i]
            out[i] = x[i] * sign


@njit(**INLINE)
def each(share, shares, c, x, own):
    """EACH: what, rows, numbers in a row; three arguments and the result."""
    n, size = c[3], c[2] * c[3]
    a, z = cut(c[2], share, shares) * n, cut(c[2], share + 1, shares) * n
    numbers(c[1], memory(c[4], size, own)[a:z], memory(c[5], size, own)[a:z],
            memory(c[6], size, own)[a:z], own.dtype.type(x[0]), memory(c[7], size, own)[a:z])


@njit(**INLINE)
def noise(share, shares, c, x, own):
    """NOISE: what, rows, numbers in a row; h, out; the counter's and the key's five words."""
    n, size = c[3], c[2] * c[3]
    a, z = cut(c[2], share, shares) * n, cut(c[2], share + 1, shares) * n
    h, out = memory(c[4], size, own), memory(c[5], size, own)
    name = (np.uint64(c[6]), np.uint64(c[7]), np.uint64(c[8]), np.uint64(c[9]), np.uint64(c[10]))
    draw(c[1], a, name, h[a:z], x[0], out[a:z])


@njit(**INLINE)
def losses(share, shares, c, x, own):
    """XENT: a, y, loss, delta; N, K.  SOFTMAX: a, 0, 0, p; N, K."""
    N, K = c[5], c[6]
    a, out = memory(c[1], N * K, own), memory(c[4], N * K, own)
    for n in range(cut(N, share, shares), cut(N, share + 1, shares)):
        row, p = a[n * K:n * K + K], out[n * K:n * K + K]
        top, total = exponentials(row, p)
        scale = own.dtype.type(1 / total)
        for k in range(K):
            p[k] *= scale
        if c[0] == XENT:
            label = memory(c[2], N, c)[n]
            memory(c[3], N, own)[n] = np.log(total) - (row[label] - top)
            p[label] -= 1


@njit(**INLINE)
def join(share, shares, c, x, own):
    """JOIN: two arrays and the result; N, numbers in a row of each."""
    N, n, m = c[4], c[5], c[6]
    x, y, out = memory(c[1], N * n, own), memory(c[2], N * m, own), memory(c[3], N * (n + m), own)
    for row in range(cut(N, share, shares), cut(N, share + 1, shares)):
        left, right = out[row * (n + m):row * (n + m) + n], out[row * (n + m) + n:][:m]
        for j in range(n):
            left[j] = x[row * n + j]
        for j in range(m):
            right[j] = y[row * m + j]


@njit(**SERIAL)
def ints(c):
    """An instruction's integers, from their address."""
    return memory(c, INTS, INT)


@njit(**SERIAL)
def floats(x):
    """Its floats."""
    return memory(x, FLOATS, FLOAT)


@njit(**SERIAL)
def mine(share, scratch, room, like):
    """A share's own memory."""
    return memory(scratch + share * room * like.itemsize, room, like)


def handlers(real):
    """The function of each instruction for one type of number, as C sees it: all by address.

    c, x : an instruction's integers and floats
    scratch, room : every thread's own memory, and how many numbers that is
    """
    like = np.empty(0, real)

    def product_at(c, x, share, shares, scratch, room):
        product(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    def gradient_at(c, x, share, shares, scratch, room):
        gradient(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    def bias_at(c, x, share, shares, scratch, room):
        bias(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    def update_at(c, x, share, shares, scratch, room):
        update(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    def each_at(c, x, share, shares, scratch, room):
        each(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    def noise_at(c, x, share, shares, scratch, room):
        noise(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    def losses_at(c, x, share, shares, scratch, room):
        losses(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    def join_at(c, x, share, shares, scratch, room):
        join(share, shares, ints(c), floats(x), mine(share, scratch, room, like))

    return {PRODUCT: product_at, GRADIENT: gradient_at, BIAS: bias_at, UPDATE: update_at,
            EACH: each_at, NOISE: noise_at, XENT: losses_at, SOFTMAX: losses_at, JOIN: join_at}


@njit(**SERIAL)
def stage(first, last, code, floats, share, shares, scratch, room):
    """One share of the instructions between two places where all wait."""
    for i in range(first, last):
        row = code[i]
        call(row[WHO], (row.ctypes.data, floats[i].ctypes.data, share, shares, scratch, room))


@njit(**SERIAL)
def all_there(y, K):
    """Whether y are labels of K classes; one that is counted from the last no longer is so."""
    for n in range(len(y)):
        if y[n] < 0:
            y[n] += K
        if not 0 <= y[n] < K:
            return False
    return True


@njit(**SERIAL)
def read_here(x, code, places, stays):
    """Instructions read the batch where it is, unless something that stays is written there."""
    first, last = x.ctypes.data, x.ctypes.data + x.nbytes
    for i in range(len(stays)):
        if stays[i, 0] < last and first < stays[i, 1]:
            return False
    for i in range(len(places)):
        code[places[i, 0], places[i, 1]] = first
    return True


@njit(**PARALLEL)
def run(x, y, K, places, stays, waits, code, floats, scratch, room):
    """All instructions, on a batch; in as many threads as there are.

    Parameters
    ----------
    x : array (numbers,)
    y : int64 (N,); labels, which end up in 0..K-1, or none
    K : int, classes
    places : int64 (m, 2)
        Which rows of code read x, and where in these its address stands.
    stays : int64 (m, 2)
        From where to where there is what is returned, or changed in its place.
    waits : int64 (stages + 1,)
        0, ..., the number of instructions: all wait before each of these, and at the end.
    code : int64 (instructions, INTS); WHO of a row is what `addresses.call` takes
    floats : float64 (instructions, FLOATS)
    scratch : array (threads, room) of the type that everything has
    room : int

    Returns
    -------
    DONE, NO_SUCH_LABEL or WRITTEN_OVER; in the last two cases no instruction is done: there are
    other labels than K, or x lies where something that stays is written.
    """
    if not all_there(y, K):
        return NO_SUCH_LABEL
    if not read_here(x, code, places, stays):
        return WRITTEN_OVER
    shares, own = min(np.int64(threads_now()), len(scratch)), scratch.ctypes.data
    if shares == 1:
        stage(waits[0], waits[-1], code, floats, NO, shares, own, room)
        return DONE
    for i in range(len(waits) - 1):
        for share in prange(shares):
            stage(waits[i], waits[i + 1], code, floats, np.int64(share), shares, own, room)
    return DONE
