"""Sign symmetry (Liao, Leibo & Poggio 2016; Moskovitz et al. 2018): only signs come down.

    delta[L]   = dloss/dh[L]
    delta[i-1] = (delta[i] (M[i] sign(W[i]))^T) f'(a[i-1])   i = L .. 2
    dW[i]      = h[i-1]^T delta[i] / N

with magnitudes M[i] that are, in the three published forms,

    usf    one number a layer, as large as its initial weights are (root mean square of a draw)
    frsf   random and fixed, |B| with B drawn like the initial weights
    brsf   random and fresh for every batch

"Batch Manhattan", which Liao et al. add, is optimizer="manhattan".
"""
from minicredit.keys import FEEDBACK
from minicredit.network import descend, forward
from minicredit.optimizers import make
from minicredit.rules.asking import Told


class UniformSignSymmetry:
    """usf: trains `net` in place, one batch per `step`.

    Parameters
    ----------
    net : Network
    eta : float
        Learning rate.
    optimizer : str
        See `minicredit.optimizers`.
    seed : int
        Fixes what the magnitudes are drawn from.
    """

    title = "uniform sign symmetry"
    paper = "Liao, Leibo & Poggio 2016; Moskovitz et al. 2018"
    idea = "the error travels down through the signs of the forward weights, all equally strong"
    needs = "the sign of each forward weight at its feedback twin, exact slopes"
    cannot = "say how a synapse learns the sign of its twin"

    def __init__(self, net, eta=3e-3, optimizer="adam", seed=0):
        self.net, self.optimizer, self.seed, self.t = net, make(optimizer, eta, net.ops), seed, 0
        self.M = [None, None] + [self.magnitude(i) for i in range(2, net.L + 1)]
        self.passes, self.optimizers = [self.step], [self.optimizer]
        self.arrays = {f"M[{i}]": self.M[i] for i in range(2, net.L + 1)}

    def magnitude(self, i):
        """M[i], in the shape of W[i]."""
        B = self.net.layers[i].random_weights((self.seed, FEEDBACK, i, self.t))
        return 0 * B + (B * B).mean() ** 0.5

    def feedback(self, h, y):
        """What each layer is told (`Told`); changes nothing."""
        net, ops, layers, M, L = self.net, self.net.ops, self.net.layers, self.M, self.net.L
        delta = [None] * (L + 1)
        loss, delta[L] = net.loss(h[L], y)
        for i in range(L, 1, -1):
            e = layers[i].pull_back(delta[i], ops.with_signs(M[i], layers[i].W))
            delta[i - 1] = layers[i - 1].times_slope(e, h[i - 1], h[i - 2])
        return Told(loss, delta)

    def step(self, x, y):
        """Learn from one batch; returns each example's loss before the update."""
        h = forward(self.net, x)
        told = self.feedback(h, y)
        descend(self.net, h, told.delta, self.optimizer)
        return told.loss


class FixedSignSymmetry(UniformSignSymmetry):
    """frsf: as usf, with fixed random magnitudes; same parameters."""

    title = "fixed random-magnitude sign symmetry"
    idea = "the signs of the forward weights, with fixed random strengths"

    def magnitude(self, i):
        """M[i], in the shape of W[i]."""
        return abs(self.net.layers[i].random_weights((self.seed, FEEDBACK, i, self.t)))


class FreshSignSymmetry(FixedSignSymmetry):
    """brsf: as frsf, with magnitudes drawn afresh for every batch; same parameters."""

    title = "batch random-magnitude sign symmetry"
    idea = "the signs of the forward weights, with fresh random strengths for every batch"

    def step(self, x, y):
        """Learn from one batch, then draw the next one's magnitudes; returns the loss."""
        h = forward(self.net, x)
        told = self.feedback(h, y)
        descend(self.net, h, told.delta, self.optimizer)
        self.t += 1
        for i in range(2, self.net.L + 1):
            self.M[i][...] = self.magnitude(i)
        return told.loss
