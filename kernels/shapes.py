"""The reference, run on arrays that have a size and no numbers: what would it allocate?

`metered()` gives a backend, as `load` does, and the meter that its arrays report to.  Same names,
same signatures, and the very same lines: the operations are those of `reference`, loaded once more
over a NumPy whose arrays know their shape, dtype and strides alone.  An array takes its bytes from
the meter when it is made and gives them back when Python forgets it, so no temporary of an
operation, a layer or a rule can be left out.  What NumPy does inside one call is told here:

    views       share the bytes of what they show; strides decide whether a reshape is a view
    reuse       an operator writes its result over an operand that nobody else will ever see, if
                that has REUSED bytes or more, the result's shape, and a dtype that holds it

What BLAS and LAPACK allocate for themselves is not counted: nothing in Python sees it.  Nobody can
train with this, it computes nothing; what it says is true of the reference, and an upper bound for
the backends that fuse what the reference does one array after the other.
"""
import math
from importlib.util import find_spec, module_from_spec
from sys import getrefcount

import numpy as np
from numpy.lib.stride_tricks import as_strided

REUSED = 2**18                  # bytes: NumPy looks for no smaller temporaries


def metered():
    """A backend that counts bytes, and its meter.

    It has the names of `reference`, and `host`: itself, so that initial weights are not drawn.

    Returns
    -------
    ops : module
    meter : Meter
    """
    spec, meter = find_spec("minicredit.kernels.reference"), Meter()
    ops = module_from_spec(spec)
    spec.loader.exec_module(ops)
    drawn = ops.philox

    def philox(n, key):
        """The integers; of the chunks that are drawn one by one, all alike, the first alone."""
        out = ops.np.empty((-(-n // 4), 4), np.uint32)
        drawn(min(n, 4 * ops.CHUNK), key)
        return out.reshape(-1)[:n]

    ops.np, ops.as_strided, ops.philox, ops.host = Hollow(meter), windows, philox, ops
    return ops, meter


class Meter:
    """`now`, the bytes that are alive, and `peak`, the most there were since the last `reset`."""

    def __init__(self):
        self.now, self.peak, self.keeping = 0, 0, False

    def keep(self, yes):
        """From now on bytes are not given back, as by a backend that records what it does; or are.
        """
        self.keeping = yes

    def reset(self):
        """Forget the peak; the bytes that are alive."""
        self.peak = self.now
        return self.now


class Block:
    """The bytes of one allocation, alive as long as an array lies in them."""

    def __init__(self, meter, n_bytes):
        self.meter, self.n_bytes = meter, n_bytes
        meter.now += n_bytes
        meter.peak = max(meter.peak, meter.now)

    def __del__(self):
        if not self.meter.keeping:
            self.meter.now -= self.n_bytes


# What is computed ---------------------------------------------------------------------------------

def new(meter, shape, dtype, like=None):
    """An array with bytes of its own; its axes lie in memory as those of `like` do, or as in C."""
    shape, dtype = tuple(map(int, shape)), np.dtype(dtype)
    axes, strides, step = range(len(shape)), [0] * len(shape), dtype.itemsize
    if like is not None and like.shape == shape:
        axes = sorted(axes, key=lambda axis: -like.strides[axis])
    for axis in reversed(axes):
        strides[axis], step = step, step * shape[axis]
    ghost = as_strided(np.empty(1, dtype), shape, strides)
    return Sized(ghost, Block(meter, math.prod(shape) * dtype.itemsize), owns=True)


def applied(ufunc, *inputs):
    """What a ufunc returns: a new array."""
    arrays = [x for x in inputs if hasattr(x, "shape")]
    meter = next(x.block.meter for x in arrays if isinstance(x, Sized))
    if ufunc is np.matmul:
        return new(meter, product(*arrays), np.result_type(*(x.dtype for x in arrays)))
    ones = [np.ones((1,) * bool(x.ndim), x.dtype) if hasattr(x, "ndim") else x for x in inputs]
    with np.errstate(all="ignore"):
        dtype = ufunc(*ones).dtype                          # NumPy's own answer for these types
    shape = np.broadcast_shapes(*(x.shape for x in arrays))
    return new(meter, shape, dtype, next((x for x in arrays if x.shape == shape), None))


def product(a, b):
    """The shape of a @ b, of matrices or stacks of them."""
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul: wanted sides that agree; got {a.shape} @ {b.shape}")
    return *np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]


class Probe:
    """Counts the references that an operator sees to its operand."""

    def __add__(self, _):
        return getrefcount(self)


NAMED = Probe()
TEMPORARY = Probe() + 0
if NAMED + 0 == TEMPORARY:      # where Python does not tell them apart, none is taken to be reused
    TEMPORARY = -1


def reusable(references, x, other):
    """Whether the result of x and another operand would be written over x."""
    if references != TEMPORARY or not isinstance(x, Sized) or not x.owns or x.nbytes < REUSED:
        return False
    other = other if hasattr(other, "dtype") else np.asarray(other)
    return (x.dtype.kind == "f" and other.shape in ((), x.shape)
            and np.can_cast(other.dtype, x.dtype, "safe"))


def operator(ufunc, reuses=True, commutes=True):
    """The methods for `self op other` and `other op self`."""
    def op(self, other):
        if reuses and reusable(getrefcount(self), self, other):
            return self
        if reuses and commutes and reusable(getrefcount(other), other, self):
            return other
        return applied(ufunc, self, other)

    def reflected(self, other):
        if reuses and commutes and reusable(getrefcount(self), self, other):
            return self
        return applied(ufunc, other, self)

    return op, reflected


def unary(ufunc):
    """The method for `op self`."""
    def op(self):
        return self if reusable(getrefcount(self), self, self) else applied(ufunc, self)

    return op


def in_place(self, other):
    """The method for `self op= other`."""
    np.broadcast_shapes(self.shape, getattr(other, "shape", ()))
    return self


# An array without numbers -------------------------------------------------------------------------

class Sized:
    """NumPy's array, less its numbers.

    Parameters
    ----------
    ghost : array
        Shape, dtype and strides over one number that is never read: NumPy's own rules for views.
    block : Block
    owns : bool
        Whether this is what was allocated, and not a view of it.
    """

    def __init__(self, ghost, block, owns=False):
        self.ghost, self.block, self.owns = ghost, block, owns
        self.shape, self.strides, self.dtype = ghost.shape, ghost.strides, ghost.dtype
        self.ndim, self.size, self.nbytes = ghost.ndim, ghost.size, ghost.nbytes

    def __len__(self):
        return len(self.ghost)

    def __bool__(self):
        raise TypeError("shapes: an array without numbers is neither true nor false")

    @property
    def T(self):
        return Sized(self.ghost.T, self.block)

    def transpose(self, *axes):
        return Sized(self.ghost.transpose(*axes), self.block)

    def swapaxes(self, one, other):
        return Sized(self.ghost.swapaxes(one, other), self.block)

    def reshape(self, *shape):
        shape = shape if isinstance(shape[0], (int, np.integer)) else shape[0]
        shape = [n if n >= 0 else self.size // -math.prod(shape) for n in shape]
        if math.prod(shape) != self.size:
            raise ValueError(f"reshape: wanted {self.size} numbers; got {shape}")
        strides = seen_as(shape, self)
        if strides is None:
            return new(self.block.meter, shape, self.dtype)
        return windows(self, shape, strides)

    def __getitem__(self, index):
        index = index if isinstance(index, tuple) else (index,)
        chosen = [i for i in index if isinstance(i, (Sized, np.ndarray))]
        if not chosen:
            cut = index if any(i is ... for i in index) else (*index, ...)
            return Sized(self.ghost[cut], self.block)       # ...: or NumPy would read the number
        if len(chosen) < len(index):
            raise TypeError("shapes: wanted arrays of indices or slices; got both")
        shape = np.broadcast_shapes(*(i.shape for i in chosen)) + self.shape[len(chosen):]
        return new(self.block.meter, shape, self.dtype)

    def __array__(self, *_, **__):
        raise TypeError("shapes: there are no numbers in this array")

    def __float__(self):
        return math.nan                                     # unknown, and visibly so

    def __setitem__(self, index, value):
        pass                                                # the bytes are there already

    def astype(self, dtype, copy=True):
        if not copy and dtype == self.dtype:
            return self
        return new(self.block.meter, self.shape, dtype, like=self)

    def copy(self):
        return new(self.block.meter, self.shape, self.dtype)

    def sum(self, axis=None, keepdims=False, dtype=None, initial=0):
        over = range(self.ndim) if axis is None else [axis % self.ndim]
        shape = [1 if i in over else n for i, n in enumerate(self.shape)
                 if keepdims or i not in over]
        return new(self.block.meter, shape, dtype or self.dtype)

    mean = max = sum

    def argmax(self, axis=None):
        return self.sum(axis, dtype=np.int64)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **_):
        if method != "__call__":
            return NotImplemented
        return out[0] if out else applied(ufunc, *inputs)

    def __array_function__(self, function, _, given, named):
        return FUNCTIONS[function](*given, **named) if function in FUNCTIONS else NotImplemented

    __add__, __radd__ = operator(np.add)
    __mul__, __rmul__ = operator(np.multiply)
    __sub__, __rsub__ = operator(np.subtract, commutes=False)
    __truediv__, __rtruediv__ = operator(np.divide, commutes=False)
    __matmul__, __rmatmul__ = operator(np.matmul, reuses=False)
    __pow__, __rpow__ = operator(np.power, reuses=False)
    __xor__, __rxor__ = operator(np.bitwise_xor)
    __and__, __rand__ = operator(np.bitwise_and)
    __rshift__, __rrshift__ = operator(np.right_shift, commutes=False)
    __gt__, __lt__ = operator(np.greater, reuses=False)
    __ge__, __le__ = operator(np.greater_equal, reuses=False)
    __eq__, __ne__ = (operator(ufunc, reuses=False)[0] for ufunc in (np.equal, np.not_equal))
    __neg__, __abs__ = unary(np.negative), unary(np.absolute)
    __iadd__ = __isub__ = __imul__ = __itruediv__ = in_place
    __hash__ = None


# NumPy's functions --------------------------------------------------------------------------------

class Hollow:
    """NumPy, whose new arrays are `Sized`."""

    def __init__(self, meter):
        self.meter = meter

    def __getattr__(self, name):
        return getattr(np, name)

    def empty(self, shape, dtype=np.float64):
        return new(self.meter, shape if isinstance(shape, tuple) else (shape,), dtype)

    zeros = empty

    def arange(self, *given, dtype=None):
        return self.asarray(np.arange(*given, dtype=dtype))

    def asarray(self, x, dtype=None):
        if isinstance(x, Sized):
            return x if dtype in (None, x.dtype) else x.astype(dtype)
        x = np.asarray(x, dtype)
        return new(self.meter, x.shape, x.dtype)


def seen_as(shape, x):
    """The strides that show x, in its order, as another shape; None if it takes a copy."""
    runs, strides = [], []                          # axes of x that lie in memory as one, (n, step)
    for n, step in ((n, step) for n, step in zip(x.shape, x.strides) if n > 1):
        if runs and runs[-1][1] == n * step:
            n *= runs.pop()[0]
        runs.append((n, step))
    for n in reversed(shape):
        while runs and runs[-1][0] == 1:
            runs.pop()
        left, step = runs.pop() if n > 1 and runs else (n, 0)
        if left % max(1, n):
            return None
        strides.append(step)
        runs.append((left // max(1, n), n * step))
    return strides[::-1]


def windows(x, shape, strides):
    """See `numpy.lib.stride_tricks.as_strided`."""
    return Sized(as_strided(x.ghost, shape, strides), x.block)


def concatenate(parts, axis=0):
    """See `numpy.concatenate`."""
    parts = list(parts)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return new(parts[0].block.meter, shape, np.result_type(*(part.dtype for part in parts)))


def svd(x, full_matrices):
    """See `numpy.linalg.svd`, with full_matrices=False."""
    *stack, rows, columns = x.shape
    n, meter = min(rows, columns), x.block.meter
    return tuple(new(meter, (*stack, *sides), x.dtype) for sides in ((rows, n), (n,), (n, columns)))


FUNCTIONS = {
    np.concatenate: concatenate,
    np.empty_like: lambda x: new(x.block.meter, x.shape, x.dtype, like=x),
    np.linalg.norm: lambda x, axis, keepdims=False: (x * x).sum(axis, keepdims),
    np.linalg.solve: lambda a, b: new(b.block.meter, b.shape, b.dtype),
    np.linalg.svd: svd,
    np.reshape: Sized.reshape,
    np.swapaxes: Sized.swapaxes,
    np.where: lambda c, a, b: applied(np.add, a, b),
}
