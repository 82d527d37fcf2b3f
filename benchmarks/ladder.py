"""What each rung of `kernels.cpu.ladder` is worth: one product of matrices, one thread.

    share       of the speed of NumPy's product, which is its BLAS's, in the same round

The sizes are a hidden layer of 240 units, the layer below it, and two that are 1024 wide.
"""
from functools import partial

import numpy as np

from benchmarks.check import Wrong
from benchmarks.steps import brief
from benchmarks.tables import BLAS
from benchmarks.timing import Others, rounds
from minicredit.kernels.cpu.ladder import RUNGS

CASES = [(128, 240, 240), (128, 784, 240), (128, 1024, 1024), (256, 3072, 1024)]        # m, k, n
SMALL = [(7, 9, 70), (5, 4, 64)]
GOAL = 0.86                     # of BLAS's speed, for the top rung
SLOWEST = 3e8                   # operations a second, or so, of the lowest rung with large matrices
PATIENCE = 2.0                  # seconds that a product may take
TIMES = 8                       # of float32's own rounding


def cases(options):
    """(m, k, n) of each row."""
    return SMALL if options["small"] else CASES


def jobs(group, options):
    """(name, seconds it will take, roughly) of each row."""
    expected = 3 + options["rounds"] * len(RUNGS) * 1.3 * options["burst"]
    return [(named(*one), expected + 2 * options["rounds"] * slow(*one) * (not options["small"]))
            for one in cases(options)]


def named(m, k, n):
    """As it stands in a table."""
    return f"{m} x {k} x {n}"


def slow(m, k, n):
    """Seconds of the lowest rung, if that is not too many; else 0, as it is left out."""
    seconds = 2 * m * k * n / SLOWEST
    return seconds if seconds < PATIENCE else 0


def checked(multiply, A, B):
    """How far off a contender is, relative to the largest number of the product.

    Raises
    ------
    Wrong
    """
    C = np.full((len(A), B.shape[1]), np.nan, A.dtype)
    multiply(A, B, C)
    want = A.astype("float64") @ B
    error = np.abs(C - want).max() / np.abs(want).max()
    allowed = TIMES * A.shape[1]**0.5 * np.finfo(A.dtype).eps
    if not error <= allowed:
        raise Wrong(f"off by {error:.2g}; rounding explains {allowed:.2g}")
    return float(error)


def contenders(without, size):
    """What multiplies, by its name in the tables; and who is left out."""
    found, left_out = {rung.__name__: rung for rung in RUNGS}, {}
    if not slow(*size):
        left_out[RUNGS[0].__name__] = f"takes more than {PATIENCE:g} s for {named(*size)}"
    found[BLAS] = np.matmul
    return {name: multiply for name, multiply in found.items()
            if name not in left_out and name not in without}, left_out


def measure(group, number, options):
    """One row; dict, see `benchmarks.tables`."""
    m, k, n = size = cases(options)[number]
    random, (found, left_out) = np.random.default_rng(0), contenders(options["without"], size)
    A, B = (random.standard_normal(shape, np.float32) for shape in ((m, k), (k, n)))
    C, errors, ready = np.empty((m, n), np.float32), {}, {}
    for name, multiply in found.items():
        try:
            errors[name] = checked(multiply, A, B)
            ready[name] = partial(multiply, A, B, C)
        except Wrong as wrong:
            left_out[name] = f"WRONG, not timed: {wrong}"
        except Exception as failed:
            left_out[name] = brief(failed)
    others = Others()
    times, _ = rounds(ready, options["rounds"], options["burst"], side=0)
    return {"group": group, "what": named(*size), "times": times, "operations": 2 * m * k * n,
            "errors": errors, "left_out": left_out, "others": others.processors(),
            "goals": {} if options["small"] else {RUNGS[-1].__name__: GOAL}}
