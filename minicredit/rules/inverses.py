"""What the rules of the target propagation family build alike: inverses, and refusals.

Layer i maps h[i-1] to h[i]; its inverse g_i maps back, h[i-1] ~ g_i(h[i]), through the layer of
the reversed connectivity with the nonlinearity that made h[i-1].  There is none into the input.
"""
import numpy as np

from minicredit.errors import UserError
from minicredit.initial import INITIAL
from minicredit.keys import FEEDBACK
from minicredit.rules.options import choose


class ExactInverse:
    """g(h) = (f^-1(h) - b) W^-1, the true inverse of a square dense layer as it now stands.

    For theory, on the host: tanh^-1 of a target at or beyond +-1 is not finite, and stays visible.
    """

    def __init__(self, layer):
        self.layer = layer

    def forward(self, h):
        """(N, n) -> (N, n)."""
        layer, ops = self.layer, self.layer.ops
        h, W, b = (ops.to_numpy(array) for array in (h, layer.W, layer.b))
        a = np.arctanh(h) if layer.f == "tanh" else h
        return ops.asarray(np.linalg.solve(W.T, (a - b).T).T)


def inverses(net, top, seed, init):
    """The inverses of layers 2..top, to be learned, and their arrays by name.

    Returns
    -------
    G : list of layers; G[i] maps h[i] back to h[i-1]
    arrays : dict; {"V[i]": G[i].W, "c[i]": G[i].b}
    """
    choose("init_inverse", init, INITIAL)
    G, arrays = [None] * (net.L + 1), {}
    for i in range(2, top + 1):
        G[i] = net.layers[i].mirror(net.layers[i - 1].range, (seed, FEEDBACK, i, 0), init)
        arrays[f"V[{i}]"], arrays[f"c[{i}]"] = G[i].W, G[i].b
    return G, arrays


def exact_inverses(net, top):
    """The true inverses of layers 2..top.

    Raises
    ------
    UserError
        If one has none: its weights are not square, its nonlinearity loses information, or it is
        the softmax output.
    """
    G = [None] * (net.L + 1)
    for i in range(2, top + 1):
        layer = net.layers[i]
        square = layer.W.shape == (layer.n_in, layer.n_in)
        if i == net.L or layer.skips or not square or layer.f not in ("tanh", "linear"):
            raise UserError(f"tp: exact inverses want square tanh or linear layers below the "
                            f"output and first_target=gradient; layer {i} is "
                            f"{layer.n_in}-{layer.n_out} {'softmax' if i == net.L else layer.f}")
        G[i] = ExactInverse(layer)
    return G


def require(net, rule, classifier=False):
    """A rule of targets needs a hidden layer to give one to; some need class probabilities.

    Raises
    ------
    UserError
    """
    if net.L < 2:
        raise UserError(f"{rule}: wanted a network with a hidden layer; got sizes {net.sizes}")
    if classifier and net.loss is not net.ops.softmax_xent:
        raise UserError(f"{rule}: its output target is a label distribution, so it wants a network "
                        "with loss=cross-entropy; got another loss")
