"""Kickback (Balduzzi, Vanchinathan & Buhmann 2015), for K coherent networks of one scalar each.

    delta[L] = beta s[L]                                     beta = dloss/dz, a scalar a network
    delta[i] = beta tau[i] s[i]                              i = L-1 .. 1
    tau[i]_j = sum_k W[i+1]_jk s[i+1]_k                      influence: one layer up, no further
    dW[i]    = h[i-1]^T delta[i] / N
    W[i]_jk <- sign_k max(0, sign_k W[i]_jk)                 i > 1, after every step: "clip"

s = sign [a > 0] is a unit's signed gate.  Backprop has the sum over all paths, pi[i] = W[i+1] (s
pi)[i+1], in the place of tau[i].  If sign_k W_jk >= 0 above the first layer, neither is ever
negative: no unit is told the wrong direction for any example, only another size.
form="reward": draw a class a (the best, or any with probability `explore`) and hear R = [a = y]
alone: beta_a = sigmoid(z_a) - R, every other beta 0.
"""
import numpy as np

from minicredit.coherent import PROJECTIONS, CoherentNetwork, create
from minicredit.errors import UserError
from minicredit.keys import REWARD
from minicredit.network import descend, forward
from minicredit.optimizers import make
from minicredit.rules.asking import Told
from minicredit.rules.options import choose, within


class Kickback:
    """Trains `net` in place, one batch per `step`.

    Parameters
    ----------
    net : CoherentNetwork
        `Kickback.create` makes one.
    eta : float
        Learning rate.
    optimizer : str
        See `minicredit.optimizers`.
    coherence : {"clip", "reflect", "off"}
        A weight above the first layer that got the wrong sign becomes 0, or changes its sign, or
        stays.  "off" for a network of random signs, which the first clip would make coherent.
    form : {"error", "reward"}
    explore : float
        Probability of drawing any class, in the reward form alone.
    seed : int
        Fixes the drawn classes.
    """

    title = "Kickback"
    paper = "Balduzzi, Vanchinathan & Buhmann 2015"
    idea = "one scalar for all, times each unit's influence on the layer directly above"
    needs = "units and weights that keep their sign, one scalar error a network"
    cannot = "have dense hidden layers that serve several classes"
    create = staticmethod(create)

    def __init__(self, net, eta=3e-3, optimizer="adam", coherence="clip", form="error", explore=0.2,
                 seed=0):
        choose("coherence", coherence, PROJECTIONS)
        choose("form", form, ("error", "reward"))
        within("explore", explore, 0, 1)
        require(net, form)
        self.net, self.optimizer = net, make(optimizer, eta, net.ops)
        self.project = PROJECTIONS[coherence]
        self.beta = net.beta if form == "error" else self.reward
        self.explore, self.seed, self.t = explore, seed, 0
        self.passes, self.optimizers, self.arrays = [self.step], [self.optimizer], {}

    def feedback(self, h, y):
        """What each layer is told (`Told`); changes nothing."""
        layers, L = self.net.layers, self.net.L
        delta = [None] * (L + 1)
        loss, beta = self.beta(h[L], y)                                     # beta (K, N, 1)
        delta[L] = layers[L].times_slope(beta, h[L], h[L - 1])
        for i in range(L, 1, -1):
            e = layers[i].pull_back(layers[i].times_slope(beta, h[i], h[i - 1]))    # beta tau
            delta[i - 1] = layers[i - 1].times_slope(e, h[i - 1], h[i - 2])
        return Told(loss, delta)

    def reward(self, h_L, y):
        """loss (N,) = -log p(R) of the drawn class, and beta (K, N, 1)."""
        net, ops, K, N = self.net, self.net.ops, self.net.K, len(y)
        z = net.output(h_L)
        u = ops.uniform((2, N), (self.seed, REWARD, 0, self.t), net.dtype)
        a = np.where(u[0] < self.explore, (K * u[1]).astype(np.int64), z.argmax(axis=1))
        drawn = ops.asarray(np.eye(K, dtype=net.dtype))[a]                  # (N, K)
        pair = ops.asarray(np.zeros((N, 2), net.dtype))         # softmax(0, z_a) is sigmoid(z_a)
        pair[:, 1] = (z * drawn).sum(axis=1)
        loss, error = ops.softmax_xent(pair, (a == y).astype(np.int64))
        return loss, ops.by_class(drawn * error[:, 1:])

    def step(self, x, y):
        """Learn from one batch; returns each example's loss before the update."""
        h = forward(self.net, x)
        told = self.feedback(h, y)
        descend(self.net, h, told.delta, self.optimizer)
        self.project(self.net)
        self.t += 1
        return told.loss


def require(net, form):
    """Refuse a network without the two things that Kickback is about: classes, and one scalar."""
    if not isinstance(net, CoherentNetwork):
        raise UserError("kickback: wanted a coherent network, as Kickback.create makes; "
                        f"got a {type(net).__name__} of sizes {net.sizes}")
    if form == "reward" and net.K < 2:
        raise UserError("kickback: wanted two or more classes to draw a reward for; got 1")
