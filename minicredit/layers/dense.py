"""The fully connected layer.

    forward     h[i] = f(a),  a = h[i-1] W + b
    slope       delta = e f'(a)                 e = dloss/dh[i],  delta = dloss/da
    pull back   dloss/dh[i-1] = delta W^T       (or another matrix in the place of W)
    gradient    dW = h[i-1]^T delta / N,  db = sum_n delta / N
    mirror      a dense layer from n_out back to n_in
"""
import numpy as np

from minicredit.initial import INITIAL
from minicredit.kernels import host


class Dense:
    """h -> f(h W + b).

    Parameters
    ----------
    n_in, n_out : int
    f : {"linear", "tanh", "relu"}
        Kept also as `range`, the nonlinearity that an inverse needs to answer what this layer says.
    ops : module
        The backend.
    dtype : "float32" or "float64"
    key : (seed, stream, i, t)
        Names the random numbers that W starts from; b starts at 0.
    init : {"glorot", "orthogonal"}
    """

    skips = False           # whether its input goes past its weights too

    def __init__(self, n_in, n_out, f, ops, dtype, key, init="glorot"):
        self.n_in, self.n_out, self.f, self.range = n_in, n_out, f, f
        self.ops, self.dtype, self.init = ops, np.dtype(dtype), init
        self.W = self.random_weights(key)
        self.b = ops.asarray(np.zeros(n_out, self.dtype))
        self.parameters = {"W": self.W, "b": self.b}

    def random_weights(self, key):
        """Fresh weights in the shape of W, from this layer's own initial distribution."""
        W = INITIAL[self.init](self.n_in, self.n_out, key, host(self.ops))
        return self.ops.asarray(W.astype(self.dtype))

    def forward(self, h):
        """f(h W + b); (N, n_in) -> (N, n_out)."""
        return self.ops.dense(h, self.W, self.b, self.f)

    def times_slope(self, e, h, below=None):
        """delta = e f'(a), given the layer's output h = f(a); both (N, n_out).

        `below`, the layer's input, is for layers whose slope h alone does not tell: residual ones.
        """
        return self.ops.times_slope(e, h, self.f)

    def pull_back(self, delta, weights=None):
        """delta W^T, or delta weights^T; (N, n_out) -> (N, n_in)."""
        return self.ops.pull_back(delta, self.W if weights is None else weights)

    def gradient(self, h, delta):
        """{"W": dW, "b": db}, averaged over the batch; h is the layer's input."""
        dW, db = self.ops.dense_grad(h, delta)
        return {"W": dW, "b": db}

    def mirror(self, f, key, init=None):
        """A layer from n_out back to n_in, with its own weights and the nonlinearity f."""
        return Dense(self.n_out, self.n_in, f, self.ops, self.dtype, key, init or self.init)
