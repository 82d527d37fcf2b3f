"""Ask a rule without training it: what would one batch tell each layer, and each array?

A rule has

    net          the network that it trains, in place
    feedback(h, y) -> Told      pure: what is each layer told?
    step(x, y) -> loss (N,)     learn from one batch: forward, feedback, descend
    passes       the methods that one epoch runs over the data, one after the other: [step], or
                 [learn_inverses, learn_forward] if a rule alternates between the two
    optimizers   whose `scale` a schedule of the learning rate sets
    arrays       {"V[2]": array, ...}: what the rule owns beside the network
    feedback_gradient(h, delta)     only where such arrays learn: their gradients, by name; pure

`ask` calls the pure ones and changes nothing.  Lessons, instruments and outside checks use it.
"""
from typing import NamedTuple

import numpy as np

from minicredit.network import forward


class Told(NamedTuple):
    """What each layer is told.

    loss : array (N,), each example's loss
    delta : list; delta[i] (N, sizes[i]) is dloss_i/da, the error at layer i's pre-activation;
        (N, 2 sizes[i]) of a residual layer, (K, N, sizes[i]) of a coherent network
    h_hat : list or None; h_hat[i] (N, sizes[i]) is the target of layer i, where the rule has one
    """

    loss: np.ndarray
    delta: list
    h_hat: list = None


class Answer(NamedTuple):
    """One batch, asked.

    h : list; h[i] (N, sizes[i]) is the activity of layer i
    loss, delta, h_hat : as in `Told`
    gradient : dict; the gradient of every array that learns, by name: "W[1]", "b[1]", "V[2]", ...
        averaged over the batch, before any optimiser
    """

    h: list
    loss: np.ndarray
    delta: list
    h_hat: list
    gradient: dict


def ask(rule, x, y):
    """The activities, targets, deltas and gradients that one batch gives; changes nothing.

    Parameters
    ----------
    rule : any rule of `minicredit.rules`
    x : array (N, sizes[0])
    y : int64 array (N,), or float (N, sizes[L]) for a squared loss

    Returns
    -------
    Answer
    """
    net = rule.net
    h = forward(net, x)
    told = rule.feedback(h, y)
    gradient = {f"{name}[{i}]": g for i in range(1, net.L + 1)
                for name, g in net.layers[i].gradient(h[i - 1], told.delta[i]).items()}
    if hasattr(rule, "feedback_gradient"):
        gradient.update(rule.feedback_gradient(h, told.delta))
    return Answer(h, *told, gradient)
