"""Kolen-Pollack (Kolen & Pollack 1994; Akrout et al. 2019).

    delta[i-1] = (delta[i] B[i]^T) f'(a[i-1])                i = L .. 2,  as feedback alignment
    W[i]      <- (1 - leak) (W[i] + u)                       u: the optimiser's step for
    B[i]      <- (1 - leak) (B[i] + u)                          dW[i] = h[i-1]^T delta[i] / N

Both ends of a connection see h[i-1] and delta[i], so both can make the same step.  Then
W[i] - B[i] shrinks by (1 - leak) each time, and feedback alignment becomes backprop in some
1 / leak steps; what turns the two together long before that is the steps they share.  The leak
falls with the learning rate.
"""
from minicredit.keys import FEEDBACK
from minicredit.network import descend, forward
from minicredit.optimizers import descend_all, make
from minicredit.rules.asking import Told


class KolenPollack:
    """Trains `net` in place, one batch per `step`.

    Parameters
    ----------
    net : Network
    eta : float
        Learning rate of W and b, and of B.
    leak : float
        Share of W[i] and B[i], i >= 2, that leaks away at every step; it falls with the learning
        rate, or it would outlive learning.
    optimizer : str
        See `minicredit.optimizers`.
    seed : int
        Fixes the initial B.
    """

    title = "Kolen-Pollack"
    paper = "Kolen & Pollack 1994; Akrout et al. 2019"
    idea = "forward and feedback weights make the same steps and leak alike, so they grow together"
    needs = "the same increment at both ends of a connection, and a leak"
    cannot = "do without the leak, which also pulls on what was learned"

    def __init__(self, net, eta=3e-3, leak=1e-4, optimizer="adam", seed=0):
        self.net, self.leak, self.optimizer = net, leak, make(optimizer, eta, net.ops)
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

    def feedback_gradient(self, h, delta):
        """dB[i] = dW[i], by name; changes nothing."""
        layers = self.net.layers
        return {f"B[{i}]": layers[i].gradient(h[i - 1], delta[i])["W"]
                for i in range(2, self.net.L + 1)}

    def step(self, x, y):
        """Learn from one batch; returns each example's loss before the update."""
        net, optimizer = self.net, self.optimizer
        h = forward(net, x)
        told = self.feedback(h, y)
        descend_all(optimizer, self.arrays, self.feedback_gradient(h, told.delta))
        descend(net, h, told.delta, optimizer)
        for i in range(2, net.L + 1):
            net.ops.leak(net.layers[i].W, self.leak * optimizer.scale)
            net.ops.leak(self.B[i], self.leak * optimizer.scale)
        return told.loss
