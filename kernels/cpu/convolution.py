"""Convolutions: `kernels.reference`'s, in Numba: the layers of `local` with one set of weights.

    up, down    `local.passed`: from the weights of one place to those of the next is no step
    gradient    dW = sum_p h[what p sees]^T delta[p] / N, and so for the transposed

Tasks of a gradient are groups of places; each has a sum of its own, and the sums are added in
order.  There are PARTS groups at most, and fewer where their sums would take more memory than a
quarter of what comes in.
"""
import numpy as np
from numba import njit, prange

from minicredit.kernels import reference
from minicredit.kernels.cpu.local import BLOCK, passed, piece, room, seen, unit_means, units
from minicredit.kernels.cpu.memory import agree, empty, in_c, in_f, one_type
from minicredit.kernels.cpu.panels import NOTHING, address, product
from minicredit.kernels.cpu.threads import PARALLEL, SERIAL, SMALL_PRODUCT, several
from minicredit.kernels.cpu.tiles import transpose, transpose_and_sum

PARTS = 16


@njit(**SERIAL)
def places_grad(how, p0, p1, h, delta, where, N, F, dW, db):
    """dW and db of places p0 to p1 together, added to what is there."""
    C, ch, k = where[1], where[2], where[3]
    scale, (scratch, width) = h.dtype.type(1 / N), room(h)
    blocks = -(-N // BLOCK) * -(-F // width)
    for p in range(p0, p1):
        row, column, i0, i1, j0, j1 = seen(p, where)
        block = 0
        for n0 in range(0, N, BLOCK):
            n = min(BLOCK, N - n0)
            for f0 in range(0, F, width):
                wide, first = min(width, F - f0), (p * F + f0) * N + n0
                transpose_and_sum(delta, first, N, n, wide, scratch, 0, width,
                                  scratch, BLOCK * width)
                for j in range(wide):
                    db[f0 + j] += scratch[BLOCK * width + j] * scale
                product(how, i1 - i0, (j1 - j0) * ch, wide,
                        h, ((row + i0) * C + column + j0) * ch * N + n0, C * ch * N, N, 1, 0,
                        scratch, 0, width, 0, n, 1, scratch, len(scratch) - 1, 0,
                        dW, (i0 * k + j0) * ch * F + f0, k * ch * F, F, True, N,
                        (piece(delta, (p + 1) * F * N, F * N, block, blocks, False), NOTHING[1]))
                block += 1


@njit(**SERIAL)
def places_grad_transposed(how, p0, p1, h, delta, where, N, F, dW):
    """dW of places p0 to p1 of a transposed convolution together, added to what is there."""
    C, ch, k, S, (scratch, width) = where[1], where[2], where[3], where[3]**2 * where[2], room(h)
    for p in range(p0, p1):
        row, column, i0, i1, j0, j1 = seen(p, where)
        for n0 in range(0, N, BLOCK):
            n = min(BLOCK, N - n0)
            for i in range(i0, i1):
                for s0 in range(0, (j1 - j0) * ch, width):
                    wide = min(width, (j1 - j0) * ch - s0)
                    first = ((row + i) * C + column + j0) * ch + s0
                    transpose(delta, first * N + n0, N, n, wide, scratch, 0, width)
                    product(how, 1, F, wide, h, p * F * N + n0, 0, N, 1, 0,
                            scratch, 0, width, 0, n, 1, scratch, len(scratch) - 1, 0,
                            dW, (i * k + j0) * ch + s0, 0, S, True, N, NOTHING)


@njit(**SERIAL)
def part_of(how, transposed, part, parts, h, delta, where, N, F, dW, db):
    """The sum of one group of places, in dW[part] and db[part]."""
    P = where[7] * where[8]
    p0, p1 = part * P // parts, (part + 1) * P // parts
    dW[part], db[part] = 0, 0
    if transposed:
        places_grad_transposed(how, p0, p1, h, delta, where, N, F, dW[part])
    else:
        places_grad(how, p0, p1, h, delta, where, N, F, dW[part], db[part])


@njit(**SERIAL)
def parts_in_turn(how, transposed, parts, h, delta, where, N, F, dW, db):
    """All groups, in one thread."""
    for part in range(parts):
        part_of(how, transposed, part, parts, h, delta, where, N, F, dW, db)


@njit(**PARALLEL)
def parts_at_once(how, transposed, parts, h, delta, where, N, F, dW, db):
    """All groups, each in some thread."""
    for part in prange(parts):
        part_of(how, transposed, part, parts, h, delta, where, N, F, dW, db)


def groups(h, delta, P, weights):
    """How many groups of places have a sum of their own."""
    return max(1, min(PARTS, P, (h.size + delta.size) // (4 * weights)))


def grads(transposed, h, delta, where, F):
    """dW, flat, and db of a convolution, which is left to others if `transposed`."""
    where, N, H, D = tuple(map(int, where)), len(h), in_f(h), in_f(delta)
    _, P, S = units(where)
    parts = groups(h, delta, P, S * F)
    dW, db = empty((parts, S * F), h.dtype), empty((parts, F), h.dtype)
    run = parts_in_turn if N * P * S * F < SMALL_PRODUCT or not several() else parts_at_once
    run(address(h.dtype), transposed, parts, H, D, where, N, F, dW, db)
    if parts > 1:
        dW, db = dW.sum(axis=0), db.sum(axis=0)
    return dW, db.reshape(-1), D


def conv_dense(h, W, b, f, stencil):
    """See kernels.reference.conv_dense."""
    h, W, b = one_type(h, W, b)
    (n, P, S), F = units(stencil), W.shape[-1]
    agree("conv_dense", h=(h.shape, (len(h), n)), W=(W.shape, (S, F)), b=(b.shape, (F,)))
    return passed(False, h, in_c(W), in_c(b), f, stencil, F, (0, F, 1))


def conv_pull_back(delta, W, stencil):
    """See kernels.reference.conv_pull_back."""
    delta, W = one_type(delta, W)
    (n, P, S), F = units(stencil), W.shape[-1]
    agree("conv_pull_back", delta=(delta.shape, (len(delta), P * F)), W=(W.shape, (S, F)))
    return passed(True, delta, in_c(W), None, "linear", stencil, F, (0, F, 1))


def conv_grad(h, delta, stencil):
    """See kernels.reference.conv_grad."""
    h, delta = one_type(h, delta)
    n, P, S = units(stencil)
    F, N = delta.shape[1] // P, len(h)
    agree("conv_grad", h=(h.shape, (N, n)), delta=(delta.shape, (N, P * F)))
    if not N * P * S * F:
        return reference.conv_grad(h, delta, stencil)
    dW, db, _ = grads(False, h, delta, stencil, F)
    return dW.reshape(S, F), db


def conv_transposed(h, W, b, f, stencil):
    """See kernels.reference.conv_transposed."""
    h, W, b = one_type(h, W, b)
    (n, P, S), F = units(stencil), len(W)
    agree("conv_transposed", h=(h.shape, (len(h), P * F)), W=(W.shape, (F, S)),
          b=(b.shape, (stencil[2],)))
    return passed(True, h, in_c(W), in_c(b), f, stencil, F, (0, 1, S))


def conv_transposed_pull_back(delta, W, stencil):
    """See kernels.reference.conv_transposed_pull_back."""
    delta, W = one_type(delta, W)
    (n, P, S), F = units(stencil), len(W)
    agree("conv_transposed_pull_back", delta=(delta.shape, (len(delta), n)), W=(W.shape, (F, S)))
    return passed(False, delta, in_c(W), None, "linear", stencil, F, (0, 1, S))


def conv_transposed_grad(h, delta, stencil):
    """See kernels.reference.conv_transposed_grad."""
    h, delta = one_type(h, delta)
    n, P, S = units(stencil)
    F, N, ch = h.shape[1] // P, len(h), stencil[2]
    agree("conv_transposed_grad", h=(h.shape, (N, P * F)), delta=(delta.shape, (N, n)))
    if not N * P * S * F:
        return reference.conv_transposed_grad(h, delta, stencil)
    dW, _, D = grads(True, h, delta, stencil, F)
    db = np.empty(n, h.dtype)
    unit_means(D, N, db)
    return dW.reshape(F, S), db.reshape(-1, ch).sum(axis=0)
