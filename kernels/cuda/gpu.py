"""The device through CuPy: memory, launches, captured graphs.

All work of this backend goes through one stream, in order; nothing waits for it until numbers are
asked for (`to_numpy`).  CuPy compiles a .cu file with NVRTC the first time it is wanted and keeps
the result on disk.
"""
from functools import cache

import numpy as np

from minicredit.kernels.cuda import source
from minicredit.kernels.cuda.arithmetic import Arithmetic
from minicredit.kernels.cuda.device import Device as Common
from minicredit.kernels.cuda.ops import Operations

try:
    import cupy
    found = cupy.cuda.runtime.getDeviceCount()
except ModuleNotFoundError:
    raise
except Exception as broken:             # CuPy has errors of its own for a driver that is not there
    raise ImportError(f"there is no CUDA device that CuPy can use: {broken}") from broken
if not found:
    raise ImportError("there is no CUDA device: the driver lists none")


class Array(Arithmetic, cupy.ndarray):
    """An array on the GPU."""


class Graph:
    """What was captured.

    Parameters
    ----------
    graph : cupy.cuda.Graph
    stream : cupy.cuda.Stream
    """

    def __init__(self, graph, stream):
        self.graph, self.stream = graph, stream
        graph.upload(stream)

    def launch(self):
        """All of it once, behind what the stream has to do."""
        self.graph.launch(self.stream)


class Device(Common):
    """The current CUDA device."""

    def __init__(self):
        super().__init__()
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.stream.use()
        Array.owner = self

    def empty(self, shape, dtype):
        """An array with whatever was there."""
        return Array(shape, dtype)

    def zeros(self, shape, dtype):
        """An array of zeros."""
        return self.own(cupy.zeros(shape, dtype))

    def asarray(self, x):
        """The array on the GPU, in C order; the same one if it is there."""
        if isinstance(x, Array):
            return x
        return self.own(cupy.asarray(x, order="C"))

    def own(self, x):
        """An array of CuPy's as one of ours, on the same memory."""
        if isinstance(x, cupy.ndarray) and not isinstance(x, Array):
            return x.view(type=Array)
        return x

    def to_numpy(self, x):
        """The array on the host; waits until it is computed."""
        self.foreign("to_numpy")
        return x.get() if isinstance(x, cupy.ndarray) else np.asarray(x)

    def copy(self, x):
        """A new array with the same numbers."""
        new = self.empty(x.shape, x.dtype)
        self.overwrite(new, x)
        return new

    def overwrite(self, x, new):
        """x = new, in place; arrays in C order, of the same shape and dtype."""
        if isinstance(new, cupy.ndarray):
            x.data.copy_from_device_async(new.data, new.nbytes, self.stream)
        else:
            x.set(np.ascontiguousarray(new, x.dtype))

    def poison(self, arrays):
        """NaN into all floats: whoever reads what nothing wrote will show it."""
        for x in arrays:
            if x.dtype.kind == "f":
                x.fill(np.nan)

    def launch(self, file, kernel, defines, grid, block, args, shared=0):
        """Queue one launch.

        Parameters
        ----------
        file, kernel : str
        defines : tuple of (name, value)
            What the file is compiled with.
        grid, block : int or tuple
        args : list
            As `source.pack` takes them.
        shared : int
            Bytes of dynamic shared memory.
        """
        function, signature = loaded(file, kernel, tuple(dict(defines).items()))
        block = block if isinstance(block, tuple) else (block,)
        grid = grid if isinstance(grid, tuple) else (grid,)
        function(grid, block, tuple(signature.pack(args, address)), shared_mem=shared)

    def prepare(self, file, kernel, defines):
        """Compile a kernel, if it is not."""
        loaded(file, kernel, tuple(dict(defines).items()))

    def capture(self, launch):
        """What `launch()` queues, as one thing that can be launched again."""
        self.stream.begin_capture()
        try:
            launch()
        finally:
            graph = self.stream.end_capture()
        return Graph(graph, self.stream)

    def synchronize(self):
        """Wait until everything is done."""
        self.stream.synchronize()


def address(x):
    """Where an array lies in device memory."""
    return x.data.ptr


@cache
def loaded(file, kernel, defines):
    """A kernel, compiled, and how its arguments are packed."""
    text = source.flatten(file)
    options = tuple(f"-D{name}={value}" for name, value in defines)
    function = cupy.RawModule(code=text, options=options).get_function(kernel)
    return function, source.Signature(text, kernel, defines)


operations = Operations(Device())
