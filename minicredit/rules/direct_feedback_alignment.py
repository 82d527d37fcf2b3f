"""Direct feedback alignment (Nokland 2016).

    delta[L] = dloss/dh[L]
    delta[i] = (delta[L] B[i]^T) f'(a[i])                    i = 1 .. L-1,  B[i] random, fixed
    dW[i]    = h[i-1]^T delta[i] / N

The output's error goes straight to every layer; none waits for the layer above it.  B[i] connects
every output with every unit, which for images is more than all forward weights: Bartunov et al.
2018 ran out of memory on ImageNet.  feedback="seeded" stores none of it and draws BLOCK rows of
B[i] at a time from their key, the same numbers, whenever they are needed.
"""
import numpy as np

from minicredit.errors import UserError
from minicredit.kernels import host
from minicredit.keys import FEEDBACK
from minicredit.network import descend, forward
from minicredit.optimizers import make
from minicredit.rules.asking import Told
from minicredit.rules.options import choose

BLOCK = 1024                    # units whose feedback weights are drawn with one key


class DirectFeedbackAlignment:
    """Trains `net` in place, one batch per `step`.

    Parameters
    ----------
    net : Network
    eta : float
        Learning rate.
    optimizer : str
        See `minicredit.optimizers`.
    feedback : {"stored", "seeded"}
        Keep B[i] in memory, or draw it anew from its key at every step: slower, and no memory.
    most_bytes : float
        Refuse to store more feedback weights than this; of feedback="stored" alone.
    seed : int
        Fixes B[i] (sizes[i], sizes[L]), uniform in +-1 / sqrt(sizes[i]) as in Nokland's code.

    Raises
    ------
    UserError
        If the feedback weights would take more than `most_bytes`; says how many.
    """

    title = "direct feedback alignment"
    paper = "Nokland 2016"
    idea = "fixed random weights carry the output's error straight to every layer"
    needs = "one fixed random matrix from the output to each layer, exact slopes"
    cannot = "train convolutions well, or fit in memory when layers and outputs are both large"

    def __init__(self, net, eta=3e-3, optimizer="adam", feedback="stored", most_bytes=4e9, seed=0):
        choose("feedback", feedback, ("stored", "seeded"))
        self.net, self.optimizer, self.seed = net, make(optimizer, eta, net.ops), seed
        self.passes, self.optimizers = [self.step], [self.optimizer]
        self.B, self.arrays = [None] * net.L, {}
        if feedback == "stored":
            refuse_above(most_bytes, net)
            for i in range(1, net.L):
                blocks = [self.random_feedback(i, start) for start in self.starts(i)]
                self.B[i] = net.ops.asarray(np.concatenate(blocks))
                self.arrays[f"B[{i}]"] = self.B[i]

    def starts(self, i):
        """The first unit of each block of layer i."""
        return range(0, self.net.sizes[i], BLOCK)

    def random_feedback(self, i, start):
        """Rows start .. start + BLOCK of B[i]; array (rows, sizes[L]) on the host."""
        n, K, key = self.net.sizes[i], self.net.sizes[-1], (self.seed, FEEDBACK, i, start // BLOCK)
        u = host(self.net.ops).uniform((min(BLOCK, n - start), K), key, "float64")
        return ((2 * u - 1) / n ** 0.5).astype(self.net.dtype)

    def direct(self, delta, i):
        """delta[L] B[i]^T, from the stored matrix or block by block; (N, sizes[i])."""
        ops = self.net.ops
        if self.B[i] is not None:
            return ops.pull_back(delta, self.B[i])
        e = [ops.pull_back(delta, ops.asarray(self.random_feedback(i, start)))
             for start in self.starts(i)]
        return ops.join(*e)

    def feedback(self, h, y):
        """What each layer is told (`Told`); changes nothing."""
        net, L = self.net, self.net.L
        delta = [None] * (L + 1)
        loss, delta[L] = net.loss(h[L], y)
        for i in range(1, L):
            e = self.direct(delta[L], i)                            # delta[L] B[i]^T
            delta[i] = net.layers[i].times_slope(e, h[i], h[i - 1])
        return Told(loss, delta)

    def step(self, x, y):
        """Learn from one batch; returns each example's loss before the update."""
        h = forward(self.net, x)
        told = self.feedback(h, y)
        descend(self.net, h, told.delta, self.optimizer)
        return told.loss


def refuse_above(most_bytes, net):
    """Say beforehand what all B[i] would take, and refuse it if that is too much.

    Raises
    ------
    UserError
    """
    wanted = sum(net.sizes[1:-1]) * net.sizes[-1] * net.dtype.itemsize
    if wanted > most_bytes:
        raise UserError(f"dfa: feedback weights from the output to every unit would take "
                        f"{wanted:,} bytes, more than most_bytes, {most_bytes:,.0f}; "
                        "feedback=seeded draws them as they are needed")
