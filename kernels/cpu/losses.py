"""Losses: `kernels.reference`'s, in Numba.

A row at a time, walked three times while it is in the core's cache: largest logit, sum of
exponentials, result.  One thread: beside the products of a network this is nothing.
"""
import numpy as np
from numba import njit

from minicredit.kernels.cpu.functions import exp
from minicredit.kernels.cpu.memory import agree, in_c, one_type
from minicredit.kernels.cpu.threads import FUSED


@njit(**FUSED)
def exponentials(a, p):
    """p = exp(a - top) of a row; returns top and the sum of p."""
    top = a[0]
    for k in range(1, len(a)):
        if a[k] > top:                              # not so for NaN, which meets exp all the same
            top = a[k]
    for k in range(len(a)):
        p[k] = exp(a[k] - top)
    total = 0.0                                     # float64, so long rows lose nothing
    for k in range(len(a)):
        total += p[k]
    return top, total


@njit(**FUSED)
def softmax_rows(a, p):
    """Every row of a, into p."""
    for n in range(len(a)):
        _, total = exponentials(a[n], p[n])
        scale = p.dtype.type(1 / total)
        for k in range(p.shape[1]):
            p[n, k] *= scale


@njit(**FUSED)
def xent_rows(a, y, loss, delta):
    """Every row of a, into loss and delta."""
    for n in range(len(a)):
        top, total = exponentials(a[n], delta[n])
        scale = delta.dtype.type(1 / total)
        for k in range(delta.shape[1]):
            delta[n, k] *= scale
        loss[n] = np.log(total) - (a[n, y[n]] - top)
        delta[n, y[n]] -= 1


@njit(**FUSED)
def square_rows(a, y, loss, delta):
    """Every row of a - y, into delta, and half of its squared length, into loss."""
    for n in range(len(a)):
        one, other, difference = a[n], y[n], delta[n]
        for k in range(len(one)):
            difference[k] = one[k] - other[k]
        total = 0.0
        for k in range(len(one)):
            total += difference[k] * difference[k]
        loss[n] = total / 2


def softmax(a):
    """See kernels.reference.softmax."""
    p = np.empty(a.shape, a.dtype)
    if p.size:
        softmax_rows(rows(a), p)
    return p


def softmax_xent(a, y):
    """See kernels.reference.softmax_xent.  A label that there is not raises IndexError there."""
    (N, K), y = a.shape, np.asarray(y, np.int64)
    agree("softmax_xent", y=(y.shape, (N,)))
    if N and not -K <= y.min() <= y.max() < K:
        raise IndexError(f"softmax_xent: wanted labels in 0..{K - 1}; got {y.min()} to {y.max()}")
    loss, delta = np.empty(N, a.dtype), np.empty((N, K), a.dtype)
    if N:
        xent_rows(rows(a), y if y.flags.carray else y.copy(), loss, delta)
    return loss, delta


def squared_error(a, y):
    """See kernels.reference.squared_error."""
    a, y = one_type(a, y)
    agree("squared_error", y=(y.shape, a.shape))
    loss, delta = np.empty(len(a), a.dtype), np.empty(a.shape, a.dtype)
    if delta.size:
        square_rows(rows(a), rows(y), loss, delta)
    else:
        loss[:] = 0
    return loss, delta


def rows(a):
    """The matrix in C order."""
    return in_c(a).reshape(a.shape)
