"""Layers of images, each place with its own weights: `kernels.reference`'s, in Numba.

The batch is innermost: an activity (N, n) lies in Fortran order, the N examples of a unit side by
side.  What place p sees in one row of its kernel is then one stretch of memory, however many taps
and channels that are, and no patches are copied:

    gather      a[p] = sum_s W[p, s] h[s]               s what p sees: the rows of its kernel
    scatter     e[s] += W[p]^T delta[p]                 place after place
    gradient    dW[p] = h[what p sees]^T delta[p] / N   delta[p] transposed, a few columns at a time

each a `panels.product`, with the same geometry whether weights are shared or not: strides tell
where the weights of a place begin, and which way round they lie.  Taps outside the image are left
out.  What comes in C order is transposed once; what goes out is in Fortran order.

What a place reads of its own it reads once, while it is near: an activity of the places is larger
than a core's caches, and so may be the weights.  What the next place needs of them, and where it
writes, is asked for meanwhile.

Tasks are places for the first and the last, bands of the image for the second, and slices of a
large batch: none writes what another does, and each sums in an order of its own.
"""
import numpy as np
from numba import get_num_threads, njit, prange

from minicredit.kernels import reference
from minicredit.kernels.cpu.dense import FOLLOWS, LINEAR, RELU, TANH
from minicredit.kernels.cpu.functions import tanh
from minicredit.kernels.cpu.memory import agree, empty, in_c, in_f, one_type
from minicredit.kernels.cpu.panels import NOTHING, address, product
from minicredit.kernels.cpu.threads import (FUSED, PARALLEL, SERIAL, SMALL_PRODUCT, several)
from minicredit.kernels.cpu.tiles import lanes, transpose, transpose_and_sum

SLICE = 256                                         # examples of a task, at most
BAND = 4                                            # rows of the image in a task, at least
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
def followed(f, out, first, last, n0, n1, N):
    """f of units first to last, in place, for examples n0 to n1."""
    if n1 - n0 == N:                                # one part of an array: each takes time
        follow(out[first * N:last * N], f)
    else:
        for u in range(first, last):
            follow(out[u * N + n0:u * N + n1], f)


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
def piece(x, first, n, block, blocks, write):
    """Part number `block` of so many of such a stretch."""
    part = -(-n // blocks)
    return stretch(x, first + block * part, part, write)


@njit(**SERIAL)
def gather(how, p, n0, n1, h, W, b, f, where, sizes, out):
    """Place p of all places: what it sees times its weights, for examples n0 to n1."""
    C, ch, k = where[1], where[2], where[3]
    N, F, place, tap, own = sizes                   # steps in W: place by place, tap by tap, ..
    row, column, i0, i1, j0, j1 = seen(p, where)
    b0, b_row = p * F % len(b), min(1, len(b) - 1)
    m, w0 = (j1 - j0) * ch, p * place + (i0 * k + j0) * ch * tap
    h0, to = ((row + i0) * C + column + j0) * ch * N + n0, p * F * N + n0
    most = max(8, WEIGHTS // F)
    following = (stretch(W, (p + 1) * place, place, False),
                 stretch(out, to + F * N, F * N if n1 - n0 == N else 0, True))
    if (i1 - i0) * m <= most:
        product(how, 1, F, n1 - n0, W, w0, 0, own, tap, k * ch * tap,
                h, h0, N, C * ch * N, m, i1 - i0, b, b0, b_row, out, to, 0, N, False, 1, following)
    else:
        for i in range(i1 - i0):
            for s in range(0, m, most):
                product(how, 1, F, n1 - n0, W, w0 + (i * k * ch + s) * tap, 0, own, tap, 0,
                        h, h0 + (i * C * ch + s) * N, N, 0, min(most, m - s), 1,
                        b, b0, b_row, out, to, 0, N, i + s > 0, 1, NOTHING)
    if f != LINEAR:
        followed(f, out, p * F, (p + 1) * F, n0, n1, N)


@njit(**SERIAL)
def scatter(how, y0, y1, n0, n1, h, W, b, f, where, sizes, out):
    """Rows y0 to y1 of the image: what the places that see them say, times their weights."""
    R, C, ch, k, s, top, left, R1, C1 = where
    N, F, place, tap, own = sizes
    u0, u1 = y0 * C * ch, y1 * C * ch
    if n1 - n0 == N and len(b) == 1:
        out[u0 * N:u1 * N] = b[0]
    else:
        for u in range(u0, u1):
            out[u * N + n0:u * N + n1] = b[u % len(b)]
    r0, r1 = readers(y0, k, s, top, R1)[0], readers(y1 - 1, k, s, top, R1)[1]
    for p in range(r0 * C1, r1 * C1):
        row, column, i0, i1, j0, j1 = seen(p, where)
        i0, i1 = max(i0, y0 - row), min(i1, y1 - row)
        product(how, i1 - i0, (j1 - j0) * ch, n1 - n0,
                W, p * place + (i0 * k + j0) * ch * tap, k * ch * tap, tap, own, 0,
                h, p * F * N + n0, N, 0, F, 1, b, 0, 0,
                out, ((row + i0) * C + column + j0) * ch * N + n0, C * ch * N, N, True, 1,
                (stretch(W, (p + 1) * place, place, False),
                 stretch(h, (p + 1) * F * N, F * N if n1 - n0 == N else 0, False)))
    if f != LINEAR:
        followed(f, out, u0, u1, n0, n1, N)


@njit(**SERIAL)
def task(how, down, at, n, slices, h, W, b, f, where, sizes, out):
    """One of n tasks of `gather`, or of `scatter` if `down`."""
    R, N, part, which, bands = where[0], sizes[0], at % slices, at // slices, n // slices
    n0, n1 = part * N // slices, (part + 1) * N // slices
    if down:
        y0, y1 = which * R // bands, (which + 1) * R // bands
        scatter(how, y0, y1, n0, n1, h, W, b, f, where, sizes, out)
    else:
        gather(how, which, n0, n1, h, W, b, f, where, sizes, out)


@njit(**SERIAL)
def tasks_in_turn(how, down, n, slices, h, W, b, f, where, sizes, out):
    """All tasks, in one thread."""
    for at in range(n):
        task(how, down, at, n, slices, h, W, b, f, where, sizes, out)


@njit(**PARALLEL)
def tasks_at_once(how, down, n, slices, h, W, b, f, where, sizes, out):
    """All tasks, each in some thread."""
    for at in prange(n):
        task(how, down, np.int64(at), n, slices, h, W, b, f, where, sizes, out)


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
        slices, small = -(-N // SLICE), N * R1 * C1 * F * k * k * ch < SMALL_PRODUCT
        n = (min(-(-R // BAND), get_num_threads()) if down else R1 * C1) * slices
        run = tasks_in_turn if small or not several() else tasks_at_once
        run(address(h.dtype), down, n, slices, in_f(h), W, b, FOLLOWS[f], where,
            (N, F, *steps), out.T.reshape(-1))
    return out


# Gradients ----------------------------------------------------------------------------------------

@njit(**SERIAL)
def room(h):
    """Room for a block of errors the other way round, their sums, and a nothing; and its width."""
    width = 2 * lanes(h)
    scratch = np.empty((BLOCK + 1) * width + 1, h.dtype)
    scratch[-1] = 0
    return scratch, width


@njit(**SERIAL)
def place_grad(how, p, h, delta, where, N, F, dW, db):
    """dW[p] and db[p] of place p."""
    C, ch, k, S = where[1], where[2], where[3], where[3]**2 * where[2]
    row, column, i0, i1, j0, j1 = seen(p, where)
    m, scale, (scratch, width) = (j1 - j0) * ch, h.dtype.type(1 / N), room(h)
    block, blocks = 0, -(-N // BLOCK) * -(-F // width)
    if (i1 - i0) * (j1 - j0) < k * k:
        dW[p * S * F:(p + 1) * S * F] = 0
    for n0 in range(0, N, BLOCK):
        n = min(BLOCK, N - n0)
        for f0 in range(0, F, width):
            wide, u0 = min(width, F - f0), p * F + f0
            transpose_and_sum(delta, u0 * N + n0, N, n, wide, scratch, 0, width,
                              scratch, BLOCK * width)
            for j in range(wide):
                found = scratch[BLOCK * width + j] * scale
                db[u0 + j] = db[u0 + j] + found if n0 else found
            product(how, i1 - i0, m, wide, h, ((row + i0) * C + column + j0) * ch * N + n0,
                    C * ch * N, N, 1, 0, scratch, 0, width, 0, n, 1, scratch, len(scratch) - 1, 0,
                    dW, (p * S + (i0 * k + j0) * ch) * F + f0, k * ch * F, F, n0 > 0, N,
                    (piece(delta, (p + 1) * F * N, F * N, block, blocks, False),
                     piece(dW, (p + 1) * S * F, S * F, block, blocks, True)))
            block += 1


@njit(**SERIAL)
def place_grad_transposed(how, p, h, delta, where, N, F, dW):
    """dW[p] of a transposed layer's place p."""
    C, ch, k, S = where[1], where[2], where[3], where[3]**2 * where[2]
    row, column, i0, i1, j0, j1 = seen(p, where)
    m, (scratch, width) = (j1 - j0) * ch, room(h)
    block, blocks = 0, (i1 - i0) * -(-N // BLOCK) * -(-m // width)
    if (i1 - i0) * (j1 - j0) < k * k:
        dW[p * S * F:(p + 1) * S * F] = 0
    for n0 in range(0, N, BLOCK):
        n = min(BLOCK, N - n0)
        for i in range(i0, i1):
            for s0 in range(0, m, width):
                wide = min(width, m - s0)
                first = ((row + i) * C + column + j0) * ch + s0
                transpose(delta, first * N + n0, N, n, wide, scratch, 0, width)
                product(how, 1, F, wide, h, p * F * N + n0, 0, N, 1, 0,
                        scratch, 0, width, 0, n, 1, scratch, len(scratch) - 1, 0,
                        dW, p * S * F + (i * k + j0) * ch + s0, 0, S, n0 > 0, N,
                        (piece(h, (p + 1) * F * N, F * N, block, blocks, False),
                         piece(dW, (p + 1) * S * F, S * F, block, blocks, True)))
                block += 1


@njit(**SERIAL)
def grads_in_turn(how, transposed, h, delta, where, N, F, dW, db):
    """The gradients of all places, in one thread."""
    for p in range(where[7] * where[8]):
        if transposed:
            place_grad_transposed(how, p, h, delta, where, N, F, dW)
        else:
            place_grad(how, p, h, delta, where, N, F, dW, db)


@njit(**PARALLEL)
def grads_at_once(how, transposed, h, delta, where, N, F, dW, db):
    """The same, each place in some thread."""
    for p in prange(where[7] * where[8]):
        if transposed:
            place_grad_transposed(how, np.int64(p), h, delta, where, N, F, dW)
        else:
            place_grad(how, np.int64(p), h, delta, where, N, F, dW, db)


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
    run(address(h.dtype), transposed, H, D, where, N, F, dW.reshape(-1), db.reshape(-1))
    if transposed:
        unit_means(D, N, db.reshape(-1))


def units(stencil):
    """R C ch units of the image, P places, S taps of each."""
    R, C, ch, k, _, _, _, R1, C1 = stencil
    return R * C * ch, R1 * C1, k * k * ch
