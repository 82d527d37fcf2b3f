"""Arrays of the device on a CPU: NumPy's, which refuse to be mixed with those of the host.

On a GPU a kernel cannot read what lies in the host's memory, and CuPy raises TypeError where the
two meet.  So does this, or code that forgets to copy would only fail on a GPU.

Where accesses are checked, memory comes from the runtime, which knows of every number whether it
has been written: `Memory`.
"""
import ctypes
from ctypes import c_char_p, c_int, c_int64, c_size_t, c_void_p

import numpy as np

from minicredit.kernels.cuda.arithmetic import Arithmetic

ALLOWED = (int, float, bool, np.generic)


class Plain(np.ndarray):
    """An array of the device; + - * and what a recorder wants to know are added by `Array`."""

    def __array_finalize__(self, other):
        self.owner = getattr(other, "owner", None)

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **kwargs):
        for x in (*inputs, *out):
            if not isinstance(x, (Plain, *ALLOWED)):
                raise TypeError(f"{ufunc.__name__}: an array of the device does not mix with "
                                f"{type(x).__module__}.{type(x).__name__}; see asarray, to_numpy")
        device = self.owner or next(x.owner for x in (*inputs, *out) if isinstance(x, Plain))
        device.about_to_read(x for x in inputs if isinstance(x, Plain))
        bare = [x.view(np.ndarray) if isinstance(x, Plain) else x for x in inputs]
        if out:
            kwargs["out"] = tuple(x.view(np.ndarray) for x in out)
        result = getattr(ufunc, method)(*bare, **kwargs)
        if out:
            device.written(out[0])
            return out[0]
        return device.adopt(result) if isinstance(result, np.ndarray) else result

    def __array_function__(self, function, types, args, kwargs):
        raise TypeError(f"numpy.{function.__name__}: wanted an array of the host; got one of the "
                        "device: see to_numpy")

    def __setitem__(self, key, value):
        if not isinstance(value, (Plain, *ALLOWED)):
            raise TypeError(f"an array of the device is not set from {type(value).__module__}."
                            f"{type(value).__name__}; see asarray")
        super().__setitem__(key, value)
        if self.owner:
            place = super().__getitem__(key)
            if isinstance(place, np.ndarray) and np.may_share_memory(place.view(np.ndarray),
                                                                     self.view(np.ndarray)):
                self.owner.written(place)
            else:
                self.owner.written(self)

    def fill(self, value):
        """Set every number."""
        super().fill(value)
        if self.owner:
            self.owner.written(self)

    def get(self):
        """The numbers on the host, as CuPy has it."""
        return self.owner.to_numpy(self)

    def __repr__(self):
        return repr(self.view(np.ndarray))

    def __str__(self):
        return str(self.view(np.ndarray))

    def __format__(self, spec):
        return format(self.view(np.ndarray), spec)


class Array(Arithmetic, Plain):
    """An array of the device."""


class Memory:
    """Memory from the runtime, freed with the last array that lies in it.

    Parameters
    ----------
    runtime : ctypes library, see `checked_runtime`
    shape : tuple
    dtype : dtype
    written : bool
        Whether its numbers count as written.
    """

    def __init__(self, runtime, shape, dtype, written):
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self.runtime = runtime
        self.at = runtime.emulated_allocate(size, dtype.itemsize, written)
        if not self.at:
            raise MemoryError(f"{size} bytes")
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": dtype.str,
                                    "data": (self.at, False)}

    def __del__(self):
        if getattr(self, "at", None):
            self.runtime.emulated_free(self.at)


def loaded(path, checked):
    """The runtime's library, its functions declared."""
    runtime = ctypes.PyDLL(str(path))           # one launch at a time, so the lock is kept
    runtime.emulated_launch.argtypes = [c_void_p]
    runtime.emulated_reports.argtypes = [c_char_p, c_size_t]
    runtime.emulated_reports.restype = c_size_t
    if checked:
        view = [c_void_p, c_int, c_void_p, c_void_p]
        runtime.emulated_allocate.argtypes = [c_size_t, c_int, c_int]
        runtime.emulated_allocate.restype = c_void_p
        runtime.emulated_free.argtypes = [c_void_p]
        runtime.emulated_unwritten.argtypes = view
        runtime.emulated_mark.argtypes = [*view, c_int]
        runtime.emulated_unwritten.restype = c_int64
        runtime.emulated_counts.argtypes = [c_char_p, c_size_t, c_size_t]
        runtime.emulated_counts.restype = c_size_t
    return runtime


def text_of(function, *more):
    """What a function of the runtime writes."""
    size = function(None, 0, *more) + 1
    out = ctypes.create_string_buffer(size)
    function(out, size, *more)
    return out.value.decode()


def view_of(x):
    """An array as the runtime's functions take it: address, dimensions, shape, strides."""
    sizes = c_int64 * max(x.ndim, 1)
    return x.ctypes.data, x.ndim, sizes(*x.shape), sizes(*x.strides)
