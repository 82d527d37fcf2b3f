"""Signs of life: is anything not finite, silent, stuck, too loud, or too fast?"""
from copy import copy
from typing import NamedTuple

import numpy as np

from minicredit.measure.angles import by_example
from minicredit.network import forward

EDGE = 0.99                             # |h| beyond which a tanh unit's slope is below 0.02


class Activity(NamedTuple):
    """Of one layer: `dead`, the share of units that are 0 on the whole batch; `saturated`, the
    share of (unit, example) with |h| > 0.99, NaN where f is not tanh."""

    dead: float
    saturated: float


def activity(net, x):
    """Dead and saturated units.

    Parameters
    ----------
    net : Network
    x : array (N, sizes[0])

    Returns
    -------
    dict: hidden layer -> Activity
    """
    h, found = forward(net, x), {}
    for i in range(1, net.L):
        a = by_example(net.ops.to_numpy(h[i]))
        tanh = net.layers[i].f == "tanh"
        found[i] = Activity(float((a == 0).all(axis=0).mean()),
                            float((abs(a) > EDGE).mean()) if tanh else float("nan"))
    return found


def not_finite(rule, x, y):
    """What holds a NaN or an infinity, in the order in which it would spread.

    Parameters
    ----------
    rule : any rule of `minicredit.rules`
    x, y : one batch

    Returns
    -------
    list of (layer, name, count): layer 0 is x; at the first stage that has any (input, parameters,
    the rule's arrays, activities, loss and teaching signals) the rest is not looked at
    """
    net, L = rule.net, rule.net.L
    with np.errstate(all="ignore"):
        h = forward(net, x)
        told = rule.feedback(h, y)
    stages = [{"x": x}, net.parameters(), rule.arrays,
              {f"h[{i}]": h[i] for i in range(1, L + 1)},
              {f"loss[{L}]": told.loss, **{f"delta[{i}]": told.delta[i] for i in range(L, 0, -1)}}]
    for arrays in stages:
        found = [(layer_of(name), name, n) for name, a in arrays.items()
                 if (n := int((~np.isfinite(net.ops.to_numpy(a))).sum()))]
        if found:
            return found
    return []


def layer_of(name):
    """The layer in "W[2]"; 0 where a name has none."""
    return int(name[:-1].partition("[")[2] or 0)


def signal_norms(rule, x, y):
    """How loud each layer's teaching signal is: mean over examples of |delta[i]|.

    Returns
    -------
    dict: layer 1..L -> float
    """
    delta = rule.feedback(forward(rule.net, x), y).delta
    return {i: float(np.linalg.norm(by_example(rule.net.ops.to_numpy(delta[i])), axis=1).mean())
            for i in range(1, rule.net.L + 1)}


def update_sizes(rule, x, y):
    """How far one step moves each layer's weights: |dW| / |W|, of the optimiser's first step.

    The step is taken on copies: neither the weights nor the optimiser's state change.

    Returns
    -------
    dict: layer 1..L -> float; inf if the weights are 0
    """
    net, h, sizes = rule.net, forward(rule.net, x), {}
    delta = rule.feedback(h, y).delta
    for i in range(1, net.L + 1):
        fresh = copy(rule.optimizer)
        fresh.state, fresh.t = {}, {}
        W = net.ops.to_numpy(net.W[i]).copy()
        moved = net.ops.asarray(W.copy())
        fresh.descend("W", moved, net.layers[i].gradient(h[i - 1], delta[i])["W"])
        length, step = np.linalg.norm(W), np.linalg.norm(net.ops.to_numpy(moved) - W)
        sizes[i] = float(step / length) if length else float("inf")
    return sizes
