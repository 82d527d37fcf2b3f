"""How good is what comes down: feedback weights beside forward weights, and inverses.

    alignment        angle of B[i] to W[i], or of V[i] to W[i]^T, and |B| / |W|
    inverse error    mean |g_i(h[i]) - h[i-1]|^2 / variance of h[i-1]; 1: no better than the mean
    positive share   of the eigenvalues of J_f J_g, the layer and its inverse in a row, those with
                     a positive real part; and the trace    (Shibuya et al. 2023)

A target moves the layer above the right way, to first order, if J_f J_g is positive.
"""
from copy import copy
from typing import NamedTuple

import numpy as np

from minicredit.errors import UserError
from minicredit.measure.angles import angle, by_example
from minicredit.network import forward
from minicredit.rules.dtp import DTP


class Alignment(NamedTuple):
    """Of feedback to forward weights: `angle` in degrees, `ratio` of their norms."""

    angle: float
    ratio: float


class Jacobians(NamedTuple):
    """Of J_f J_g: share of eigenvalues with positive real part, and trace; means over examples."""

    positive: float
    trace: float


def weight_alignment(rule):
    """How well the weights that carry the teaching signal match the forward weights.

    Parameters
    ----------
    rule : any rule of `minicredit.rules`

    Returns
    -------
    dict: layer -> Alignment; empty for a rule without feedback weights of its own
    """
    ops, pairs = rule.net.ops, {}
    for i, (B, W) in feedback_weights(rule).items():
        B, W = np.asarray(ops.to_numpy(B), float), np.asarray(ops.to_numpy(W), float)
        length = np.linalg.norm(W)
        pairs[i] = Alignment(angle(B, W), np.linalg.norm(B) / length if length else float("nan"))
    return pairs


def feedback_weights(rule):
    """The pairs to compare: layer -> (feedback weights, what backprop has in their place).

    fa, weight-mirror, kolen-pollack    B[i], W[i]
    dfa                                 B[i], the path to the output, W[i+1] ... W[L], if f is
                                        linear: skips and shared weights are part of it; not
                                        where B[i] is drawn anew at every step
    sign symmetry                       M[i] sign(W[i]), W[i]
    target propagation                  V[i]^T, W[i]; of auxiliary outputs' V[L] the rows of
                                        classes; nothing at a residual layer that projects, whose
                                        inverse has other halves than its transpose
    """
    net, W, L = rule.net, rule.net.W, rule.net.L
    if hasattr(rule, "M"):
        return {i: (net.ops.with_signs(rule.M[i], W[i]), W[i]) for i in range(2, L + 1)}
    if hasattr(rule, "B") and len(rule.B) == L + 1:                 # B[2..L], one a layer
        return {i: (rule.B[i], W[i]) for i in range(2, L + 1)}
    if hasattr(rule, "B"):                                          # B[1..L-1], from the output
        paths = paths_to_output(net)
        return {i: (rule.B[i], paths[i]) for i in range(1, L) if rule.B[i] is not None}
    V = {i: g.W[..., :W[i].shape[-1], :] for i, g in inverses_of(rule).items() if hasattr(g, "W")}
    return {i: (v.swapaxes(-1, -2), W[i]) for i, v in V.items()
            if v.swapaxes(-1, -2).shape == W[i].shape}


def paths_to_output(net):
    """What every layer multiplies h[i] by, up to the output, if f is linear.

    Returns
    -------
    list; [i] (sizes[i], sizes[L]) for i = 1..L-1, by pulling back one error an output
    """
    ops, K = net.ops, net.sizes[-1]
    paths, e = [None] * net.L, ops.asarray(np.eye(K, dtype=net.dtype))
    for i in range(net.L, 1, -1):
        layer = copy(net.layers[i])
        layer.f = "linear"
        h, below = (ops.asarray(np.zeros((K, n), net.dtype)) for n in (layer.n_out, layer.n_in))
        e = layer.pull_back(layer.times_slope(e, h, below))
        paths[i - 1] = e.T
    return paths


def inverses_of(rule):
    """{i: g_i}, the inverses that a rule has; empty if it has none."""
    return {i: g for i, g in enumerate(getattr(rule, "G", [])) if g is not None}


def seen_by_inverse(rule, h, i):
    """What g_i is applied to: h[i]; at the output, where labels are targets, probabilities."""
    if i < rule.net.L or isinstance(rule, DTP):
        return h[i]
    p = rule.net.ops.softmax(h[i])
    return rule.net.ops.join(p, rule.Z.forward(h[i - 1])) if hasattr(rule, "Z") else p


def inverse_error(rule, x):
    """What g_i gets wrong about h[i-1], relative to the variance of h[i-1]; without noise.

    Parameters
    ----------
    rule : any rule of `minicredit.rules`
    x : array (N, sizes[0]), N > 1

    Returns
    -------
    dict: layer i -> float; 0 is exact, 1 no better than saying the mean.  Empty for a rule without
    inverses; NaN if h[i-1] does not vary.
    """
    h, to_numpy, errors = forward(rule.net, x), rule.net.ops.to_numpy, {}
    for i, g in inverses_of(rule).items():
        below = by_example(to_numpy(h[i - 1])).astype(np.float64)
        wrong = by_example(to_numpy(g.forward(seen_by_inverse(rule, h, i)))) - below
        variance = below.var(axis=0).sum()
        errors[i] = float((wrong**2).sum(axis=1).mean() / variance) if variance else float("nan")
    return errors


def inverse_jacobians(rule, x, examples=4):
    """The sign of J_f J_g, for each layer with a learned inverse; changes nothing.

    J_f (m, n) is the Jacobian of layer i and J_g (n, m) that of its inverse, at one example.  The
    eigenvalues are those of the smaller of J_f J_g and J_g J_f: the larger has the same, and zeros
    whose sign rounding would draw.

    Parameters
    ----------
    rule : any rule of `minicredit.rules`
    x : array (N, sizes[0])
    examples : int
        How many of the first rows of x to take: each costs an eigenvalue problem a layer.

    Returns
    -------
    dict: layer i -> Jacobians; empty for a rule without inverses

    Raises
    ------
    UserError
        If the inverses are the exact ones: then J_f J_g is the identity.
    """
    h, means = forward(rule.net, x[:examples]), {}
    for i, g in inverses_of(rule).items():
        if not hasattr(g, "pull_back"):
            raise UserError("inverse_jacobians: wanted learned inverses; exact ones have "
                            "J_f J_g = 1")
        pairs = [(layer_jacobian(rule, h, i, n), inverse_jacobian(rule, g, h, i, n))
                 for n in range(len(h[0]))]
        means[i] = Jacobians(float(np.mean([positive_share(*pair) for pair in pairs])),
                             float(np.mean([np.trace(J_f @ J_g) for J_f, J_g in pairs])))
    return means


def layer_jacobian(rule, h, i, n):
    """d(what g_i sees)/dh[i-1] at example n; float64 (m, sizes[i-1])."""
    net, ops, layer, row = rule.net, rule.net.ops, rule.net.layers[i], slice(n, n + 1)
    if i < net.L or isinstance(rule, DTP):
        return jacobian(layer, h[i - 1][row], ops)
    p = ops.softmax(h[i][row])
    e = ops.times_slope(*units(p, ops), "softmax")                  # dp/dh[L]
    J = [ops.to_numpy(layer.pull_back(e)).astype(np.float64)]
    if hasattr(rule, "Z"):
        J.append(jacobian(rule.Z, h[i - 1][row], ops))
    return np.concatenate(J)


def inverse_jacobian(rule, g, h, i, n):
    """dg_i/d(what it sees) at example n; float64 (sizes[i-1], m)."""
    one = [array[n:n + 1] for array in h]
    return jacobian(g, seen_by_inverse(rule, one, i), rule.net.ops)


def jacobian(layer, below, ops):
    """The Jacobian of a layer at its input (1, n_in), one pull-back a unit; float64 (m, n_in)."""
    e, rows = units(layer.forward(below), ops)
    below = ops.asarray(np.repeat(ops.to_numpy(below), len(e), axis=0))
    delta = layer.times_slope(e, rows, below)
    return ops.to_numpy(layer.pull_back(delta)).astype(np.float64)


def units(h, ops):
    """One error a unit, and h repeated beside them; (1, m) -> (m, m), (m, m)."""
    e = np.eye(h.shape[1], dtype=h.dtype)
    return ops.asarray(e), ops.asarray(np.repeat(ops.to_numpy(h), len(e), axis=0))


def positive_share(J_f, J_g):
    """The share of eigenvalues with positive real part, of the smaller product of the two."""
    P = J_f @ J_g if len(J_f) <= len(J_g) else J_g @ J_f
    eigenvalues = np.linalg.eigvals(P)
    return float((eigenvalues.real > 1e-9 * abs(eigenvalues).max()).mean())
