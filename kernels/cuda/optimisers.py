"""Optimisers: weights and their state move in place; update.cuh has the equations.

One kernel serves all of them, and many arrays in a launch: which optimiser it is stands in the
problem.  A product that makes a gradient can carry out the same step itself: `update_fields`.
"""
from minicredit.kernels.cuda.losses import floats
from minicredit.kernels.cuda.work import Work, require

KINDS = ("none", "sgd", "momentum", "manhattan", "rmsprop", "rmsprop_centred", "adam", "leak")
STATES = {"momentum": 1, "rmsprop": 1, "rmsprop_centred": 3, "adam": 2}    # arrays; others: none
THREADS, SHARE = 128, 4                 # as in update.cu: of a block, and entries of a thread


def update_fields(name, args):
    """The struct Update of update.cuh for one call of an optimiser.

    Parameters
    ----------
    name : str
        Of the reference's operation.
    args : tuple
        Its arguments.  The gradient, the second of them, is not looked at.
    """
    w, *rest = args if name == "leak" else (args[0], *args[2:])
    states = STATES.get(name, 0)
    state, numbers = rest[:states], rest[states:]
    t, numbers = (numbers[0], numbers[1:]) if name == "adam" else (0, numbers)
    eta, *constants = numbers
    s1, s2, s3 = [*state, None, None, None][:3]
    a, b, c = [*constants, 0.0, 0.0, 0.0][:3]
    return {"kind": KINDS.index(name), "w": w, "s1": s1, "s2": s2, "s3": s3, "eta": eta,
            "a": a, "b": b, "c": c, "t": t}


def update_work(name, args):
    """One call of an optimiser; a thread moves four weights."""
    w, g = args[0], None if name == "leak" else args[1]
    fields = update_fields(name, args)
    moves = [fields[array] for array in ("w", "s1", "s2", "s3") if fields[array] is not None]
    problem = {"update": fields, "g": g, "n": w.size}
    reads = moves if g is None else [g, *moves]
    return Work("update", (), problem, -(-w.size // (THREADS * SHARE)), THREADS, reads, moves)


def change(device, name, args):
    """Carry it out, if every array is as the first."""
    arrays = args[:2 + STATES.get(name, 0)] if name != "leak" else args[:1]
    dtype = floats(args[0])
    for array, label in zip(arrays, ("w", "g", "state", "state", "state")):
        require(f"{name}: {label}", array, args[0].shape, dtype)
    device.run([update_work(name, args)])


def sgd(device, w, g, eta):
    """See kernels.reference.sgd."""
    change(device, "sgd", (w, g, eta))


def momentum(device, w, g, u, eta, mu):
    """See kernels.reference.momentum."""
    change(device, "momentum", (w, g, u, eta, mu))


def manhattan(device, w, g, eta):
    """See kernels.reference.manhattan."""
    change(device, "manhattan", (w, g, eta))


def rmsprop(device, w, g, v, eta, rho, eps):
    """See kernels.reference.rmsprop."""
    change(device, "rmsprop", (w, g, v, eta, rho, eps))


def rmsprop_centred(device, w, g, m, v, u, eta, rho, mu, eps):
    """See kernels.reference.rmsprop_centred."""
    change(device, "rmsprop_centred", (w, g, m, v, u, eta, rho, mu, eps))


def adam(device, w, g, m, v, t, eta, beta1, beta2, eps):
    """See kernels.reference.adam.  What t alone decides is computed once a block, in double."""
    change(device, "adam", (w, g, m, v, t, eta, beta1, beta2, eps))


def leak(device, w, decay):
    """See kernels.reference.leak."""
    change(device, "leak", (w, decay))
