"""What a unit does to the answer, by all paths above it, and with which sign.

    slope    dz_c/dh[i]_j                            how unit j moves the output of class c
    effect   e_jc = dz_c/dh_j - mean_c' dz_c'/dh_j   what the softmax sees of it: a shift of all
                                                     outputs changes no probability

A unit of the last hidden layer has the same effect for every example: its weights are its effect.
Further down, gates above open and close, and the effect may change sign from example to example.
"""
from typing import NamedTuple

import numpy as np

from minicredit.measure.angles import by_example
from minicredit.network import forward


class EffectSigns(NamedTuple):
    """The signs of the effects e_jc of one layer's units, over many examples.

    Only examples in which a unit is active count; a pair is a unit and a class.

    layer : int
    both : share of pairs whose effect takes both signs in one batch
    minority : share of examples with the rarer sign, mean over pairs, 0..0.5
    divided : share of pairs with more than a tenth of their examples in the minority
    mixed : share of (unit, example) that push some classes up and some down.  1 by definition,
        unless the unit reaches no output: effects sum to 0 over classes
    classes : share of classes on the rarer side, mean over (unit, example)
    majority : int8 array (K, units), the commoner sign of each pair; 0 if there is none
    """

    layer: int
    both: float
    minority: float
    divided: float
    mixed: float
    classes: float
    majority: np.ndarray


def logit_slopes(net, h):
    """dz_c/dh[i] for every class c, hidden or output unit, and example; changes nothing.

    Parameters
    ----------
    net : Network of K outputs
    h : list, as `forward` gives it

    Returns
    -------
    list; E[i] (K, *h[i].shape) for i = 1..L
    """
    ops, layers, L = net.ops, net.layers, net.L
    E = [None] + [[] for _ in range(L)]
    for c in range(net.output(h[L]).shape[1]):
        e = ops.asarray(one_class(h[L].shape, c, h[L].dtype))
        E[L].append(ops.to_numpy(e))
        for i in range(L, 1, -1):
            e = layers[i].pull_back(layers[i].times_slope(e, h[i], h[i - 1]))
            E[i - 1].append(ops.to_numpy(e))
    return [None] + [np.stack(e) for e in E[1:]]


def one_class(shape, c, dtype):
    """dz_c/dh[L]: 1 in column c of (N, K), or in all of network c of (K, N, n)."""
    e = np.zeros(shape, dtype)
    e[(c,) if len(shape) == 3 else (slice(None), c)] = 1
    return e


def unit_effects(net, x):
    """e_jc = dz_c/dh_j minus its mean over classes, per example; changes nothing.

    Parameters
    ----------
    net : Network of K outputs
    x : array (N, sizes[0])

    Returns
    -------
    list; e[i] (K, N, units) for the hidden layers i = 1..L-1.  In K networks side by side, layer i
    has K sizes[i] units.
    """
    h = forward(net, x)
    E = [None] + [np.stack([by_example(e) for e in slopes])
                  for slopes in logit_slopes(net, h)[1:net.L]]
    return [None] + [e - e.mean(axis=0) for e in E[1:]]


def effect_signs(net, x, batch=100):
    """How often the units' effects change sign, over examples and over classes.

    Parameters
    ----------
    net : Network of K outputs
    x : array (N, sizes[0])
    batch : int
        Examples to a batch, for `both`.

    Returns
    -------
    list of EffectSigns, for layers 1..L-1
    """
    h, effects = forward(net, x), unit_effects(net, x)
    return [count(i, effects[i], by_example(net.ops.to_numpy(h[i])) != 0, batch)
            for i in range(1, net.L)]


def count(layer, e, active, batch):
    """The `EffectSigns` of effects e (K, N, units), where active (N, units)."""
    up, down = (e > 0) & active, (e < 0) & active
    n_up, n_down = up.sum(axis=1), down.sum(axis=1)                 # (K, units)
    seen = n_up + n_down
    minority = np.minimum(n_up, n_down)[seen > 0] / seen[seen > 0]
    starts = range(0, e.shape[1], batch)
    both = [up[:, n:n + batch].any(axis=1) & down[:, n:n + batch].any(axis=1) for n in starts]
    seen_in_batch = [(up | down)[:, n:n + batch].any(axis=1) for n in starts]
    helped, hurt = up.sum(axis=0), down.sum(axis=0)                 # (N, units), of K classes
    felt = helped + hurt
    rarer = np.minimum(helped, hurt)[felt > 0] / felt[felt > 0]
    return EffectSigns(layer, share(np.stack(both)[np.stack(seen_in_batch)]), share(minority),
                       share(minority > 0.1), share(rarer > 0), share(rarer),
                       np.sign(n_up - n_down).astype(np.int8))


def share(a):
    """The mean, NaN of nothing."""
    return float(a.mean()) if a.size else float("nan")


def majority_change(before, after):
    """The share of (unit, class) pairs whose majority sign is another one than before.

    Parameters
    ----------
    before, after : EffectSigns of the same layer

    Returns
    -------
    float in 0..1; pairs without a majority, before or after, are left out
    """
    told = (before.majority != 0) & (after.majority != 0)
    return share((before.majority != after.majority)[told])
