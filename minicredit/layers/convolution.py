"""The convolution: a locally connected layer whose places share one set of weights.

    forward     h[i][p] = f(a[p]),  a[p] = h[i-1][what p sees] W + b            at each place p
    slope       delta = e f'(a)
    pull back   dloss/dh[i-1] = sum_p delta[p] W^T, added to what p sees
    gradient    dW = sum_p h[i-1][what p sees]^T delta[p] / N,  db = sum_n sum_p delta[p] / N
    mirror      the transposed convolution, with weights of its own

The sums over p are what sharing means: every place tells the same weights what to do.  No brain
does that, which is why `LocallyConnected` exists.  Initial weights are Glorot & Bengio's (2010)
with fan_in = k k ch_in and fan_out = k k ch_out.
"""
import numpy as np

from minicredit.kernels import host
from minicredit.layers.geometry import matrices, positive, stencil


class Convolution:
    """h -> f(W times what place p sees + b), at every place p.

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
        Names the random numbers that W (k k ch_in, channels) starts from; b (channels,), one for
        every channel, starts at 0.
    init : {"glorot", "orthogonal"}
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
        self.b = ops.asarray(np.zeros(channels, self.dtype))
        self.parameters = {"W": self.W, "b": self.b}

    def random_weights(self, key):
        """Fresh weights in the shape of W, from this layer's own initial distribution."""
        k, ch, channels = self.stencil.kernel, self.shape_in[2], self.shape_out[2]
        shape = k * k * ch, channels
        W = matrices(shape, k * k * ch, k * k * channels, key, self.init, host(self.ops))
        return self.ops.asarray(W.astype(self.dtype))

    def forward(self, h):
        """f(W times what p sees + b); (N, n_in) -> (N, n_out)."""
        return self.ops.conv_dense(h, self.W, self.b, self.f, self.stencil)

    def times_slope(self, e, h, below=None):
        """delta = e f'(a), given the layer's output h = f(a); both (N, n_out)."""
        return self.ops.times_slope(e, h, self.f)

    def pull_back(self, delta, weights=None):
        """sum_p delta[p] W^T where p looks, or with weights^T; (N, n_out) -> (N, n_in)."""
        W = self.W if weights is None else weights
        return self.ops.conv_pull_back(delta, W, self.stencil)

    def gradient(self, h, delta):
        """{"W": dW, "b": db}, averaged over the batch; h is the layer's input."""
        dW, db = self.ops.conv_grad(h, delta, self.stencil)
        return {"W": dW, "b": db}

    def mirror(self, f, key, init=None):
        """The layer of the reversed connectivity, with its own weights and the nonlinearity f."""
        return ConvolutionTranspose(*self.geometry, f, self.ops, self.dtype, key,
                                    init or self.init, self.padding)


class ConvolutionTranspose:
    """h -> f(sum_p h[p] W, added to what place p of a convolution sees, + b).

    Parameters
    ----------
    shape_in, kernel, channels, stride, padding
        Those of the `Convolution` whose connectivity this is, reversed: `shape_in` is the shape
        that comes *out* of this one.
    f, ops, dtype, key, init
        As there; W (channels, k k ch_in), and b (ch_in,), one for every channel that comes out.
    """

    skips = False

    def __init__(self, shape_in, kernel, channels, stride, f, ops, dtype, key, init="glorot",
                 padding="same"):
        self.geometry = shape_in, kernel, positive("channels", channels), stride
        self.f, self.range, self.ops, self.dtype = f, f, ops, np.dtype(dtype)
        self.init, self.padding = init, padding
        self.stencil = stencil(shape_in, kernel, stride, padding)
        self.shape_in = self.stencil.rows_out, self.stencil.columns_out, channels
        self.shape_out = self.stencil[:3]
        self.n_in, self.n_out = int(np.prod(self.shape_in)), int(np.prod(self.shape_out))
        self.W = self.random_weights(key)
        self.b = ops.asarray(np.zeros(self.shape_out[2], self.dtype))
        self.parameters = {"W": self.W, "b": self.b}

    def random_weights(self, key):
        """Fresh weights in the shape of W, from this layer's own initial distribution."""
        k, ch, channels = self.stencil.kernel, self.shape_out[2], self.shape_in[2]
        shape = channels, k * k * ch
        W = matrices(shape, k * k * channels, k * k * ch, key, self.init, host(self.ops))
        return self.ops.asarray(W.astype(self.dtype))

    def forward(self, h):
        """f(sum_p h[p] W where p looks + b); (N, n_in) -> (N, n_out)."""
        return self.ops.conv_transposed(h, self.W, self.b, self.f, self.stencil)

    def times_slope(self, e, h, below=None):
        """delta = e f'(a), given the layer's output h = f(a); both (N, n_out)."""
        return self.ops.times_slope(e, h, self.f)

    def pull_back(self, delta, weights=None):
        """W times delta[what p sees], or with other weights; (N, n_out) -> (N, n_in)."""
        W = self.W if weights is None else weights
        return self.ops.conv_transposed_pull_back(delta, W, self.stencil)

    def gradient(self, h, delta):
        """{"W": dW, "b": db}, averaged over the batch; h is the layer's input."""
        dW, db = self.ops.conv_transposed_grad(h, delta, self.stencil)
        return {"W": dW, "b": db}

    def mirror(self, f, key, init=None):
        """The layer of the reversed connectivity, with its own weights and the nonlinearity f."""
        return Convolution(*self.geometry, f, self.ops, self.dtype, key, init or self.init,
                           self.padding)
