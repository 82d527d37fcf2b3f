"""Direct feedback alignment (Nokland 2016).

    delta[L] = dloss/dh[L]
    delta[i] = (delta[L] B[i]^T) f'(a[i])                    i = 1 .. L-1,  B[i] random, fixed
    dW[i]    = h[i-1]^T delta[i] / N

The output's error goes straight to every layer; none waits for the layer above it.
"""
from minicredit.keys import FEEDBACK
from minicredit.kernels import reference
from minicredit.network import descend, forward
from minicredit.optimizers import make
from minicredit.rules.asking import Told


class DirectFeedbackAlignment:
    """Trains `net` in place, one batch per `step`.

    Parameters
    ----------
    net : Network
    eta : float
        Learning rate.
    optimizer : str
        See `minicredit.optimizers`.
    seed : int
        Fixes B[i] (sizes[i], sizes[L]), uniform in +-1 / sqrt(sizes[i]) as in Nokland's code.
    """

    title = "direct feedback alignment"
    paper = "Nokland 2016"
    idea = "fixed random weights carry the output's error straight to every layer"
    needs = "one fixed random matrix from the output to each layer, exact slopes"
    cannot = "train convolutions well, or fit in memory when layers and outputs are both large"

    def __init__(self, net, eta=3e-3, optimizer="adam", seed=0):
        self.net, self.optimizer = net, make(optimizer, eta, net.ops)
        self.B = [None] + [self.random_feedback(i, seed) for i in range(1, net.L)]
        self.passes, self.optimizers = [self.step], [self.optimizer]
        self.arrays = {f"B[{i}]": self.B[i] for i in range(1, net.L)}

    def random_feedback(self, i, seed):
        """B[i], from the output to layer i; array (sizes[i], sizes[L])."""
        net = self.net
        u = reference.uniform((net.sizes[i], net.sizes[-1]), (seed, FEEDBACK, i, 0), "float64")
        return net.ops.asarray(((2 * u - 1) / net.sizes[i] ** 0.5).astype(net.dtype))

    def feedback(self, h, y):
        """What each layer is told (`Told`); changes nothing."""
        net, ops, B, L = self.net, self.net.ops, self.B, self.net.L
        delta = [None] * (L + 1)
        loss, delta[L] = net.loss(h[L], y)
        for i in range(1, L):
            e = ops.pull_back(delta[L], B[i])                       # delta[L] B[i]^T
            delta[i] = net.layers[i].times_slope(e, h[i])
        return Told(loss, delta)

    def step(self, x, y):
        """Learn from one batch; returns each example's loss before the update."""
        h = forward(self.net, x)
        told = self.feedback(h, y)
        descend(self.net, h, told.delta, self.optimizer)
        return told.loss
