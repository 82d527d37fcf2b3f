"""Optimisers: `kernels.reference`'s, in Numba, in place.

One walk over memory: every weight, its gradient and its state are read once and written once, where
NumPy walks as often as there are operations.  What is written is not read again: a vector that lies
across two lines of memory has to reach the cache first, and everything waits for it.  Large arrays
are cut into parts, for several threads.
What does not lie in C order is left to the reference, as it has to be changed where it is.
"""
import numpy as np
from numba import njit, prange

from minicredit.kernels import reference
from minicredit.kernels.cpu.functions import fused
from minicredit.kernels.cpu.memory import agree, in_c
from minicredit.kernels.cpu.threads import FUSED, PARALLEL, PART, SMALL, several


@njit(**FUSED)
def sgd_part(w, g, eta):
    """A part of `sgd`."""
    eta = w.dtype.type(eta)
    for i in range(len(w)):
        w[i] -= eta * g[i]


@njit(**PARALLEL)
def sgd_parts(w, g, eta):
    """All parts of `sgd`."""
    for part in prange(-(-len(w) // PART)):
        i, j = part * PART, min(part * PART + PART, len(w))
        sgd_part(w[i:j], g[i:j], eta)


@njit(**FUSED)
def momentum_part(w, g, u, eta, mu):
    """A part of `momentum`."""
    eta, mu = w.dtype.type(eta), w.dtype.type(mu)
    for i in range(len(w)):
        new_u = fused(mu, u[i], -(eta * g[i]))
        u[i] = new_u
        w[i] += new_u


@njit(**PARALLEL)
def momentum_parts(w, g, u, eta, mu):
    """All parts of `momentum`."""
    for part in prange(-(-len(w) // PART)):
        i, j = part * PART, min(part * PART + PART, len(w))
        momentum_part(w[i:j], g[i:j], u[i:j], eta, mu)


@njit(**FUSED)
def manhattan_part(w, g, eta):
    """A part of `manhattan`."""
    eta, nothing = w.dtype.type(eta), w.dtype.type(0)
    for i in range(len(w)):
        w[i] -= eta if g[i] > 0 else -eta if g[i] < 0 else nothing * g[i]       # NaN 0 is NaN


@njit(**PARALLEL)
def manhattan_parts(w, g, eta):
    """All parts of `manhattan`."""
    for part in prange(-(-len(w) // PART)):
        i, j = part * PART, min(part * PART + PART, len(w))
        manhattan_part(w[i:j], g[i:j], eta)


@njit(**FUSED)
def rmsprop_part(w, g, v, eta, rho, eps):
    """A part of `rmsprop`."""
    real = w.dtype.type
    eta, rho, rest, eps = real(eta), real(rho), real(1 - rho), real(eps)
    for i in range(len(w)):
        new_v = fused(rho, v[i], rest * g[i] * g[i])
        v[i] = new_v
        w[i] -= eta * g[i] / (np.sqrt(new_v) + eps)


@njit(**PARALLEL)
def rmsprop_parts(w, g, v, eta, rho, eps):
    """All parts of `rmsprop`."""
    for part in prange(-(-len(w) // PART)):
        i, j = part * PART, min(part * PART + PART, len(w))
        rmsprop_part(w[i:j], g[i:j], v[i:j], eta, rho, eps)


@njit(**FUSED)
def centred_part(w, g, m, v, u, eta, rho, mu, eps):
    """A part of `rmsprop_centred`."""
    real = w.dtype.type
    eta, rho, rest, mu, eps = real(eta), real(rho), real(1 - rho), real(mu), real(eps)
    for i in range(len(w)):
        new_m = fused(rho, m[i], rest * g[i])
        new_v = fused(rho, v[i], rest * g[i] * g[i])
        new_u = mu * u[i] - eta * g[i] / np.sqrt(new_v - new_m * new_m + eps)
        m[i], v[i], u[i] = new_m, new_v, new_u
        w[i] += new_u


@njit(**PARALLEL)
def centred_parts(w, g, m, v, u, eta, rho, mu, eps):
    """All parts of `rmsprop_centred`."""
    for part in prange(-(-len(w) // PART)):
        i, j = part * PART, min(part * PART + PART, len(w))
        centred_part(w[i:j], g[i:j], m[i:j], v[i:j], u[i:j], eta, rho, mu, eps)


@njit(**FUSED)
def adam_part(w, g, m, v, eta, beta1, beta2, per_bias, eps):
    """A part of `adam`; one root and one division a weight."""
    real = w.dtype.type
    eta, eps, per_bias = real(eta), real(eps), real(per_bias)
    beta1, rest1, beta2, rest2 = real(beta1), real(1 - beta1), real(beta2), real(1 - beta2)
    for i in range(len(w)):
        new_m = fused(beta1, m[i], rest1 * g[i])
        new_v = fused(beta2, v[i], rest2 * g[i] * g[i])
        m[i], v[i] = new_m, new_v
        w[i] -= eta * new_m / (np.sqrt(new_v * per_bias) + eps)


@njit(**PARALLEL)
def adam_parts(w, g, m, v, eta, beta1, beta2, per_bias, eps):
    """All parts of `adam`."""
    for part in prange(-(-len(w) // PART)):
        i, j = part * PART, min(part * PART + PART, len(w))
        adam_part(w[i:j], g[i:j], m[i:j], v[i:j], eta, beta1, beta2, per_bias, eps)


@njit(**FUSED)
def leak_part(w, decay):
    """A part of `leak`."""
    decay = w.dtype.type(decay)
    for i in range(len(w)):
        w[i] -= decay * w[i]


@njit(**PARALLEL)
def leak_parts(w, decay):
    """All parts of `leak`."""
    for part in prange(-(-len(w) // PART)):
        i, j = part * PART, min(part * PART + PART, len(w))
        leak_part(w[i:j], decay)


def lie_flat(*arrays):
    """Whether all can be changed as flat memory."""
    return all(x.flags.carray for x in arrays)


def walk(part, parts, w, g, state, numbers):
    """Change w and its state in place, in several threads if it is worth it.

    Raises
    ------
    ValueError
        If a shape is not that of w, or the type of the state is not.
    """
    name = part.__name__.partition("_")[0]
    for x in state:
        agree(name, state=((x.shape, x.dtype), (w.shape, w.dtype)))
    if g is not None:
        agree(name, g=(g.shape, w.shape))
        state = (in_c(g if g.dtype == w.dtype else g.astype(w.dtype)), *state)
    run = parts if w.size > SMALL and several() else part
    run(w.reshape(-1), *(x.reshape(-1) for x in state), *numbers)


def sgd(w, g, eta):
    """See kernels.reference.sgd."""
    if not lie_flat(w):
        return reference.sgd(w, g, eta)
    walk(sgd_part, sgd_parts, w, g, (), (eta,))


def momentum(w, g, u, eta, mu):
    """See kernels.reference.momentum."""
    if not lie_flat(w, u):
        return reference.momentum(w, g, u, eta, mu)
    walk(momentum_part, momentum_parts, w, g, (u,), (eta, mu))


def manhattan(w, g, eta):
    """See kernels.reference.manhattan."""
    if not lie_flat(w):
        return reference.manhattan(w, g, eta)
    walk(manhattan_part, manhattan_parts, w, g, (), (eta,))


def rmsprop(w, g, v, eta, rho, eps):
    """See kernels.reference.rmsprop."""
    if not lie_flat(w, v):
        return reference.rmsprop(w, g, v, eta, rho, eps)
    walk(rmsprop_part, rmsprop_parts, w, g, (v,), (eta, rho, eps))


def rmsprop_centred(w, g, m, v, u, eta, rho, mu, eps):
    """See kernels.reference.rmsprop_centred."""
    if not lie_flat(w, m, v, u):
        return reference.rmsprop_centred(w, g, m, v, u, eta, rho, mu, eps)
    walk(centred_part, centred_parts, w, g, (m, v, u), (eta, rho, mu, eps))


def adam(w, g, m, v, t, eta, beta1, beta2, eps):
    """See kernels.reference.adam.  What t alone decides is computed once."""
    if not lie_flat(w, m, v):
        return reference.adam(w, g, m, v, t, eta, beta1, beta2, eps)
    numbers = eta / (1 - beta1**t), beta1, beta2, 1 / (1 - beta2**t), eps
    walk(adam_part, adam_parts, w, g, (m, v), numbers)


def leak(w, decay):
    """See kernels.reference.leak."""
    if not lie_flat(w):
        return reference.leak(w, decay)
    walk(leak_part, leak_parts, w, None, (), (decay,))
