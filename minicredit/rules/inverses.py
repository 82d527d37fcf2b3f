"""What the rules of the target propagation family build alike: inverses, and refusals.

Layer i maps h[i-1] to h[i]; its inverse g_i maps back, h[i-1] ~ g_i(h[i]), through the layer of
the reversed connectivity with the nonlinearity that made h[i-1].  There is none into the input.
"""
from minicredit.errors import UserError
from minicredit.keys import FEEDBACK


def inverses(net, top, seed, init):
    """The inverses of layers 2..top and their arrays by name.

    Returns
    -------
    G : list of layers; G[i] maps h[i] back to h[i-1]
    arrays : dict; {"V[i]": G[i].W, "c[i]": G[i].b}
    """
    G, arrays = [None] * (net.L + 1), {}
    for i in range(2, top + 1):
        G[i] = net.layers[i].mirror(net.layers[i - 1].f, (seed, FEEDBACK, i, 0), init)
        arrays[f"V[{i}]"], arrays[f"c[{i}]"] = G[i].W, G[i].b
    return G, arrays


def require(net, rule):
    """A rule of targets needs a hidden layer to give one to.

    Raises
    ------
    UserError
    """
    if net.L < 2:
        raise UserError(f"{rule}: wanted a network with a hidden layer; got sizes {net.sizes}")


def choose(name, value, known):
    """An option that is a word.

    Raises
    ------
    UserError
        If it is not one of those known.
    """
    if value not in known:
        raise UserError(f"{name}: wanted one of {', '.join(known)}; got {value!r}")
