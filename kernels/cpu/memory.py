"""An array as the flat memory that a kernel reads, and which way round it lies there.

Kernels take flat memory alone: Numba then compiles one version for arrays in C order and in Fortran
order, of any number of axes.  Activities lie either way; whatever lies in neither, or may not be
written to (which would be another type to compile for), is copied.
"""
import numpy as np


def flat(x):
    """The memory of a matrix, and whether it holds the transpose: columns one after the other."""
    if x.flags.carray:                              # C order, aligned, not read-only
        return x.ravel(), False
    if x.flags.farray and x.ndim == 2:
        return x.T.ravel(), True
    return np.array(x, order="C").ravel(), False


def in_c(x):
    """The memory of an array in C order."""
    return x.ravel() if x.flags.carray else np.array(x, order="C").ravel()


def alike(first, *others):
    """The memory of each, all in the order of the first, and an empty array like it."""
    memory, transposed = flat(first)
    out = np.empty_like(first, order="F" if transposed else "C")
    parts = [memory, *(in_c(x.T if transposed else x) for x in others)]
    return out, (out.T if transposed else out).reshape(-1), parts


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
