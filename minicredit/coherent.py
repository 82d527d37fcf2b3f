"""A coherent network: K networks of signed rectifiers side by side, one scalar each.

    z_c = sum of the output units of network c          c = 1 .. K
    cross-entropy   p = softmax(z),  loss = -log p_y,       beta_c = p_c - [c = y]
    squared         loss = sum_c 1/2 (z_c - y_c)^2,         beta_c = z_c - y_c

beta_c is all that the units of network c hear of the rest of the world: one scalar an example.

Why K networks and not one with K outputs: let unit j push class c up or down with the sign sg_jc.
An edge j-k keeps all promises only if sg_jc = sg_kc sign(w_jk) for every c, so along an edge the
whole vector of signs is equal or opposite, and in one connected network every unit pushes all
classes the same way.  The softmax ignores that: sum_c beta_c = 0.
"""
import numpy as np

from minicredit.errors import UserError
from minicredit.kernels import load
from minicredit.keys import WEIGHTS
from minicredit.layers import Dense
from minicredit.layers.coherent import Coherent
from minicredit.network import LOSSES

# Deviation of W[1] times sqrt(n_0), for pixels in [0, 1] and for standardised pixels or inputs.
PIXELS, STANDARDISED, HE = 1.5, 0.5, 2**0.5


class CoherentNetwork:
    """Layers 1..L, and a loss of K scalars.  Has what `Network` has, for h[i] (K, N, sizes[i]).

    Parameters
    ----------
    layers : list of Coherent, the first for i = 1; layers[0] may be a Dense rectifier, shared by
        all K networks, if layers[1] takes a common input
    ops : module
        The backend, as `kernels.load` gives it.
    loss : {"cross-entropy", "squared"}
    """

    def __init__(self, layers, ops, loss="cross-entropy"):
        self.layers, self.ops, self.L, self.K = [None, *layers], ops, len(layers), layers[-1].K
        self.dtype, self.shared = layers[0].dtype, isinstance(layers[0], Dense)
        self.sizes = (layers[0].n_in, *(layer.n_out for layer in layers))
        self.W = [None, *(layer.W for layer in layers)]         # the layers' own arrays: updates
        self.b = [None, *(layer.b for layer in layers)]         # are in place, so these stay true
        self.loss_name, self.scalar_loss = loss, getattr(ops, LOSSES[loss])

    def output(self, h_L):
        """z: the output units of each network, summed; (K, N, sizes[L]) -> (N, K)."""
        return self.ops.class_sums(h_L)

    def beta(self, h_L, y):
        """Each example's loss (N,), and beta (K, N, 1), its slope in each network's scalar."""
        loss, beta = self.scalar_loss(self.ops.class_sums(h_L), y)
        return loss, self.ops.by_class(beta)

    def loss(self, h_L, y):
        """loss (N,) and delta[L] = beta s[L] (K, N, sizes[L]), the error at the pre-activation."""
        loss, beta = self.beta(h_L, y)
        return loss, self.layers[self.L].times_slope(beta, h_L)

    def parameters(self):
        """{"W[1]": array, "b[1]": array, ...}: every array that the forward pass learns."""
        return {f"{name}[{i}]": array for i in range(1, self.L + 1)
                for name, array in self.layers[i].parameters.items()}


def create(sizes, f=None, backend="numpy", dtype="float32", init=None, loss="cross-entropy", seed=0,
           classes=None, signs="coherent", first_scale=PIXELS, scale=2.0, shared=False):
    """A coherent network.

    Parameters
    ----------
    sizes : sequence of int, (n_0, ..., n_L)
        With `classes`, the layers of one class's network: (784, 32, 16, 2) with classes=10 is ten
        of those, and n_L its output units, at least a positive and a negative one.
        Without, for the cross-entropy, the layers of a dense network that ends in K = n_L classes:
        the hidden units are split into K groups with no edges between groups, and that *is* K
        networks.  Each gets ceil(n / K) of a layer's n units, at least 2, and two output units.
        Without, for the squared loss, the layers of the only network.
    f, init : ignored
        Taken so that one command line can build the networks of every rule.  The nonlinearity of a
        coherent network is always the signed rectifier, and its signs come from `signs`.
    backend : str
        A key of `kernels.BACKENDS`.
    dtype : {"float32", "float64"}
    loss : {"cross-entropy", "squared"}
    seed : int
    classes : int or None
        K.
    signs : {"coherent", "random"}
        How the weights above the first layer start: sign_k |N|, or He's N(0, 2 / n_in), from which
        Kickback fails.
    first_scale : float
        W[1] is N(0, first_scale^2 / n_0).  1.5 for pixels in [0, 1] and 0.5 for standardised ones,
        which gives activities alike (ours); sqrt(2) for standardised inputs (He et al. 2015).
    scale : float
        Mean |w| times n_in above the first layer; 2 keeps the size of h at any depth (ours).
    shared : bool
        Layer 1 is one ordinary rectifier layer of n_1 units, the input of all the K networks above
        it, whose first weights W[2] are then the free ones (He).  Its unit j hears
        sum_c beta_c sum_k w_jk s_k.  What is lost is the guarantee, for this layer: neither w_jk
        nor beta_c keeps one sign, so the sum over a unit's paths can.  The layers above keep it.

    Raises
    ------
    UserError
        If a size or a name is not one of these.
    """
    sizes, K = each(tuple(sizes), classes, loss, shared)
    for name, value, known in (("dtype", str(np.dtype(dtype)), ("float32", "float64")),
                               ("loss", loss, LOSSES), ("signs", signs, ("coherent", "random"))):
        if value not in known:
            raise UserError(f"{name}: wanted one of {', '.join(known)}; got {value!r}")
    ops, L = load(backend), len(sizes) - 1
    layers = [trunk(sizes, ops, dtype, seed, first_scale)] if shared else []
    free = 1 + shared                               # the layer that reads the K networks' input
    kind, size = ("coherent", scale) if signs == "coherent" else ("free", HE)
    for i in range(free, L + 1):
        start = (kind, size) if i > free else ("free", HE if shared else first_scale)
        layers.append(Coherent(K, sizes[i - 1], sizes[i], ops, dtype, (seed, WEIGHTS, i, 0),
                               *start, common=i == free))
    return CoherentNetwork(layers, ops, loss)


def each(sizes, classes, loss, shared):
    """The layers of one network, and K; see `create`."""
    whole = [isinstance(n, (int, np.integer)) and n > 0 for n in sizes]
    if len(sizes) < 2 + shared or not all(whole):
        raise UserError(f"sizes: wanted {2 + shared} or more positive integers; got {sizes}")
    if classes is not None and not (isinstance(classes, (int, np.integer)) and classes > 0):
        raise UserError(f"classes: wanted a positive integer or None; got {classes!r}")
    if classes is None and loss == "cross-entropy":
        K = sizes[-1]
        hidden = [max(2, -(-n // K)) for n in sizes[1:-1]]
        if shared:
            hidden[0] = sizes[1]
        sizes = (sizes[0], *hidden, 2)
    else:
        K = 1 if classes is None else classes
    if sizes[-1] < 2:
        raise UserError("sizes: wanted two or more output units, a positive and a negative one; "
                        f"got {sizes[-1]}")
    if K < 2 and loss == "cross-entropy":
        raise UserError(f"classes: wanted two or more for the cross-entropy; got {K}")
    return sizes, K


def trunk(sizes, ops, dtype, seed, scale):
    """Layer 1, shared: an ordinary rectifier layer with W ~ N(0, scale^2 / n_0)."""
    key = seed, WEIGHTS, 1, 0
    layer = Dense(sizes[0], sizes[1], "relu", ops, dtype, key)
    free = Coherent(1, sizes[0], sizes[1], ops, dtype, key, "free", scale)
    layer.W[...] = free.W[0]
    return layer


# Keeping a network coherent -----------------------------------------------------------------------

def coherent_layers(net):
    """Those above the input of the K networks: the weights from it are free."""
    return [layer for layer in net.layers[2:] if not layer.common]


def clip(net):
    """W[i] = sign max(0, sign W[i]) in `coherent_layers`, in place."""
    for layer in coherent_layers(net):
        net.ops.keep_signs(layer.W, layer.sign)


def reflect(net):
    """W[i] = sign |W[i]| in `coherent_layers`, in place."""
    for layer in coherent_layers(net):
        W = net.ops.asarray(layer.W)            # and not what a backend has only promised it to be
        W[...] = layer.sign * np.abs(W)


def off(net):
    """Leave every sign as it is."""


PROJECTIONS = {"clip": clip, "reflect": reflect, "off": off}


# Instruments: they change nothing -----------------------------------------------------------------

def influences(net, h):
    """tau[i] = W[i+1] s[i+1]: how the layer directly above answers each unit.

    Parameters
    ----------
    net : CoherentNetwork
    h : list, as `forward` gives it

    Returns
    -------
    list; tau[i] (K, N, sizes[i]) for i = 1 .. L, also of a shared layer, and tau[L] = 1
    """
    tau = [None] * net.L + [np.ones_like(h[net.L])]
    for i in range(net.L, 1, -1):
        tau[i - 1] = net.ops.influence(net.ops.signed_slope(h[i], net.layers[i].sign), net.W[i])
    return tau


def path_sums(net, h):
    """pi[i] = W[i+1] (s pi)[i+1]: dz/dh[i], over all paths; shapes as `influences`, pi[L] = 1."""
    pi = [None] * net.L + [np.ones_like(h[net.L])]
    for i in range(net.L, 1, -1):
        delta = net.layers[i].times_slope(pi[i], h[i])
        pi[i - 1] = net.ops.signed_pull_back(delta, net.W[i])
    return pi


def coherent_share(net):
    """The share of weights with sign_k w_jk >= 0 in `coherent_layers`."""
    right = [layer.sign * layer.W >= 0 for layer in coherent_layers(net)]
    total = sum(W.size for W in right)
    return sum(int(W.sum()) for W in right) / total if total else 1.0


def opposite_signs(net, h, y=None):
    """The share of active (unit, example) that Kickback tells the opposite of what backprop does.

    That is tau pi < 0; in a shared layer (sum_c beta_c tau_c) (sum_c beta_c pi_c) < 0.

    Parameters
    ----------
    net : CoherentNetwork
    h : list, as `forward` gives it
    y : array
        Labels or targets; only a shared layer needs them, for beta.

    Returns
    -------
    list; share[i] in 0..1 for the hidden layers i = 1 .. L-1

    Raises
    ------
    UserError
        If y is missing where layer 1 is shared.
    """
    if net.shared and y is None:
        raise UserError("opposite_signs: wanted y, because a shared layer hears sums over beta; "
                        "got none")
    tau, pi, share = influences(net, h), path_sums(net, h), [None] * net.L
    if net.shared:
        beta = net.beta(h[net.L], y)[1]
        tau[1], pi[1] = (beta * tau[1]).sum(axis=0), (beta * pi[1]).sum(axis=0)
    for i in range(1, net.L):
        active = h[i] != 0
        opposite = active & (np.sign(tau[i]) * np.sign(pi[i]) < 0)
        share[i] = int(opposite.sum()) / max(1, int(active.sum()))
    return share
