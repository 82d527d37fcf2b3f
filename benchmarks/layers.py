"""What a locally connected layer costs: forward, pull back and gradient, on a batch of 128.

    operations      3 x 2 N F ch  sum over places of the taps that fall inside the image

Taps on the zeros around it are not counted, though most libraries multiply them.  The layer is
linear with biases; "same" padding.  What a step needs beside what it was given is measured too.

Every contender gets activities as its own library's layers hand them on to one another: torch
(N, channels, r, c), JAX (N, r, c, channels), our numba backend with the batch innermost.
"""
from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks.check import Wrong
from benchmarks.steps import backends, brief, peers, side
from benchmarks.timing import Others, rounds, transient
from minicredit.kernels import load, reference
from minicredit.layers.geometry import stencil

CASES = [((32, 32, 3), 5, 32, 1), ((28, 28, 1), 5, 32, 1), ((16, 16, 32), 3, 64, 1),
         ((32, 32, 3), 3, 64, 2)]               # image, kernel, channels, stride
SMALL = [((6, 5, 2), 3, 4, 1), ((6, 5, 2), 3, 4, 2)]
BATCH = 128
SLOWEST = 0.6                   # seconds a step of the slowest contender takes on one core, or so
TIMES, FLOOR = 12, 2e-6         # of float32's own rounding, as in benchmarks.check


class Case(NamedTuple):
    """What every contender starts from, as our layers have it.

    stencil : minicredit.layers.geometry.Stencil
    h : array (N, R C ch);  W : (P, S, F);  b : (P, F);  delta : (N, P F)
    """

    stencil: tuple
    h: np.ndarray
    W: np.ndarray
    b: np.ndarray
    delta: np.ndarray


def case(shape, kernel, channels, stride, N):
    """Random numbers for a layer of this geometry."""
    where, random = stencil(shape, kernel, stride), np.random.default_rng(0)
    P, S = where.rows_out * where.columns_out, kernel**2 * where.channels
    sizes = (N, int(np.prod(shape))), (P, S, channels), (P, channels), (N, P * channels)
    return Case(where, *(random.standard_normal(size, np.float32) for size in sizes))


def cases(options):
    """The geometries and the batch."""
    return (SMALL, 4) if options["small"] else (CASES, BATCH)


def jobs(group, options):
    """(name, seconds it will take, roughly) of each row."""
    found, N = cases(options)
    slow = 0 if options["small"] else SLOWEST / options["threads"]
    expected = 4 + options["rounds"] * (4 * 1.3 * options["burst"] + slow + 0.15)
    return [(named(*one, N), expected) for one in found]


def named(shape, kernel, channels, stride, N):
    """As it stands in a table."""
    stride = f", stride {stride}" if stride > 1 else ""
    return (f"{'x'.join(map(str, shape))}, {kernel}x{kernel}, {channels} channels{stride}, "
            f"batch {N}")


def inside(n, places, kernel, stride, before):
    """Taps along one side that fall inside the image, over all places."""
    starts = [stride * place - before for place in range(places)]
    return sum(min(start + kernel, n) - max(start, 0) for start in starts)


def operations(case):
    """Operations of one step's matrix products; see this module."""
    R, C, ch, k, s, top, left, R1, C1 = case.stencil
    taps = inside(R, R1, k, s, top) * inside(C, C1, k, s, left)
    return 3 * 2 * len(case.h) * taps * ch * case.W.shape[2]


def as_handed_on(h, ops):
    """The same activities, in memory as the layers of this backend leave them."""
    where, W = stencil((1, 1, 1), 1), np.ones((1, 1, 2), np.float32)
    said = ops.local_dense(*map(ops.asarray, (W[0, :, :1].repeat(2, axis=0), W, W[0])), "linear",
                           where)
    flags = getattr(said, "flags", None)
    return h.copy(order="F") if flags is not None and not flags.c_contiguous else h


class Ours:
    """minicredit, on one of its backends, or another module with its operations."""

    def __init__(self, case, ops):
        self.ops, self.stencil = ops, case.stencil
        h, self.W, self.b, delta = (ops.asarray(array) for array in case[1:])
        self.h, self.delta = as_handed_on(h, ops), as_handed_on(delta, ops)

    def forget(self):
        """What the last step found is not held beside what the next one finds."""
        self.found = None

    def step(self):
        """Forward, pull back, gradient."""
        self.forget()
        ops, where = self.ops, self.stencil
        a = ops.local_dense(self.h, self.W, self.b, "linear", where)
        e = ops.local_pull_back(self.delta, self.W, where)
        self.found = a, e, *ops.local_grad(self.h, self.delta, where)

    def answer(self):
        """The layer's output, dloss/dh, dW and db."""
        return tuple(map(self.ops.to_numpy, self.found))


def off(got, want):
    """The largest relative error of the four arrays; infinite if something is not a number."""
    errors = [np.linalg.norm(a - b) / np.linalg.norm(b) if a.shape == b.shape else np.inf
              for a, b in zip(got, want)]
    return float(max(error if np.isfinite(error) else np.inf for error in errors))


def admitted(found, case, left_out):
    """Contenders that are right, ready, and how far off each is; the others go to `left_out`.

    Parameters
    ----------
    found : dict; what builds each contender from a case, by its name in the tables
    case : Case
    left_out : dict
        Changed in place.

    Returns
    -------
    ready, errors : dicts
    """
    wide = Ours(case._replace(**{name: getattr(case, name).astype("float64")
                                 for name in ("h", "W", "b", "delta")}), reference)
    narrow = Ours(case, reference)
    wide.step(), narrow.step()
    truth, ready, errors = wide.answer(), {}, {}
    allowed = max(TIMES * off(narrow.answer(), truth), FLOOR)
    for name, make in found.items():
        try:
            contender = make(case)
            contender.step()
            error = off(contender.answer(), truth)
            if error > allowed:
                raise Wrong(f"off by {error:.2g}; rounding explains {allowed:.2g}")
            ready[name], errors[name] = contender, error
        except Wrong as wrong:
            left_out[name] = f"WRONG, not timed: {wrong}"
        except Exception as failed:
            left_out[name] = brief(failed)
    return ready, errors


def goals(shape, kernel, channels, stride, threads):
    """How many times as fast as each contender ours is meant to be."""
    torch = {(32, 5): 6, (28, 5): 5, (16, 3): 4}.get((shape[0], kernel))
    if threads == 2:
        return {"torch unfold + bmm": 10} if (shape[0], kernel) == (32, 5) else {}
    return {**({"torch unfold + bmm": torch} if torch else {}),
            "jax conv_general_dilated_local": 8}


def contenders(without):
    """What builds each contender from a case, by its name in the tables; and who is left out."""
    modules, left_out = peers(without)
    found = {name: partial(Ours, ops=load(backend))
             for name, backend in backends(without, left_out).items()}
    for module in modules:
        found.update(module.layers())
    return {name: make for name, make in found.items() if name not in without}, left_out


def needs(contender):
    """Bytes that a step needs, what it finds included; the lesser of two, as freed blocks differ.

    Returns
    -------
    int, or None where the system does not tell
    """
    found = []
    for _ in range(2):
        contender.forget()
        found.append(transient(contender.step))
    return None if None in found else min(found)


def measure(group, number, options):
    """One row; dict, see `benchmarks.tables`."""
    found, N = cases(options)
    layer = case(*found[number], N)
    makers, left_out = contenders(options["without"])
    ready, errors = admitted(makers, layer, left_out)
    steps = {name: contender.step for name, contender in ready.items()}
    others = Others()
    times, ceilings = rounds(steps, options["rounds"], options["burst"], side(options))
    busy = others.processors()
    memory = {name: needs(contender) for name, contender in ready.items()}
    return {"group": group, "what": named(*found[number], N), "times": times,
            "goals": {} if options["small"] else goals(*found[number], options["threads"]),
            "ceilings": ceilings, "operations": operations(layer), "errors": errors,
            "left_out": left_out, "memory": memory, "others": busy}
