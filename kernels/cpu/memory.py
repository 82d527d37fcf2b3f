"""An array as the flat memory that a kernel reads, and which way round it lies there.

Kernels take flat memory alone: Numba then compiles one version for arrays in C order and in Fortran
order, of any number of axes.  Activities lie either way: dense layers hand on C order, an example
after the other, and layers of images Fortran order, the batch innermost.  Whatever lies in neither,
or may not be written to (which would be another type to compile for), is copied.
"""
import numpy as np
from numba import njit, prange

from minicredit.kernels.cpu.threads import PARALLEL, SERIAL, SMALL, several
from minicredit.kernels.cpu.tiles import transpose

SQUARE = 64                                         # of a transposition: rows that fit a cache
LINE = 64                                           # bytes of a line of the cache


def flat(x):
    """The memory of a matrix, and whether it holds the transpose: columns one after the other."""
    if x.flags.carray:                              # C order, aligned, not read-only
        return x.ravel(), False
    if x.flags.farray and x.ndim == 2:
        return x.T.ravel(), True
    return np.array(x, order="C").ravel(), False


def in_c(x):
    """The memory of an array in C order."""
    memory, transposed = flat(x)
    return other_way(memory, *x.shape[::-1]) if transposed else memory


def in_f(x):
    """The memory of a matrix in Fortran order."""
    memory, transposed = flat(x)
    return memory if transposed else other_way(memory, *x.shape)


def alike(first, *others):
    """The memory of each, all in the order of the first, and an empty array like it."""
    memory, transposed = flat(first)
    out = empty(first.shape, first.dtype, transposed)
    parts = [memory, *(in_f(x) if transposed else in_c(x) for x in others)]
    return out, (out.T if transposed else out).reshape(-1), parts


def empty(shape, dtype, transposed=False):
    """An array in C order, or in Fortran order, that begins where a line of the cache does."""
    n, dtype = int(np.prod(shape)), np.dtype(dtype)
    memory = np.empty(n + LINE // dtype.itemsize, dtype)
    first = -memory.ctypes.data % LINE // dtype.itemsize
    return memory[first:first + n].reshape(shape, order="F" if transposed else "C")


@njit(**SERIAL)
def squares_in_turn(B, m, n, P):
    """P (n, m) = B^T, B (m, n)."""
    for i in range(0, n, SQUARE):
        for j in range(0, m, SQUARE):
            transpose(B, j * n + i, n, min(SQUARE, n - i), min(SQUARE, m - j), P, i * m + j, m)


@njit(**PARALLEL)
def squares_at_once(B, m, n, P):
    """The same, rows of squares in several threads."""
    for row in prange(-(-n // SQUARE)):
        i = row * SQUARE
        for j in range(0, m, SQUARE):
            transpose(B, j * n + i, n, min(SQUARE, n - i), min(SQUARE, m - j), P, i * m + j, m)


def other_way(memory, m, n):
    """The flat memory of an m x n matrix, as that of its transpose."""
    out = empty(m * n, memory.dtype)
    run = squares_at_once if len(memory) > SMALL and several() else squares_in_turn
    run(memory, m, n, out)
    return out


def one_type(*arrays):
    """The arrays in the type that NumPy would compute in, if they are not of one type already."""
    kind = arrays[0].dtype
    for x in arrays:
        if x.dtype is not kind:
            return [x.astype(np.result_type(*arrays), copy=False) for x in arrays]
    return arrays


def agree(what, **sides):
    """Refuse sizes that do not fit: a kernel believes them.

    Raises
    ------
    ValueError
    """
    for name, (got, wanted) in sides.items():
        if got != wanted:
            raise ValueError(f"{what}: wanted {name} of shape {wanted}; got {got}")
