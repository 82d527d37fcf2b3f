"""Entry by entry: slopes, differences, signs, and the sums and products that a rule writes itself.

All are one kernel, each.cu, which is told by a number what to compute; `join` is another.
"""
import numpy as np

from minicredit.kernels.cuda import losses
from minicredit.kernels.cuda.work import REAL, Work, require

WHAT = ("copy", "add", "subtract", "multiply", "shift", "scale", "away", "axpy", "difference",
        "signs", "tanh_slope", "relu_slope", "linear_miss", "tanh_miss", "relu_miss")
THREADS, SHARE = 128, 4                 # as in each.cu: of a block, and entries of a thread
COPIED = 256                            # entries of a block of join.cu


def each_work(what, out, x, y=None, z=None, s=1.0):
    """out = what(x, y, z, s), entry by entry; all of one size.

    Parameters
    ----------
    what : str
        One of `WHAT`; each.cu has the equations.
    out, x, y, z : arrays
    s : float, or a number in device memory
    """
    problem = {"x": x, "y": y, "z": z, "out": out, "s": s, "what": WHAT.index(what),
               "n": out.size}
    reads = [array for array in (x, y, z) if array is not None]
    return Work("each", (), problem, -(-out.size // (THREADS * SHARE)), THREADS, reads, [out])


def each(device, what, x, y=None, z=None, s=1.0):
    """A new array, what(x, y, z, s)."""
    out = device.empty(x.shape, x.dtype)
    device.run([each_work(what, out, x, y, z, s)])
    return out


def times_slope(device, e, h, f):
    """See kernels.reference.times_slope.  For softmax one warp a row, else a thread four entries.
    """
    require("e", e, e.shape, losses.floats(e))
    require("h", h, e.shape, e.dtype)
    if f == "softmax":
        return losses.softmax_slope(device, e, h)
    return each(device, f"{f}_slope", e, h) if f in ("tanh", "relu") else e


def difference(device, h, up, down):
    """See kernels.reference.difference."""
    require("h", h, h.shape, losses.floats(h))
    require("up", up, h.shape, h.dtype)
    require("down", down, h.shape, h.dtype)
    return each(device, "difference", h, up, down)


def join(device, *parts):
    """See kernels.reference.join.  Four parts in a pass."""
    N, dtype = len(parts[0]), losses.floats(parts[0])
    for i, part in enumerate(parts):
        require(f"part {i}", part, (N, part.shape[1]), dtype)
    out = device.empty((N, sum(part.shape[1] for part in parts)), dtype)
    first = 0
    for i in range(0, len(parts), 4):
        device.run([join_work(parts[i:i + 4], out, first)])
        first += sum(part.shape[1] for part in parts[i:i + 4])
    return out


def join_work(parts, out, first=0):
    """out[:, first:] = four parts, or fewer, side by side; a thread copies one number."""
    N, width = out.shape
    problem = {"out": out, "N": N, "width": width, "first": first}
    for name, part in zip("abcd", [*parts, None, None, None]):
        problem |= {name: part, f"n_{name}": 0 if part is None else part.shape[1]}
    entries = N * sum(part.shape[1] for part in parts)
    return Work("join", (), problem, -(-entries // COPIED), COPIED, list(parts), [out])


def with_signs(device, M, W):
    """See kernels.reference.with_signs."""
    require("M", M, M.shape, losses.floats(M))
    require("W", W, M.shape, M.dtype)
    return each(device, "signs", M, W)


# What arrays do between operations; None where there is no kernel for it --------------------------

def add(device, x, y):
    """x + y for two arrays of one shape and type, or an array and a number."""
    if is_number(x):
        x, y = y, x
    if not served(x, y):
        return None
    return each(device, "shift", x, s=y) if is_number(y) else each(device, "add", x, y)


def subtract(device, x, y):
    """x - y, likewise."""
    if is_number(x):
        return each(device, "away", y, s=x) if served(y, x) else None
    if not served(x, y):
        return None
    return each(device, "shift", x, s=-1 * y) if is_number(y) else each(device, "subtract", x, y)


def multiply(device, x, y):
    """x y, likewise."""
    if is_number(x):
        x, y = y, x
    if not served(x, y):
        return None
    return each(device, "scale", x, s=y) if is_number(y) else each(device, "multiply", x, y)


def is_number(x):
    """Whether x has no type of its own, and takes that of the array it meets."""
    return isinstance(x, (int, float)) and not isinstance(x, np.generic)


def served(x, y):
    """Whether the kernel can read x, and y if that is no number."""
    def readable(a):
        return hasattr(a, "on_device") and a.dtype.name in REAL and a.flags.c_contiguous

    if not readable(x):
        return False
    return is_number(y) or (readable(y) and y.shape == x.shape and y.dtype == x.dtype)
