"""Optimisers: what an array does about its gradient g.  One object serves many arrays, by name.

    sgd         w -= eta g
    manhattan   w -= eta sign(g)                                   (Liao et al. 2016)
    momentum    u = mu u - eta g;  w += u                          (Polyak 1964)
    rmsprop     w -= eta g / (sqrt(E[g^2]) + eps)                  (Tieleman & Hinton 2012)
    rmsprop-centred                                                (Graves 2013; Lee et al. 2015)
                u = mu u - eta g / sqrt(E[g^2] - E[g]^2 + eps);  w += u
    adam        w -= eta E'[g] / (sqrt(E'[g^2]) + eps)             (Kingma & Ba 2015)

`make("adam:beta2=0.99", eta=1e-3, ops)` builds one from text, as the command line and the rules'
defaults write it.  `scale` multiplies eta; a schedule sets it, and 1 means no decay.
"""
from inspect import signature

from minicredit.errors import UserError


class SGD:
    """w -= eta g."""

    def __init__(self, ops, eta):
        self.ops, self.eta, self.scale, self.state = ops, eta, 1.0, {}

    def descend(self, name, w, g):
        """Move the array `name` in place."""
        self.ops.sgd(w, g, self.scale * self.eta)


class Manhattan(SGD):
    """w -= eta sign(g): only the sign of the gradient reaches the weight."""

    def descend(self, name, w, g):
        """Move the array `name` in place."""
        self.ops.manhattan(w, g, self.scale * self.eta)


class Momentum(SGD):
    """u = mu u - eta g; w += u."""

    def __init__(self, ops, eta, mu=0.9):
        super().__init__(ops, eta)
        self.mu = mu

    def descend(self, name, w, g):
        """Move the array `name` in place."""
        u, = zeros(self.state, name, w, 1)
        self.ops.momentum(w, g, u, self.scale * self.eta, self.mu)


class RMSProp(SGD):
    """w -= eta g / (sqrt(v) + eps); v is the running mean of g^2."""

    def __init__(self, ops, eta, rho=0.9, eps=1e-8):
        super().__init__(ops, eta)
        self.rho, self.eps = rho, eps

    def descend(self, name, w, g):
        """Move the array `name` in place."""
        v, = zeros(self.state, name, w, 1)
        self.ops.rmsprop(w, g, v, self.scale * self.eta, self.rho, self.eps)


class RMSPropCentred(SGD):
    """As the script of Lee et al. 2015: centred, momentum, eps = 0.001 *inside* the root."""

    def __init__(self, ops, eta, rho=0.95, mu=0.9, eps=1e-3):
        super().__init__(ops, eta)
        self.rho, self.mu, self.eps = rho, mu, eps

    def descend(self, name, w, g):
        """Move the array `name` in place."""
        m, v, u = zeros(self.state, name, w, 3)
        eta = self.scale * self.eta
        self.ops.rmsprop_centred(w, g, m, v, u, eta, self.rho, self.mu, self.eps)


class Adam(SGD):
    """Each array counts its own steps, because feedback and forward may learn at other times."""

    def __init__(self, ops, eta, beta1=0.9, beta2=0.999, eps=1e-8):
        super().__init__(ops, eta)
        self.beta1, self.beta2, self.eps, self.t = beta1, beta2, eps, {}

    def descend(self, name, w, g):
        """Move the array `name` in place."""
        m, v = zeros(self.state, name, w, 2)
        t = self.t[name] = self.t.get(name, 0) + 1
        eta = self.scale * self.eta
        self.ops.adam(w, g, m, v, t, eta, self.beta1, self.beta2, self.eps)


OPTIMIZERS = {"sgd": SGD, "manhattan": Manhattan, "momentum": Momentum, "rmsprop": RMSProp,
              "rmsprop-centred": RMSPropCentred, "adam": Adam}


def zeros(state, name, w, n):
    """The n arrays of optimiser state that belong to `name`; all zero before its first step."""
    if name not in state:
        state[name] = tuple(0 * w for _ in range(n))
    return state[name]


def make(text, eta, ops):
    """The optimiser written as "kind" or "kind:setting=number,...", with learning rate eta.

    Raises
    ------
    UserError
        If the kind or a setting is unknown, or a setting is not a number.
    """
    kind, _, settings = text.partition(":")
    if kind not in OPTIMIZERS:
        raise UserError(f"optimizer: wanted one of {', '.join(OPTIMIZERS)}; got {kind!r}")
    if not 0 <= eta < float("inf"):
        raise UserError(f"eta: wanted a number, 0 or more; got {eta!r}")
    known = [name for name in signature(OPTIMIZERS[kind]).parameters if name not in ("ops", "eta")]
    given = {}
    for setting in filter(None, settings.split(",")):
        name, _, value = setting.partition("=")
        if name not in known:
            wanted = ", ".join(known) or "no settings"
            raise UserError(f"optimizer {kind}: wanted {wanted}; got {name!r}")
        try:
            given[name] = float(value)
        except ValueError:
            raise UserError(f"optimizer {kind}: {name} wants a number; got {value!r}") from None
        if not 0 <= given[name] < (1 if name != "eps" else float("inf")):
            raise UserError(f"optimizer {kind}: {name} wants a number from 0 to below 1 (eps: 0 or "
                            f"more); got {value!r}")
    return OPTIMIZERS[kind](ops, eta, **given)


def descend_all(optimizer, arrays, gradient):
    """One step of every array that `gradient` names, in place."""
    for name, g in gradient.items():
        optimizer.descend(name, arrays[name], g)
