"""Losses, row by row: one warp a row, four rows to a block; losses.cu has the kernels."""
import numpy as np

from minicredit.kernels.cuda.work import REAL, Work, require

ROWS, LANES = 4, 32
KEEP = 1, 4, 32                         # numbers of a row that a lane has in registers


def floats(x):
    """The type of an array if kernels know it; else float32, which `require` misses then."""
    return x.dtype if x.dtype.name in REAL else np.dtype(np.float32)


def row_work(kernel, shape, reads, writes):
    """A kernel of losses.cu over the N rows of matrices (N, K); arrays by their names there."""
    N, K = shape
    problem = {**reads, **writes, "N": N, "K": K}
    keep = next(keep for keep in KEEP if K <= LANES * keep or keep == KEEP[-1])
    return Work(f"losses:{kernel}", (("KEEP", keep),), problem, -(-N // ROWS), (LANES, ROWS),
                [*reads.values()], [*writes.values()])


def softmax(device, a):
    """See kernels.reference.softmax."""
    require("a", a, a.shape, floats(a))
    p = device.empty(a.shape, a.dtype)
    device.run([softmax_work(a, p)])
    return p


def softmax_work(a, p):
    """p = softmax(a)."""
    return row_work("softmax", a.shape, {"a": a}, {"p": p})


def softmax_xent(device, a, y):
    """See kernels.reference.softmax_xent.  The loss of a label that there is not is NaN."""
    N, K = a.shape
    require("a", a, (N, K), floats(a))
    require("y", y, (N,), np.int64)
    loss, delta = device.empty((N,), a.dtype), device.empty((N, K), a.dtype)
    device.run([softmax_xent_work(a, y, loss, delta)])
    return loss, delta


def softmax_xent_work(a, y, loss, delta, p=None, goal=None, step=0.0):
    """loss and delta of the logits a and labels y, and what else is made of them in the same pass.

    Parameters
    ----------
    p : array (N, K), to be softmax(a), or None
    goal : array (N, K), to be softmax(a) - step delta, or None
    step : float, or a number in device memory
    """
    also = {name: array for name, array in (("p", p), ("goal", goal)) if array is not None}
    work = row_work("softmax_xent", a.shape, {"a": a, "y": y},
                    {"loss": loss, "delta": delta, **also})
    work.problem |= {"p": p, "goal": goal, "step": step}
    return work


def softmax_slope(device, e, h):
    """e times the Jacobian of softmax at its answer h: `times_slope` for a softmax."""
    delta = device.empty(h.shape, h.dtype)
    device.run([softmax_slope_work(e, h, delta)])
    return delta


def softmax_slope_work(e, h, delta):
    """delta = h (e - <e, h>)."""
    return row_work("softmax_slope", h.shape, {"e": e, "h": h}, {"delta": delta})


def squared_error(device, a, y):
    """See kernels.reference.squared_error."""
    N, n = a.shape
    require("a", a, (N, n), floats(a))
    require("y", y, (N, n), a.dtype)
    loss, delta = device.empty((N,), a.dtype), device.empty((N, n), a.dtype)
    device.run([squared_error_work(a, y, loss, delta)])
    return loss, delta


def squared_error_work(a, y, loss, delta):
    """loss and delta of the answers a and targets y."""
    return row_work("squared_error", a.shape, {"a": a, "y": y}, {"loss": loss, "delta": delta})
