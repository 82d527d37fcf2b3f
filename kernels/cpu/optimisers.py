"""Optimisers: `kernels.reference`'s, in Numba, in place.

One walk over memory: every weight, its gradient and its state are read once and written once, where
NumPy walks as often as there are operations.  What is written is not read again: a vector that lies
across two lines of memory has to reach the cache first, and everything waits for it.  Large arrays
are cut into parts, for several threads.
What does not lie in C order is left to the reference, as it has to be changed where it is.

In a program a part is called by its address.  There g may be a sum, and `scale` makes it a mean.
"""
from functools import cache

import numpy as np
from numba import njit, prange

from minicredit.kernels import reference
from minicredit.kernels.cpu.addresses import address_of, memory
from minicredit.kernels.cpu.functions import fused
from minicredit.kernels.cpu.memory import agree, in_c
from minicredit.kernels.cpu.threads import FUSED, PARALLEL, PART, SMALL, several


@njit(**FUSED)
def sgd_part(w, g, scale, eta):
    """A part of `sgd`."""
    scale, eta = w.dtype.type(scale), w.dtype.type(eta)
    for i in range(len(w)):
        w[i] -= eta * (scale * g[i])


@njit(**PARALLEL)
def sgd_parts(w, g, scale, eta):
    """All parts of `sgd`."""
    for part in prange(-(-len(w) // PART)):
        i, j = part * PART, min(part * PART + PART, len(w))
        sgd_part(w[i:j], g[i:j], scale, eta)


@njit(**FUSED)
def momentum_part(w, g, u, scale, eta, mu):
    """A part of `momentum`."""
    scale, eta, mu = w.dtype.type(scale), w.dtype.type(eta), w.dtype.type(mu)
    for i in range(len(w)):
        new_u = fused(mu, u[i], -(eta * (scale * g[i])))
        u[i] = new_u
        w[i] += new_u


@njit(**PARALLEL)
def momentum_parts(w, g, u, scale, eta, mu):
    """All parts of `momentum`."""
    for part in prange(-(-len(w) // PART)):
        i, j = part * PART, min(part * PART + PART, len(w))
        momentum_part(w[i:j], g[i:j], u[i:j], scale, eta, mu)


@njit(**FUSED)
def manhattan_part(w, g, scale, eta):
    """A part of `manhattan`."""
    scale, eta, nothing = w.dtype.type(scale), w.dtype.type(eta), w.dtype.type(0)
    for i in range(len(w)):
        d = scale * g[i]
        w[i] -= eta if d > 0 else -eta if d < 0 else nothing * d        # NaN 0 is NaN


@njit(**PARALLEL)
def manhattan_parts(w, g, scale, eta):
    """All parts of `manhattan`."""
    for part in prange(-(-len(w) // PART)):
        i, j = part * PART, min(part * PART + PART, len(w))
        manhattan_part(w[i:j], g[i:j], scale, eta)


@njit(**FUSED)
def rmsprop_part(w, g, v, scale, eta, rho, eps):
    """A part of `rmsprop`."""
    real = w.dtype.type
    scale, eta, rho, rest, eps = real(scale), real(eta), real(rho), real(1 - rho), real(eps)
    for i in range(len(w)):
        d = scale * g[i]
        new_v = fused(rho, v[i], rest * d * d)
        v[i] = new_v
        w[i] -= eta * d / (np.sqrt(new_v) + eps)


@njit(**PARALLEL)
def rmsprop_parts(w, g, v, scale, eta, rho, eps):
    """All parts of `rmsprop`."""
    for part in prange(-(-len(w) // PART)):
        i, j = part * PART, min(part * PART + PART, len(w))
        rmsprop_part(w[i:j], g[i:j], v[i:j], scale, eta, rho, eps)


@njit(**FUSED)
def centred_part(w, g, m, v, u, scale, eta, rho, mu, eps):
    """A part of `rmsprop_centred`."""
    real = w.dtype.type
    scale, eta, mu, eps = real(scale), real(eta), real(mu), real(eps)
    rho, rest = real(rho), real(1 - rho)
    for i in range(len(w)):
        d = scale * g[i]
        new_m = fused(rho, m[i], rest * d)
        new_v = fused(rho, v[i], rest * d * d)
        new_u = mu * u[i] - eta * d / np.sqrt(new_v - new_m * new_m + eps)
        m[i], v[i], u[i] = new_m, new_v, new_u
        w[i] += new_u


@njit(**PARALLEL)
def centred_parts(w, g, m, v, u, scale, eta, rho, mu, eps):
    """All parts of `rmsprop_centred`."""
    for part in prange(-(-len(w) // PART)):
        i, j = part * PART, min(part * PART + PART, len(w))
        centred_part(w[i:j], g[i:j], m[i:j], v[i:j], u[i:j], scale, eta, rho, mu, eps)


@njit(**FUSED)
def adam_part(w, g, m, v, scale, eta, beta1, beta2, per_bias, eps):
    """A part of `adam`; one root and one division a weight."""
    real = w.dtype.type
    scale, eta, eps, per_bias = real(scale), real(eta), real(eps), real(per_bias)
    beta1, rest1, beta2, rest2 = real(beta1), real(1 - beta1), real(beta2), real(1 - beta2)
    for i in range(len(w)):
        d = scale * g[i]
        new_m = fused(beta1, m[i], rest1 * d)
        new_v = fused(beta2, v[i], rest2 * d * d)
        m[i], v[i] = new_m, new_v
        w[i] -= eta * new_m / (np.sqrt(new_v * per_bias) + eps)


@njit(**PARALLEL)
def adam_parts(w, g, m, v, scale, eta, beta1, beta2, per_bias, eps):
    """All parts of `adam`."""
    for part in prange(-(-len(w) // PART)):
        i, j = part * PART, min(part * PART + PART, len(w))
        adam_part(w[i:j], g[i:j], m[i:j], v[i:j], scale, eta, beta1, beta2, per_bias, eps)


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


def handlers(real):
    """The step of each optimiser as C sees it: everything by address; numbers of type `real`.

    x : its rates, as its part takes them
    n, over : how many weights; scale is 1 / over
    g, w : arrays, and s, u, v its states, as many as it has
    """
    like, rate = np.empty(0, real), np.empty(0)

    def sgd_at(x, n, over, g, w, s, u, v):
        sgd_part(memory(w, n, like), memory(g, n, like), 1 / over, memory(x, 1, rate)[0])

    def momentum_at(x, n, over, g, w, s, u, v):
        e = memory(x, 2, rate)
        momentum_part(memory(w, n, like), memory(g, n, like), memory(s, n, like), 1 / over, e[0],
                      e[1])

    def manhattan_at(x, n, over, g, w, s, u, v):
        manhattan_part(memory(w, n, like), memory(g, n, like), 1 / over, memory(x, 1, rate)[0])

    def rmsprop_at(x, n, over, g, w, s, u, v):
        e = memory(x, 3, rate)
        rmsprop_part(memory(w, n, like), memory(g, n, like), memory(s, n, like), 1 / over, e[0],
                     e[1], e[2])

    def centred_at(x, n, over, g, w, s, u, v):
        e = memory(x, 4, rate)
        centred_part(memory(w, n, like), memory(g, n, like), memory(s, n, like),
                     memory(u, n, like), memory(v, n, like), 1 / over, e[0], e[1], e[2], e[3])

    def adam_at(x, n, over, g, w, s, u, v):
        e = memory(x, 5, rate)
        adam_part(memory(w, n, like), memory(g, n, like), memory(s, n, like),
                  memory(u, n, like), 1 / over, e[0], e[1], e[2], e[3], e[4])

    def leak_at(x, n, over, g, w, s, u, v):
        leak_part(memory(w, n, like), memory(x, 1, rate)[0])

    return {"sgd": sgd_at, "momentum": momentum_at, "manhattan": manhattan_at,
            "rmsprop": rmsprop_at, "rmsprop_centred": centred_at, "adam": adam_at, "leak": leak_at}


@cache
def address(name, real):
    """Where an optimiser's step for one type is, compiled when a program first wants it."""
    return address_of(handlers(real)[name], 8)


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
        numbers = 1.0, *numbers
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
