"""A network is a list of layers, numbered as in the papers.

    h[0] = x,   h[i] = layers[i].forward(h[i-1]),   i = 1 .. L

h[L] holds the logits: the top layer is linear and the loss contains the softmax.  Every rule uses
the two functions below and nothing else of the network: `forward`, and `descend`, in which a layer
sees its own input h[i-1] and its own teaching signal delta[i], and no more.
"""
import numpy as np

from minicredit.errors import UserError
from minicredit.initial import INITIAL
from minicredit.kernels import load
from minicredit.keys import WEIGHTS
from minicredit.layers import Dense

LOSSES = {"cross-entropy": "softmax_xent", "squared": "squared_error"}


class Network:
    """Layers 1..L, and the loss that is asked of the last.

    Parameters
    ----------
    layers : list of layers, the first for i = 1
    ops : module
        The backend, as `kernels.load` gives it.
    loss : {"cross-entropy", "squared"}
        Per example: -log softmax(h[L])[y] with int labels y (N,), or 1/2 |h[L] - y|^2 with
        y (N, n).
    """

    def __init__(self, layers, ops, loss="cross-entropy"):
        self.layers, self.ops, self.L = [None, *layers], ops, len(layers)
        self.dtype = layers[0].dtype
        self.sizes = (layers[0].n_in, *(layer.n_out for layer in layers))
        self.W = [None, *(layer.W for layer in layers)]         # the layers' own arrays: updates
        self.b = [None, *(layer.b for layer in layers)]         # are in place, so these stay true
        if loss not in LOSSES:
            raise UserError(f"loss: wanted one of {', '.join(LOSSES)}; got {loss!r}")
        self.loss = getattr(ops, LOSSES[loss])

    def output(self, h_L):
        """What the network answers: logits (N, K), or the prediction (N, n)."""
        return h_L

    def parameters(self):
        """{"W[1]": array, "b[1]": array, ...}: every array that the forward pass learns."""
        return {f"{name}[{i}]": array for i in range(1, self.L + 1)
                for name, array in self.layers[i].parameters.items()}


def create(sizes, f="tanh", backend="numpy", dtype="float32", init="glorot", loss="cross-entropy",
           seed=0):
    """A fully connected network: sizes[0] inputs, hidden layers with nonlinearity f, linear top.

    Parameters
    ----------
    sizes : sequence of int, (n_0, ..., n_L)
    f : {"tanh", "relu", "linear"}
        Nonlinearity of the hidden layers.
    backend : str
        A key of `kernels.BACKENDS`.
    dtype : {"float32", "float64"}
    init : {"glorot", "orthogonal"}
    loss : {"cross-entropy", "squared"}
    seed : int

    Raises
    ------
    UserError
        If a size or a name is not one of these.
    """
    sizes = tuple(sizes)
    if len(sizes) < 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in sizes):
        raise UserError(f"sizes: wanted two or more positive integers; got {sizes}")
    checked(f, dtype, init)
    ops, L = load(backend), len(sizes) - 1
    layers = [Dense(sizes[i - 1], sizes[i], f if i < L else "linear", ops, dtype,
                    (seed, WEIGHTS, i, 0), init) for i in range(1, L + 1)]
    return Network(layers, ops, loss)


def checked(f, dtype, init):
    """Refuse a nonlinearity, dtype or initialisation that there is not.

    Raises
    ------
    UserError
    """
    for name, value, known in (("activation f", f, ("tanh", "relu", "linear")),
                               ("init", init, INITIAL),
                               ("dtype", str(np.dtype(dtype)), ("float32", "float64"))):
        if value not in known:
            raise UserError(f"{name}: wanted one of {', '.join(known)}; got {value!r}")


def forward(net, x):
    """h[0] = x, h[i] = layers[i].forward(h[i-1]); a list of L + 1 arrays (N, sizes[i])."""
    h = [x]
    for i in range(1, net.L + 1):
        h.append(net.layers[i].forward(h[i - 1]))
    return h


def descend(net, h, delta, optimizer):
    """One step of every layer, in place.  A layer sees its own h[i-1] and its own delta[i]."""
    for i in range(1, net.L + 1):
        layer = net.layers[i]
        for name, g in layer.gradient(h[i - 1], delta[i]).items():
            optimizer.descend(f"{name}[{i}]", layer.parameters[name], g)
