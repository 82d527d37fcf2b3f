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
