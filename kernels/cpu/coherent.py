"""Coherent networks, K side by side: `kernels.reference`'s signed operations, in Numba.

The products are those of `dense`, K at a time; the signed rectifier follows each block there.
"""
import numpy as np
from numba import njit

from minicredit.kernels import reference
from minicredit.kernels.cpu.memory import agree, in_c, one_type
from minicredit.kernels.cpu.products import SIGNED, SUMS, products
from minicredit.kernels.cpu.threads import SERIAL


def signed_dense(h, W, b, sign):
    """See kernels.reference.signed_dense.  Bias, rectifier and sign go over each block at once."""
    h, W, b, sign = one_type(h, W, b, sign)
    (K, n_in, n_out), N = W.shape, h.shape[-2]
    common = h.ndim == 2
    agree("signed_dense", h=(h.shape, (N, n_in) if common else (K, N, n_in)),
          b=(b.shape, (K, n_out)), sign=(sign.shape, (n_out,)))
    out = np.empty((K, N, n_out), h.dtype)
    if not out.size or not n_in:
        return reference.signed_dense(h, W, b, sign)
    products(in_c(h), False, in_c(W), False, (N, n_out, n_in, 0 if common else N * n_in),
             out.ravel(), SIGNED, in_c(b), in_c(sign), K=K)
    return out


@njit(**SERIAL)
def gates(h, sign, out):
    """sign where h is not 0, row by row of flat memory."""
    n = len(sign)
    nothing = sign.dtype.type(0)
    for row in range(len(h) // n):
        one, s = h[row * n:row * n + n], out[row * n:row * n + n]
        for j in range(n):
            s[j] = nothing * sign[j] if one[j] == 0 else sign[j]


def signed_slope(h, sign):
    """See kernels.reference.signed_slope.  One pass."""
    h, sign = one_type(h, sign)
    agree("signed_slope", sign=(sign.shape, h.shape[-1:]))
    s = np.empty(h.shape, h.dtype)
    if s.size:
        gates(in_c(h), in_c(sign), s.reshape(-1))
    return s


@njit(**SERIAL)
def gated(e, h, sign, out):
    """e sign where h is not 0, row by row of flat memory; e has as many numbers as h, or rows."""
    n, nothing = len(sign), sign.dtype.type(0)
    for row in range(len(h) // n):
        one, d = h[row * n:row * n + n], out[row * n:row * n + n]
        if len(e) == len(h):
            said = e[row * n:row * n + n]
            for j in range(n):
                d[j] = said[j] * (nothing * sign[j] if one[j] == 0 else sign[j])
        else:
            beta = e[row]
            for j in range(n):
                d[j] = beta * (nothing * sign[j] if one[j] == 0 else sign[j])


def signed_times_slope(e, h, sign):
    """See kernels.reference.signed_times_slope.  One pass, with no gates between."""
    e, h, sign = one_type(e, h, sign)
    K, N, n = h.shape
    agree("signed_times_slope", e=(e.shape, (K, N, 1 if e.shape[-1] == 1 else n)),
          sign=(sign.shape, (n,)))
    delta = np.empty(h.shape, h.dtype)
    if delta.size:
        gated(in_c(e), in_c(h), in_c(sign), delta.reshape(-1))
    return delta


def signed_pull_back(delta, W):
    """See kernels.reference.signed_pull_back.  W is transposed as it is packed."""
    delta, W = one_type(delta, W)
    (K, n_in, n_out), N = W.shape, delta.shape[-2]
    agree("signed_pull_back", delta=(delta.shape, (K, N, n_out)))
    e = np.empty((K, N, n_in), delta.dtype)
    if not e.size or not n_out:
        return reference.signed_pull_back(delta, W)
    products(in_c(delta), False, in_c(W), True, (N, n_in, n_out, N * n_out), e.ravel(), K=K)
    return e


def signed_grad(h, delta):
    """See kernels.reference.signed_grad.  1 / N multiplies delta as it is packed."""
    h, delta = one_type(h, delta)
    (K, N, n_out), n_in, common = delta.shape, h.shape[-1], h.ndim == 2
    agree("signed_grad", h=(h.shape, (N, n_in) if common else (K, N, n_in)))
    if not K * N * n_in * n_out:
        return reference.signed_grad(h, delta)
    dW, db = np.empty((K, n_in, n_out), h.dtype), np.empty((K, n_out), h.dtype)
    products(in_c(h), True, in_c(delta), False, (n_in, n_out, N, 0 if common else N * n_in),
             dW.ravel(), SUMS, db.ravel(), alpha=1 / N, K=K)
    return dW, db


def influence(s, W):
    """See kernels.reference.influence, which is `signed_pull_back` of gates."""
    return signed_pull_back(s, W)


@njit(**SERIAL)
def of_sign(W, sign):
    """sign max(0, sign w), row by row of flat memory, in place."""
    n, nothing = len(sign), sign.dtype.type(0)
    for row in range(len(W) // n):
        w = W[row * n:row * n + n]
        for j in range(n):
            v = sign[j] * w[j]
            w[j] = sign[j] * (nothing if v < nothing else v)            # NaN is not below 0


def keep_signs(W, sign):
    """See kernels.reference.keep_signs.  One pass."""
    agree("keep_signs", sign=(sign.shape, W.shape[-1:]))
    if W.flags.c_contiguous and W.dtype == sign.dtype and W.size:
        of_sign(W.reshape(-1), in_c(sign))
    else:
        reference.keep_signs(W, sign)
