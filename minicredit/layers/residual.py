"""The residual layer: what went in, and a correction to it (He et al. 2016).

    forward     h[i] = u + f(a),    a = u W + b,  u = h[i-1]        n_in = n_out
                h[i] = u P + f(a)                                   otherwise
    slope       delta = [e f'(a), e]                                e = dloss/dh[i]
    pull back   dloss/du = delta_1 W^T + delta_2                    delta = [delta_1, delta_2]
                dloss/du = delta_1 W^T + delta_2 P^T = delta [W | P]^T
    gradient    dW = u^T delta_1 / N,  db = sum_n delta_1 / N,  dP = u^T delta_2 / N
    mirror      a residual layer from n_out back to n_in

The pair.  What this layer computes before it is one linear map of u to *two* halves, a and the
skip, and h is f of the first plus the second.  So its pre-activation is the pair [a, skip], its
teaching signal delta (N, 2 n_out) has an entry for each half, and its weights are [W | P]
(n_in, 2 n_out): a dense layer of twice the width, whose halves are then added.  Where sizes agree P
is the identity, which is no parameter: it is neither drawn, nor learned, nor replaced where a rule
has other weights for the way back, so feedback alignment too carries the error past W unchanged.

The slope needs f(a) and not h, and so the layer's input beside its output: f(a) = h - u.  Behind a
projection f(a) is computed again, since h - u P would be off by its rounding, and a rectifier must
know zero from nearly zero.  The top layer of a network cannot be residual: its delta comes from the
loss, and is no pair.
"""
import numpy as np

from minicredit.kernels import host
from minicredit.layers.geometry import matrices


class Residual:
    """h -> h + f(h W + b), or h P + f(h W + b).

    Parameters
    ----------
    n_in, n_out : int
        P is the identity if they agree.
    f : {"linear", "tanh", "relu"}
    ops : module
        The backend.
    dtype : "float32" or "float64"
    key : (seed, stream, i, t)
        Names the random numbers that W (n_in, n_out), or [W | P] (n_in, 2 n_out), starts from;
        b (n_out,) starts at 0.
    init : {"glorot", "orthogonal"}
        Of W and of P, each as a dense layer's.
    """

    skips = True

    def __init__(self, n_in, n_out, f, ops, dtype, key, init="glorot"):
        self.n_in, self.n_out, self.f, self.range = n_in, n_out, f, "linear"
        self.ops, self.dtype, self.init = ops, np.dtype(dtype), init
        self.projects = n_in != n_out
        self.W = self.random_weights(key)
        self.b = ops.asarray(np.zeros(n_out, self.dtype))
        self.parameters = {"W": self.W, "b": self.b}

    def random_weights(self, key):
        """Fresh weights in the shape of W, from this layer's own initial distribution."""
        shape = 1 + self.projects, self.n_in, self.n_out
        W = matrices(shape, self.n_in, self.n_out, key, self.init, host(self.ops))
        return self.ops.asarray(np.concatenate(W, axis=1).astype(self.dtype))

    def forward(self, h):
        """h + f(h W + b), or h P + f(h W + b); (N, n_in) -> (N, n_out)."""
        if not self.projects:
            return h + self.ops.dense(h, self.W, self.b, self.f)
        W, P = self.parts()
        skip = self.ops.dense(h, P, 0 * self.b, "linear")
        return skip + self.ops.dense(h, W, self.b, self.f)

    def parts(self):
        """W and P, as they are now: `asarray` makes good what a backend has only promised."""
        return halves(self.ops.asarray(self.W))

    def times_slope(self, e, h, below):
        """delta = [e f'(a), e] (N, 2 n_out), given the layer's output h and its input below."""
        if self.projects:
            f = self.ops.dense(below, self.parts()[0], self.b, self.f)
        else:
            f = h - below
        return self.ops.join(self.ops.times_slope(e, f, self.f), e)

    def pull_back(self, delta, weights=None):
        """delta_1 W^T + delta_2, or delta [W | P]^T; (N, 2 n_out) -> (N, n_in)."""
        W = self.W if weights is None else weights
        if self.projects:
            return self.ops.pull_back(delta, W)
        through, past = halves(delta)
        return self.ops.pull_back(through, W) + past

    def gradient(self, h, delta):
        """{"W": dW or [dW | dP], "b": db}, averaged over the batch; h is the layer's input."""
        dW, db = self.ops.dense_grad(h, delta if self.projects else halves(delta)[0])
        return {"W": dW, "b": db[:self.n_out]}

    def mirror(self, f, key, init=None):
        """A residual layer from n_out back to n_in, with its own weights.

        Its nonlinearity is this layer's: f would give the range of what is below, and a sum of a
        skip and a correction keeps to no range.
        """
        return Residual(self.n_out, self.n_in, self.f, self.ops, self.dtype, key,
                        init or self.init)


def halves(pair):
    """[left | right] -> left, right: copies, because a raw kernel cannot read a view."""
    n = pair.shape[1] // 2
    return pair[:, :n].copy(), pair[:, n:].copy()
