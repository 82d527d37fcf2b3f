"""Does every example get its own target?  The diversity of targets within a class.

    spread           share of the targets' variance that lies within classes; 0: one target a class
    rank             number of directions in which a class's targets differ from their mean
    effective rank   exp(entropy of their singular values)           (Roy & Vetterli 2007)

Ten labels, through one inverse, are ten templates g_L(onehot(y)): spread 0 and rank 0.  The
difference of DTP adds the variety of h to them, auxiliary outputs enter the inverse itself
(Bartunov et al. 2018, who argue for this and publish no measure of it; these are ours).
"""
from typing import NamedTuple

import numpy as np

from minicredit.measure.angles import by_example
from minicredit.network import forward


class Diversity(NamedTuple):
    """Of targets or activities: `spread` in 0..1, ranks as means over classes."""

    spread: float
    rank: float
    effective_rank: float


def diversity(T, y):
    """How much the rows of T differ within a class.

    Parameters
    ----------
    T : array (N, n)
        One target, or activity, an example.
    y : int array (N,)

    Returns
    -------
    Diversity; spread is 0 where no two rows differ at all
    """
    T, y = np.asarray(T), np.asarray(y)
    eps = np.finfo(T.dtype).eps * max(T.shape)                      # of T's own rounding
    T = T.astype(np.float64)
    floor, within, ranks, effective = eps * np.linalg.norm(T, 2), 0.0, [], []
    for c in np.unique(y):
        own = centred(T[y == c])
        within += (own**2).sum()
        s = np.linalg.svd(own, compute_uv=False)
        ranks.append((s > floor).sum())
        effective.append(effective_rank(s[s > floor]))
    total = (centred(T)**2).sum()
    return Diversity(float(within / total) if total else 0.0, float(np.mean(ranks)),
                     float(np.mean(effective)))


def centred(T):
    """The rows minus their mean; exactly 0 where they are all the same."""
    T = T - T[0]
    return T - T.mean(axis=0)


def effective_rank(s):
    """exp(-sum p log p), p = s / sum s: n for n equal singular values, 0 for none."""
    if not s.size:
        return 0.0
    p = s / s.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def target_diversity(rule, x, y):
    """The diversity of the targets h_hat[i].

    Parameters
    ----------
    rule : any rule of `minicredit.rules`
    x : array (N, sizes[0])
    y : int array (N,)

    Returns
    -------
    dict: layer -> Diversity; empty for a rule without targets
    """
    h_hat = rule.feedback(forward(rule.net, x), y).h_hat or []
    return {i: diversity(by_example(rule.net.ops.to_numpy(h_hat[i])), y)
            for i in range(1, len(h_hat)) if h_hat[i] is not None}


def template_diversity(rule, x, y):
    """The diversity of g_i(h_hat[i]), what the inverse alone says, before any difference.

    Parameters and result as `target_diversity`; the key is the layer below, which it is told to.
    """
    G, h_hat = getattr(rule, "G", []), rule.feedback(forward(rule.net, x), y).h_hat
    return {i - 1: diversity(by_example(rule.net.ops.to_numpy(G[i].forward(h_hat[i]))), y)
            for i in range(1, len(G)) if G[i] is not None}
