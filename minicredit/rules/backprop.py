"""Backpropagation (Rumelhart, Hinton & Williams 1986).

    delta[L]   = dloss/dh[L]                                 the top layer is linear
    delta[i-1] = (delta[i] W[i]^T) f'(a[i-1])                i = L .. 2
    dW[i]      = h[i-1]^T delta[i] / N

Every other rule replaces the second line.
"""
from minicredit.network import descend, forward
from minicredit.optimizers import make
from minicredit.rules.asking import Told


class Backprop:
    """Trains `net` in place, one batch per `step`.

    Parameters
    ----------
    net : Network
    eta : float
        Learning rate.
    optimizer : str
        See `minicredit.optimizers`.
    seed : int
        Not used: nothing here is random.
    """

    title = "backpropagation"
    paper = "Rumelhart, Hinton & Williams 1986"
    idea = "the error travels down through the transposed weights"
    needs = "W[i] transposed, exact slopes, two phases"
    cannot = "be done by neurons that know only their own synapses"

    def __init__(self, net, eta=3e-3, optimizer="adam", seed=0):
        self.net, self.optimizer = net, make(optimizer, eta, net.ops)
        self.passes, self.optimizers, self.arrays = [self.step], [self.optimizer], {}

    def feedback(self, h, y):
        """What each layer is told (`Told`); changes nothing."""
        layers, L = self.net.layers, self.net.L
        delta = [None] * (L + 1)
        loss, delta[L] = self.net.loss(h[L], y)
        for i in range(L, 1, -1):
            e = layers[i].pull_back(delta[i])                       # delta[i] W[i]^T
            delta[i - 1] = layers[i - 1].times_slope(e, h[i - 1], h[i - 2])
        return Told(loss, delta)

    def step(self, x, y):
        """Learn from one batch; returns each example's loss before the update."""
        h = forward(self.net, x)
        told = self.feedback(h, y)
        descend(self.net, h, told.delta, self.optimizer)
        return told.loss
