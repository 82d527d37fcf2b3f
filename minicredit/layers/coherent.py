"""The coherent layer: K networks side by side, of signed rectifiers (Balduzzi et al. 2015).

    forward     h[i] = sign max(0, a),  a = h[i-1] W + b    in each of K networks
    slope       delta = e s,  s = sign [a > 0]              the slope at a = 0 is 0
    pull back   dloss/dh[i-1] = delta W^T                   summed over the K that read one input
    gradient    dW = h[i-1]^T delta / N,  db = sum_n delta / N

Unit k belongs to the class sign_k: a positive unit says 0 or more, a negative one 0 or less, and
the classes alternate +, -, +, -.  The layer is coherent if sign_k w_jk >= 0 for every weight: then
more of any unit below is more of every unit above, or nothing.  Weights from the input are free.

Initial weights
    "free"      N(0, scale^2 / n_in)
    "coherent"  sign_k |N|, with mean |w| = scale / n_in: one-signed sums grow like n_in, and half
                of the units are silent, so that scale = 2 keeps h as large as it was below
"""
import numpy as np

from minicredit.errors import UserError
from minicredit.kernels import host


class Coherent:
    """h -> sign max(0, h W + b), K times.

    Parameters
    ----------
    K, n_in, n_out : int
        Networks, and the inputs and units of each.
    ops : module
        The backend.
    dtype : "float32" or "float64"
    key : (seed, stream, i, t)
        Names the random numbers that W (K, n_in, n_out) starts from; b (K, n_out) starts at 0.
    init : {"coherent", "free"}
    scale : float
        See above.
    common : bool
        All K networks read one input (N, n_in), as those of the first layer do.
    """

    skips = False

    def __init__(self, K, n_in, n_out, ops, dtype, key, init="coherent", scale=2.0, common=False):
        self.K, self.n_in, self.n_out, self.common = K, n_in, n_out, common
        self.f = self.range = "signed rectifier"
        self.ops, self.dtype, self.init, self.scale = ops, np.dtype(dtype), init, scale
        self.sign = ops.asarray(classes(n_out).astype(self.dtype))
        self.W = self.random_weights(key)
        self.b = ops.asarray(np.zeros((K, n_out), self.dtype))
        self.parameters = {"W": self.W, "b": self.b}

    def random_weights(self, key):
        """Fresh weights in the shape of W, from this layer's own initial distribution."""
        W = host(self.ops).normal((self.K, self.n_in, self.n_out), key, np.float64)
        if self.init == "coherent":
            mean = np.sqrt(2 / np.pi)                               # of |N(0, 1)|
            W = classes(self.n_out) * np.abs(W) * (self.scale / self.n_in / mean)
        else:
            W = W * (self.scale / np.sqrt(self.n_in))
        return self.ops.asarray(W.astype(self.dtype))

    def forward(self, h):
        """sign max(0, h W + b); (K, N, n_in), or (N, n_in) if common -> (K, N, n_out)."""
        return self.ops.signed_dense(h, self.W, self.b, self.sign)

    def times_slope(self, e, h, below=None):
        """delta = e s, given the layer's output h (K, N, n_out); e as h, or (K, N, 1)."""
        return self.ops.signed_times_slope(e, h, self.sign)

    def pull_back(self, delta, weights=None):
        """delta W^T, or delta weights^T; (K, N, n_out) -> (K, N, n_in), or (N, n_in) if common."""
        e = self.ops.signed_pull_back(delta, self.W if weights is None else weights)
        return self.ops.network_sum(e) if self.common else e

    def gradient(self, h, delta):
        """{"W": dW, "b": db}, averaged over the batch; h is the layer's input."""
        dW, db = self.ops.signed_grad(h, delta)
        return {"W": dW, "b": db}

    def mirror(self, f, key, init=None):
        """None: an inverse needs units of both signs below, and a signed rectifier has one.

        Raises
        ------
        UserError
            Always.
        """
        raise UserError("a coherent layer has no mirror: wanted a network of dense, local or "
                        "convolutional layers for a rule with inverses; got a coherent network")


def classes(n):
    """+1, -1, +1, ... for n units; float64 (n,)."""
    return 1.0 - 2.0 * (np.arange(n) % 2)
