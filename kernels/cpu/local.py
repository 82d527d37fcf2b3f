"""Layers of images, each place with its own weights: `kernels.reference`'s, in Numba.

The batch is innermost: an activity (N, n) lies in Fortran order, the N examples of a unit side by
side.  What place p sees in one row of its kernel is then one stretch of memory, however many taps
and channels that are, and no patches are copied:

    gather      a[p] = sum_s W[p, s] h[s]               s what p sees: the rows of its kernel
    scatter     e[y] += W[p]^T delta[p]                 y a row of the image: the places p that see
                                                        it in one column of places, all in one sum
    gradient    dW[p] = h[what p sees]^T delta[p] / N   delta[p] transposed, a few columns at a time

each a `panels.product`, with the same geometry whether weights are shared or not: strides tell
where the weights of a place begin, and which way round they lie.  Taps outside the image are left
out.  What comes in C order is transposed once; what goes out is in Fortran order.

What the next place needs is asked for meanwhile.

Tasks are places for the first and the last, rows of the image for the second, and slices of a large
batch: none writes what another does, and each sums in an order of its own.
"""
import numpy as np
from numba import njit, prange

from minicredit.kernels import reference
from minicredit.kernels.cpu.dense import FOLLOWS, LINEAR, RELU, TANH
from minicredit.kernels.cpu.functions import tanh
from minicredit.kernels.cpu.memory import agree, empty, in_c, in_f, one_type
from minicredit.kernels.cpu.panels import NOTHING, product
from minicredit.kernels.cpu.threads import (FUSED, PARALLEL, SERIAL, SMALL_PRODUCT, several)
from minicredit.kernels.cpu.tiles import lanes, transpose

SLICE = 256                                         # examples of a task, at most
BAND = 4                                            # rows of an image
WEIGHTS = 1 << 15                                   # that stay in a core's second cache
BLOCK = 128                                         # examples whose products one sum takes


# Geometry -----------------------------------------------------------------------------------------

@njit(**SERIAL)
def taps(first, k, n):
    """The first of k taps, and the end of those, that fall on a side of n units."""
    begin = max(0, -first)
    return begin, max(begin, min(k, n - first))


@njit(**SERIAL)
def readers(y, k, s, top, R1):
    """The first row of places, and the end of those, that see row y of the image."""
    begin = max(0, -((k - 1 - y - top) // s))
    return begin, max(begin, min(R1, (y + top) // s + 1))


@njit(**SERIAL)
def seen(p, where):
    """The row and column of the image where place p's kernel begins; its taps that fall inside."""
    R, C, _, k, s, top, left, _, C1 = where
    row, column = p // C1 * s - top, p % C1 * s - left
    i0, i1 = taps(row, k, R)
    j0, j1 = taps(column, k, C)
    return row, column, i0, i1, j0, j1


# Up and down --------------------------------------------------------------------------------------

@njit(**FUSED)
def follow(a, f):
    """f(a), in place."""
    if f == TANH:
        for j in range(len(a)):
            a[j] = tanh(a[j])
    elif f == RELU:
        for j in range(len(a)):
            a[j] = 0 if a[j] < 0 else a[j]          # NaN is not below 0, and stays


@njit(**SERIAL)
def stretch(x, first, n, write):
    """What `panels.product` is told to ask for: n numbers from number `first` on, so far as there.

    Returns
    -------
    tuple : address, bytes, whether to write there
    """
    n = max(0, min(n, len(x) - first))
    return np.int64(x.ctypes.data) + first * x.itemsize, n * x.itemsize, write


@njit(**SERIAL)
def gather(p, n0, n1, h, W, b, f, where, sizes, out):
    """Place p of all places: what it sees times its weights, for examples n0 to n1."""
    C, ch, k = where[1], where[2], where[3]
    N, F, place, tap, own = sizes                   # steps in W: place by place, tap by tap, ..
    row, column, i0, i1, j0, j1 = seen(p, where)
    b0, b_row, one = p * F % len(b), min(1, len(b) - 1), W.dtype.type(1)
    m, w0 = (j1 - j0) * ch, p * place + (i0 * k + j0) * ch * tap
    h0, to = ((row + i0) * C + column + j0) * ch * N + n0, p * F * N + n0
    most = max(8, WEIGHTS // F)
    following = stretch(out, to + F * N, F * N if n1 - n0 == N else 0, True)
    if (i1 - i0) * m <= most:
        product(F, n1 - n0, W, w0, own, tap, k * ch * tap, h, h0, N, C * ch * N, m, i1 - i0,
                b, b0, b_row, out, to, N, False, one, following)
    else:
        for i in range(i1 - i0):
            for s in range(0, m, most):
                product(F, n1 - n0, W, w0 + (i * k * ch + s) * tap, own, tap, 0,
                        h, h0 + (i * C * ch + s) * N, N, 0, min(most, m - s), 1,
                        b, b0, b_row, out, to, N, i + s > 0, one, NOTHING)
    if f != LINEAR:
        for u in range(p * F, p * F + F):
            follow(out[u * N + n0:u * N + n1], f)


@njit(**SERIAL)
def scatter(y0, y1, n0, n1, h, W, b, f, where, sizes, out):
    """Rows y0 to y1 of the image: what the places that see them say, times their weights."""
    R, C, ch, k, s, top, left, R1, C1 = where
    N, F, place, tap, own = sizes
    width, one = 4 * lanes(h), W.dtype.type(1)
    for u in range(y0 * C * ch, y1 * C * ch):
        out[u * N + n0:u * N + n1] = b[u % len(b)]
    for c in range(C1):
        column = c * s - left
        j0, j1 = taps(column, k, C)
        for n in range(n0, n1, width):
            for y in range(y0, y1):
                r0, r1 = readers(y, k, s, top, R1)
                first = r0 * C1 + c
                product((j1 - j0) * ch, min(width, n1 - n),
                        W, first * place + ((y + top - r0 * s) * k + j0) * ch * tap, tap, own,
                        C1 * place - s * k * ch * tap, h, first * F * N + n, N, C1 * F * N,
                        F, r1 - r0, b, 0, 0, out, (y * C + column + j0) * ch * N + n, N, True, one,
                        NOTHING)
    if f != LINEAR:
        for u in range(y0 * C * ch, y1 * C * ch):
            follow(out[u * N + n0:u * N + n1], f)


@njit(**SERIAL)
def task(down, at, slices, h, W, b, f, where, sizes, out):
    """One task of `gather`, or of `scatter` if `down`."""
    N, part, which = sizes[0], at % slices, at // slices
    n0, n1 = part * N // slices, (part + 1) * N // slices
    if down:
        y0, y1 = which * BAND, min(which * BAND + BAND, where[0])
        scatter(y0, y1, n0, n1, h, W, b, f, where, sizes, out)
    else:
        gather(which, n0, n1, h, W, b, f, where, sizes, out)


@njit(**SERIAL)
def tasks_in_turn(down, n, slices, h, W, b, f, where, sizes, out):
    """All tasks, in one thread."""
    for at in range(n):
        task(down, at, slices, h, W, b, f, where, sizes, out)


@njit(**PARALLEL)
def tasks_at_once(down, n, slices, h, W, b, f, where, sizes, out):
    """All tasks, each in some thread."""
    for at in prange(n):
        task(down, np.int64(at), slices, h, W, b, f, where, sizes, out)


def passed(down, h, W, b, f, where, F, steps):
    """f(gather + b), (N, P F), or f(scatter + b), (N, R C ch), if `down`.

    Parameters
    ----------
    W, b : array
        Flat; b is as long as the answer, or begins again after its end, or is None.
    steps : tuple of three int
        From the weights of a place to those of the next; of a tap; of a unit of the place.
    """
    R, C, ch, k, s, top, left, R1, C1 = where = tuple(map(int, where))
    N, b = len(h), np.zeros(1, h.dtype) if b is None else b
    out = empty((N, R * C * ch if down else R1 * C1 * F), h.dtype, True)
    if out.size:
        slices = -(-N // SLICE)
        n = (-(-R // BAND) if down else R1 * C1) * slices
        small = N * R1 * C1 * F * k * k * ch < SMALL_PRODUCT
        run = tasks_in_turn if small or not several() else tasks_at_once
        run(down, n, slices, in_f(h), W, b, FOLLOWS[f], where, (N, F, *steps), out.T.reshape(-1))
    return out


# Gradients ----------------------------------------------------------------------------------------

@njit(**SERIAL)
def place_grad(p, h, delta, where, N, F, dW, db):
    """dW[p] and db[p] of place p."""
    C, ch, k, S, width = where[1], where[2], where[3], where[3]**2 * where[2], 2 * lanes(h)
    row, column, i0, i1, j0, j1 = seen(p, where)
    scale = h.dtype.type(1 / N)
    m, scratch, (nothing, one) = (j1 - j0) * ch, np.empty(BLOCK * width, h.dtype), constants(h)
    following = (p + 1) * F * N                     # what the next place needs, part by part
    part = -(-F * N // max(1, (i1 - i0) * -(-N // BLOCK) * -(-F // width)))
    if (i1 - i0) * (j1 - j0) < k * k:
        dW[p * S * F:(p + 1) * S * F] = 0
    for n0 in range(0, N, BLOCK):
        n = min(BLOCK, N - n0)
        for f0 in range(0, F, width):
            wide = min(width, F - f0)
            transpose(delta, (p * F + f0) * N + n0, N, n, wide, scratch, 0, width)
            product(1, wide, one, 0, 0, 0, 0, scratch, 0, width, 0, n, 1, nothing, 0, 0,
                    db, p * F + f0, 0, n0 > 0, scale, NOTHING)
            for i in range(i0, i1):
                product(m, wide, h, ((row + i) * C + column + j0) * ch * N + n0, N, 1, 0,
                        scratch, 0, width, 0, n, 1, nothing, 0, 0,
                        dW, (p * S + (i * k + j0) * ch) * F + f0, F, n0 > 0, scale,
                        stretch(delta, following, part, False))
                following += part


@njit(**SERIAL)
def place_grad_transposed(p, h, delta, where, N, F, dW):
    """dW[p] of a transposed layer's place p."""
    C, ch, k, S, width = where[1], where[2], where[3], where[3]**2 * where[2], 2 * lanes(h)
    row, column, i0, i1, j0, j1 = seen(p, where)
    scale = h.dtype.type(1 / N)
    m, scratch, nothing = (j1 - j0) * ch, np.empty(BLOCK * width, h.dtype), constants(h)[0]
    following = (p + 1) * F * N                     # what the next place needs, part by part
    part = -(-F * N // max(1, (i1 - i0) * -(-N // BLOCK) * -(-m // width)))
    if (i1 - i0) * (j1 - j0) < k * k:
        dW[p * S * F:(p + 1) * S * F] = 0
    for n0 in range(0, N, BLOCK):
        n = min(BLOCK, N - n0)
        for i in range(i0, i1):
            for s0 in range(0, m, width):
                wide = min(width, m - s0)
                first = ((row + i) * C + column + j0) * ch + s0
                transpose(delta, first * N + n0, N, n, wide, scratch, 0, width)
                product(F, wide, h, p * F * N + n0, N, 1, 0, scratch, 0, width, 0, n, 1,
                        nothing, 0, 0, dW, p * S * F + (i * k + j0) * ch + s0, S, n0 > 0, scale,
                        stretch(h, following, part, False))
                following += part


@njit(**SERIAL)
def constants(h):
    """A nothing and a one of h's type, as memory."""
    return np.zeros(1, h.dtype), np.ones(1, h.dtype)


@njit(**SERIAL)
def grads_in_turn(transposed, h, delta, where, N, F, dW, db):
    """The gradients of all places, in one thread."""
    for p in range(where[7] * where[8]):
        if transposed:
            place_grad_transposed(p, h, delta, where, N, F, dW)
        else:
            place_grad(p, h, delta, where, N, F, dW, db)


@njit(**PARALLEL)
def grads_at_once(transposed, h, delta, where, N, F, dW, db):
    """The same, each place in some thread."""
    for p in prange(where[7] * where[8]):
        if transposed:
            place_grad_transposed(np.int64(p), h, delta, where, N, F, dW)
        else:
            place_grad(np.int64(p), h, delta, where, N, F, dW, db)


@njit(**{**SERIAL, "fastmath": {"reassoc"}})        # or the sum would take one number at a time
def unit_means(delta, N, db):
    """db[u] = the sum of unit u's N numbers / N."""
    for u in range(len(db)):
        total = delta.dtype.type(0)
        one = delta[u * N:u * N + N]
        for n in range(N):
            total += one[n]
        db[u] = total / N


# What a backend offers ----------------------------------------------------------------------------

def local_dense(h, W, b, f, stencil):
    """See kernels.reference.local_dense."""
    h, W, b = one_type(h, W, b)
    n, P, S = units(stencil)
    F = W.shape[-1]
    agree("local_dense", h=(h.shape, (len(h), n)), W=(W.shape, (P, S, F)), b=(b.shape, (P, F)))
    return passed(False, h, in_c(W), in_c(b), f, stencil, F, (S * F, F, 1))


def local_pull_back(delta, W, stencil):
    """See kernels.reference.local_pull_back."""
    delta, W = one_type(delta, W)
    n, P, S = units(stencil)
    F = W.shape[-1]
    agree("local_pull_back", delta=(delta.shape, (len(delta), P * F)), W=(W.shape, (P, S, F)))
    return passed(True, delta, in_c(W), None, "linear", stencil, F, (S * F, F, 1))


def local_grad(h, delta, stencil):
    """See kernels.reference.local_grad."""
    h, delta = one_type(h, delta)
    n, P, S = units(stencil)
    F, N = delta.shape[1] // P, len(h)
    agree("local_grad", h=(h.shape, (N, n)), delta=(delta.shape, (N, P * F)))
    if not N * P * S * F:
        return reference.local_grad(h, delta, stencil)
    dW, db = empty((P, S, F), h.dtype), empty((P, F), h.dtype)
    grads(False, h, delta, stencil, F, dW, db)
    return dW, db


def local_transposed(h, W, b, f, stencil):
    """See kernels.reference.local_transposed."""
    h, W, b = one_type(h, W, b)
    n, P, S = units(stencil)
    F, ch = W.shape[1], stencil[2]
    agree("local_transposed", h=(h.shape, (len(h), P * F)), W=(W.shape, (P, F, S)),
          b=(b.shape, (n // ch, ch)))
    return passed(True, h, in_c(W), in_c(b), f, stencil, F, (S * F, 1, S))


def local_transposed_pull_back(delta, W, stencil):
    """See kernels.reference.local_transposed_pull_back."""
    delta, W = one_type(delta, W)
    n, P, S = units(stencil)
    F = W.shape[1]
    agree("local_transposed_pull_back", delta=(delta.shape, (len(delta), n)),
          W=(W.shape, (P, F, S)))
    return passed(False, delta, in_c(W), None, "linear", stencil, F, (S * F, 1, S))


def local_transposed_grad(h, delta, stencil):
    """See kernels.reference.local_transposed_grad."""
    h, delta = one_type(h, delta)
    n, P, S = units(stencil)
    F, N = h.shape[1] // P, len(h)
    agree("local_transposed_grad", h=(h.shape, (N, P * F)), delta=(delta.shape, (N, n)))
    if not N * P * S * F:
        return reference.local_transposed_grad(h, delta, stencil)
    dW, db = empty((P, F, S), h.dtype), empty((n // stencil[2], stencil[2]), h.dtype)
    grads(True, h, delta, stencil, F, dW, db)
    return dW, db


def grads(transposed, h, delta, where, F, dW, db):
    """Both gradients of a layer or, if `transposed`, of its mirror, into dW and db."""
    where, N, H, D = tuple(map(int, where)), len(h), in_f(h), in_f(delta)
    run = grads_in_turn if N * dW.size < SMALL_PRODUCT or not several() else grads_at_once
    run(transposed, H, D, where, N, F, dW.reshape(-1), db.reshape(-1))
    if transposed:
        unit_means(D, N, db.reshape(-1))


def units(stencil):
    """R C ch units of the image, P places, S taps of each."""
    R, C, ch, k, _, _, _, R1, C1 = stencil
    return R * C * ch, R1 * C1, k * k * ch
