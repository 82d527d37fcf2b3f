"""Dense layers: `kernels.reference`'s activations, in Numba.

Every product of matrices, here and in `coherent`, is one kernel, `products`, and what follows it
(bias, nonlinearity) is done to a block while it is in the core's cache.  Whatever goes number by
number is one kernel too, `each`.
"""
import numpy as np
from numba import njit, prange

from minicredit.kernels import reference
from minicredit.kernels.cpu.losses import softmax
from minicredit.kernels.cpu.memory import agree, alike, flat, one_type
from minicredit.kernels.cpu.products import LINEAR, RELU, SUMS, TANH, products
from minicredit.kernels.cpu.threads import FUSED, PARALLEL, PART, SMALL, several

FOLLOWS = {"linear": LINEAR, "softmax": LINEAR, "tanh": TANH, "relu": RELU}
TANH_SLOPE, RELU_SLOPE, DIFFERENCE, SIGNS = range(4)


# Products -----------------------------------------------------------------------------------------

def dense(h, W, b, f):
    """See kernels.reference.dense.  Bias and nonlinearity go over each block as it is made."""
    h, W, b = one_type(h, W, b)
    (N, n_in), n_out = h.shape, W.shape[1]
    agree("dense", W=(W.shape, (n_in, n_out)), b=(b.shape, (n_out,)))
    out = np.empty((N, n_out), h.dtype)
    if not N * n_in * n_out:
        return reference.dense(h, W, b, f)
    (H, th), (V, tv) = flat(h), flat(W)
    products(H, th, V, tv, (N, n_out, n_in, 0), out.ravel(), FOLLOWS[f], flat(b)[0])
    return softmax(out) if f == "softmax" else out


def pull_back(delta, W):
    """See kernels.reference.pull_back.  W is transposed as it is packed."""
    delta, W = one_type(delta, W)
    (N, n_out), n_in = delta.shape, len(W)
    agree("pull_back", W=(W.shape, (n_in, n_out)))
    e = np.empty((N, n_in), delta.dtype)
    if not N * n_in * n_out:
        return reference.pull_back(delta, W)
    (D, td), (V, tv) = flat(delta), flat(W)
    products(D, td, V, not tv, (N, n_in, n_out, 0), e.ravel())
    return e


def dense_grad(h, delta):
    """See kernels.reference.dense_grad.  1 / N multiplies delta as it is packed, not dW."""
    h, delta = one_type(h, delta)
    (N, n_in), n_out = h.shape, delta.shape[1]
    agree("dense_grad", delta=(delta.shape, (N, n_out)))
    if not N * n_in * n_out:
        return reference.dense_grad(h, delta)
    dW, db = np.empty((n_in, n_out), h.dtype), np.empty(n_out, h.dtype)
    (H, th), (D, td) = flat(h), flat(delta)
    products(H, not th, D, td, (n_in, n_out, N, 0), dW.ravel(), SUMS, db, alpha=1 / N)
    return dW, db


# Number by number ---------------------------------------------------------------------------------

@njit(**FUSED)
def each(what, x, y, z, out):
    """One operation on all numbers of x and y (and z), in flat memory."""
    one, nothing = out.dtype.type(1), out.dtype.type(0)
    if what == TANH_SLOPE:
        for i in range(len(out)):
            out[i] = x[i] * (one - y[i] * y[i])
    elif what == RELU_SLOPE:
        for i in range(len(out)):
            out[i] = x[i] * (one if y[i] > 0 else nothing)          # NaN 0 is NaN
    elif what == DIFFERENCE:
        for i in range(len(out)):
            out[i] = x[i] + (y[i] - z[i])
    else:
        for i in range(len(out)):
            s = one if y[i] > 0 else -one if y[i] < 0 else nothing * y[i]
            out[i] = x[i] * s


@njit(**PARALLEL)
def each_at_once(what, x, y, z, out):
    """The same, part by part, each in some thread."""
    for part in prange(-(-len(out) // PART)):
        i, j = part * PART, min(part * PART + PART, len(out))
        each(what, x[i:j], y[i:j], z[i:j], out[i:j])


def of_each(what, x, y, z, out):
    """`each`, in several threads if it is worth it."""
    run = each_at_once if len(out) > SMALL and several() else each
    run(what, x, y, z, out)


def times_slope(e, h, f):
    """See kernels.reference.times_slope.  One pass; the result lies in memory as h does."""
    if f == "linear":
        return e
    e, h = one_type(e, h)
    if e.shape != h.shape or f == "softmax":
        return reference.times_slope(e, h, f)
    delta, out, (H, E) = alike(h, e)
    of_each(TANH_SLOPE if f == "tanh" else RELU_SLOPE, E, H, H, out)
    return delta


def difference(h, up, down):
    """See kernels.reference.difference.  One pass; the result lies in memory as h does."""
    h, up, down = one_type(h, up, down)
    agree("difference", up=(up.shape, h.shape), down=(down.shape, h.shape))
    h_hat, out, (H, up, down) = alike(h, up, down)
    of_each(DIFFERENCE, H, up, down, out)
    return h_hat


def with_signs(M, W):
    """See kernels.reference.with_signs.  One pass."""
    M, W = one_type(M, W)
    agree("with_signs", W=(W.shape, M.shape))
    both, out, (M, W) = alike(M, W)
    of_each(SIGNS, M, W, W, out)
    return both
