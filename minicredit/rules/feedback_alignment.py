"""Feedback alignment (Lillicrap, Cownden, Tweed & Akerman 2016).

    delta[L]   = dloss/dh[L]
    delta[i-1] = (delta[i] B[i]^T) f'(a[i-1])                i = L .. 2,  B[i] random, fixed
    dW[i]      = h[i-1]^T delta[i] / N

One symbol of backprop changes: W[i] becomes B[i].  It learns because W[i] turns towards B[i].
"""
from minicredit.keys import FEEDBACK
from minicredit.network import descend, forward
from minicredit.optimizers import make
from minicredit.rules.asking import Told


class FeedbackAlignment:
    """Trains `net` in place, one batch per `step`.

    Parameters
    ----------
    net : Network
    eta : float
        Learning rate.
    optimizer : str
        See `minicredit.optimizers`.
    seed : int
        Fixes B[i], drawn like the initial W[i] (Bartunov et al. 2018 do not say how theirs were).
    """

    title = "feedback alignment"
    paper = "Lillicrap, Cownden, Tweed & Akerman 2016"
    idea = "the error travels down through fixed random weights; the forward weights align to them"
    needs = "one fixed random matrix a layer, exact slopes"
    cannot = "match backprop where weights are many and shared: deep convolutions, ImageNet"

    def __init__(self, net, eta=3e-3, optimizer="adam", seed=0):
        self.net, self.optimizer = net, make(optimizer, eta, net.ops)
        self.B = [None, None] + [net.layers[i].random_weights((seed, FEEDBACK, i, 0))
                                 for i in range(2, net.L + 1)]
        self.passes, self.optimizers = [self.step], [self.optimizer]
        self.arrays = {f"B[{i}]": self.B[i] for i in range(2, net.L + 1)}

    def feedback(self, h, y):
        """What each layer is told (`Told`); changes nothing."""
        layers, B, L = self.net.layers, self.B, self.net.L
        delta = [None] * (L + 1)
        loss, delta[L] = self.net.loss(h[L], y)
        for i in range(L, 1, -1):
            e = layers[i].pull_back(delta[i], B[i])                 # delta[i] B[i]^T
            delta[i - 1] = layers[i - 1].times_slope(e, h[i - 1], h[i - 2])
        return Told(loss, delta)

    def step(self, x, y):
        """Learn from one batch; returns each example's loss before the update."""
        h = forward(self.net, x)
        told = self.feedback(h, y)
        descend(self.net, h, told.delta, self.optimizer)
        return told.loss
