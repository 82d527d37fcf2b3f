"""The locally connected layer: a convolution without shared weights (Bartunov et al. 2018).

    forward     h[i][p] = f(a[p]),  a[p] = h[i-1][what p sees] W[p] + b[p]      at each place p
    slope       delta = e f'(a)
    pull back   dloss/dh[i-1] = sum_p delta[p] W[p]^T, added to what p sees
    gradient    dW[p] = h[i-1][what p sees]^T delta[p] / N,  db = sum_n delta / N
    mirror      the transposed layer, with weights of its own: the forward and the pull back change
                places, and each place speaks to what it saw

A brain cannot share a weight between two places; this is what a convolution becomes without.
h is flat, (N, rows * columns * channels), channels innermost, so nothing lies between two layers.

Initial weights are Glorot & Bengio's (2010) with the fans of a convolution, fan_in = k k ch_in and
fan_out = k k ch_out, as TensorFlow counts them.  fan_in is exact: a unit is a sum over what one
place sees, and how many places there are is nothing to it.  fan_out is exact for stride 1; stride s
leaves a unit k k ch_out / s^2 readers on average.  It is counted in full, so that a layer starts as
the convolution that it is compared with: sharing is then the only difference between the two.
"""
import numpy as np

from minicredit.kernels import host
from minicredit.layers.geometry import matrices, positive, stencil


class LocallyConnected:
    """h -> f(W[p] times what place p sees + b[p]), at every place p.

    Parameters
    ----------
    shape_in : (rows, columns, channels)
    kernel : int
        Side of the square that a place sees.
    channels : int
        Units at each place.
    stride : int
    f : {"linear", "tanh", "relu"}
    ops : module
        The backend.
    dtype : "float32" or "float64"
    key : (seed, stream, i, t)
        Names the random numbers that W (places, k k ch_in, channels) starts from; b (places,
        channels), one for every unit, starts at 0.
    init : {"glorot", "orthogonal"}
        Orthogonal: each place's matrix is.
    padding : {"same", "none"}
        See `minicredit.layers.geometry`.

    Raises
    ------
    UserError
        If the geometry is impossible.
    """

    skips = False

    def __init__(self, shape_in, kernel, channels, stride, f, ops, dtype, key, init="glorot",
                 padding="same"):
        self.geometry = shape_in, kernel, positive("channels", channels), stride
        self.f, self.range, self.ops, self.dtype = f, f, ops, np.dtype(dtype)
        self.init, self.padding = init, padding
        self.stencil = stencil(shape_in, kernel, stride, padding)
        self.shape_in = self.stencil[:3]
        self.shape_out = self.stencil.rows_out, self.stencil.columns_out, channels
        self.n_in, self.n_out = int(np.prod(self.shape_in)), int(np.prod(self.shape_out))
        self.W = self.random_weights(key)
        self.b = ops.asarray(np.zeros((len(self.W), channels), self.dtype))
        self.parameters = {"W": self.W, "b": self.b}

    def random_weights(self, key):
        """Fresh weights in the shape of W, from this layer's own initial distribution."""
        k, ch, (rows, columns, channels) = self.stencil.kernel, self.shape_in[2], self.shape_out
        shape = rows * columns, k * k * ch, channels
        W = matrices(shape, k * k * ch, k * k * channels, key, self.init, host(self.ops))
        return self.ops.asarray(W.astype(self.dtype))

    def forward(self, h):
        """f(W[p] times what p sees + b[p]); (N, n_in) -> (N, n_out)."""
        return self.ops.local_dense(h, self.W, self.b, self.f, self.stencil)

    def times_slope(self, e, h, below=None):
        """delta = e f'(a), given the layer's output h = f(a); both (N, n_out)."""
        return self.ops.times_slope(e, h, self.f)

    def pull_back(self, delta, weights=None):
        """sum_p delta[p] W[p]^T where p looks, or with weights^T; (N, n_out) -> (N, n_in)."""
        W = self.W if weights is None else weights
        return self.ops.local_pull_back(delta, W, self.stencil)

    def gradient(self, h, delta):
        """{"W": dW, "b": db}, averaged over the batch; h is the layer's input."""
        dW, db = self.ops.local_grad(h, delta, self.stencil)
        return {"W": dW, "b": db}

    def mirror(self, f, key, init=None):
        """The layer of the reversed connectivity, with its own weights and the nonlinearity f."""
        return LocallyConnectedTranspose(*self.geometry, f, self.ops, self.dtype, key,
                                         init or self.init, self.padding)


class LocallyConnectedTranspose:
    """h -> f(sum_p h[p] W[p], added to what place p of a locally connected layer sees, + b).

    Parameters
    ----------
    shape_in, kernel, channels, stride, padding
        Those of the `LocallyConnected` whose connectivity this is, reversed: `shape_in` is the
        shape that comes *out* of this one.
    f, ops, dtype, key, init
        As there; W (places, channels, k k ch_in), and b (rows * columns, ch_in), one for every
        unit that comes out.
    """

    skips = False

    def __init__(self, shape_in, kernel, channels, stride, f, ops, dtype, key, init="glorot",
                 padding="same"):
        self.geometry = shape_in, kernel, positive("channels", channels), stride
        self.f, self.range, self.ops, self.dtype = f, f, ops, np.dtype(dtype)
        self.init, self.padding = init, padding
        self.stencil = stencil(shape_in, kernel, stride, padding)
        self.shape_in = self.stencil.rows_out, self.stencil.columns_out, channels
        self.shape_out = rows, columns, ch = self.stencil[:3]
        self.n_in, self.n_out = int(np.prod(self.shape_in)), int(np.prod(self.shape_out))
        self.W = self.random_weights(key)
        self.b = ops.asarray(np.zeros((rows * columns, ch), self.dtype))
        self.parameters = {"W": self.W, "b": self.b}

    def random_weights(self, key):
        """Fresh weights in the shape of W, from this layer's own initial distribution."""
        k, ch, (rows, columns, channels) = self.stencil.kernel, self.shape_out[2], self.shape_in
        shape = rows * columns, channels, k * k * ch
        W = matrices(shape, k * k * channels, k * k * ch, key, self.init, host(self.ops))
        return self.ops.asarray(W.astype(self.dtype))

    def forward(self, h):
        """f(sum_p h[p] W[p] where p looks + b); (N, n_in) -> (N, n_out)."""
        return self.ops.local_transposed(h, self.W, self.b, self.f, self.stencil)

    def times_slope(self, e, h, below=None):
        """delta = e f'(a), given the layer's output h = f(a); both (N, n_out)."""
        return self.ops.times_slope(e, h, self.f)

    def pull_back(self, delta, weights=None):
        """W[p] times delta[what p sees], or with other weights; (N, n_out) -> (N, n_in)."""
        W = self.W if weights is None else weights
        return self.ops.local_transposed_pull_back(delta, W, self.stencil)

    def gradient(self, h, delta):
        """{"W": dW, "b": db}, averaged over the batch; h is the layer's input."""
        dW, db = self.ops.local_transposed_grad(h, delta, self.stencil)
        return {"W": dW, "b": db}

    def mirror(self, f, key, init=None):
        """The layer of the reversed connectivity, with its own weights and the nonlinearity f."""
        return LocallyConnected(*self.geometry, f, self.ops, self.dtype, key, init or self.init,
                                self.padding)
