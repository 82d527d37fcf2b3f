"""The CUDA device on a CPU: memory, copies, launches.

    device = Device()                       runs kernels, as fast as one core can
    device = Device(checked=True)           looks at every access; `KernelError` says what is wrong

It takes the place of `gpu.Device`: the same methods, so the same Python decides about blocks,
shapes and the order of launches, and can be tested without a GPU.
"""
import ctypes
from ctypes import c_int32, c_int64, c_uint32, c_uint64, c_void_p
from functools import lru_cache

import numpy as np

from minicredit.kernels.cuda import source
from minicredit.kernels.cuda.device import Device as Common
from minicredit.kernels.cuda.emulator import build, reports
from minicredit.kernels.cuda.emulator.memory import (Array, Memory, Plain, loaded, text_of,
                                                     view_of)

SCHEDULES = ("up", "down", "random")


class Argument(ctypes.Structure):
    """EmulatedArgument of runtime.h: an array that a launch may touch."""

    _fields_ = [("low", c_uint64), ("bytes", c_uint64), ("name", ctypes.c_char_p),
                ("writable", c_int32), ("grain", c_int32)]


class Launch(ctypes.Structure):
    """EmulatedLaunch of runtime.h."""

    _fields_ = [("entry", c_void_p), ("args", c_void_p), ("arguments", c_void_p),
                ("parameters", c_uint64), ("parameter_bytes", c_uint64), ("shared", c_uint64),
                ("grid", c_uint32 * 3), ("block", c_uint32 * 3), ("count", c_int32),
                ("cooperative", c_int32), ("schedule", c_int32), ("seed", c_uint32),
                ("counted", c_int64)]


@lru_cache(maxsize=None)
def three(dims):
    """A grid or a block as three numbers."""
    dims = dims if isinstance(dims, tuple) else (dims,)
    return (*map(int, dims), 1, 1)[:3]


class Module:
    """A kernel's file, compiled.

    Parameters
    ----------
    text : str
        Flattened.
    file : str
        Its name, for reports.
    defines : tuple of (name, value)
    checked : bool
    """

    def __init__(self, text, file, defines, checked):
        self.text, self.defines = text, defines
        self.path = build.library(text, file, defines, checked)
        self.code = ctypes.PyDLL(str(self.path))
        self.kernels = {}

    def kernel(self, name):
        """The address of a kernel's entry, and its signature."""
        if name not in self.kernels:
            signature = source.Signature(self.text, name, self.defines)
            entry = ctypes.cast(getattr(self.code, f"emulated_entry_{name}"), c_void_p).value
            self.kernels[name] = entry, signature
        return self.kernels[name]

    def base(self):
        """Where the library lies: an address in a report is relative to that."""
        with open("/proc/self/maps") as maps:
            return int(next(line for line in maps if str(self.path) in line).split("-")[0], 16)


class Device(Common):
    """See this module.

    Parameters
    ----------
    checked : bool
        Look at every access, about ten times as slow; `KernelError` says what is found.
    schedule : {"up", "down", "random"}
        The order in which threads run, where they do not wait for each other.
    seed : int
        Of the random order.

    Attributes
    ----------
    counted : int
        The block whose accesses are counted; -1: none is.
    accesses : dict
        What was counted in the last launch of each kernel, see `counts`.
    launches : int
        How many there have been.

    Raises
    ------
    ImportError
        If there is no C++ compiler.
    """

    def __init__(self, checked=False, schedule="up", seed=0):
        super().__init__()
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule: wanted one of {', '.join(SCHEDULES)}; got {schedule!r}")
        self.checked, self.schedule, self.seed = checked, schedule, seed
        self.runtime = loaded(build.runtime(checked), checked)
        self.modules, self.texts = {}, {}
        self.counted, self.accesses, self.launches = -1, {}, 0

    # Memory ---------------------------------------------------------------------------------------

    def array(self, shape, dtype, written):
        """New memory, every byte of it 255, so that every float is NaN."""
        shape = tuple(shape) if np.iterable(shape) else (shape,)
        if self.checked:
            x = np.asarray(Memory(self.runtime, shape, np.dtype(dtype), written))
        else:
            x = np.empty(shape, dtype)
            if not written:
                x.reshape(-1).view(np.uint8).fill(255)
        x = x.view(Array)
        x.owner = self
        return x

    def empty(self, shape, dtype):
        """An array that nothing has written."""
        return self.array(shape, dtype, False)

    def zeros(self, shape, dtype):
        """An array of zeros."""
        x = self.array(shape, dtype, True)
        np.ndarray.fill(x, 0)
        return x

    def asarray(self, x):
        """The array on the device, in C order; the same one if it is there."""
        return x if isinstance(x, Plain) else self.adopt(np.asarray(x))

    def adopt(self, x):
        """A copy of an array of the host, on the device."""
        new = self.array(x.shape, x.dtype, True)
        np.copyto(new.view(np.ndarray), x)
        return new

    def to_numpy(self, x):
        """The array on the host.

        Raises
        ------
        KernelError
            If nothing has written some of it, where accesses are checked.
        """
        if not isinstance(x, Plain):
            return np.asarray(x)
        self.foreign("to_numpy")
        self.about_to_read([x])
        return np.array(x.view(np.ndarray), order="C")

    def copy(self, x):
        """A new array with the same numbers."""
        self.about_to_read([x])
        return self.adopt(x.view(np.ndarray))

    def overwrite(self, x, new):
        """x = new, in place; `new` may be an array of the host."""
        np.copyto(x.view(np.ndarray), np.asarray(new).view(np.ndarray))
        self.written(x)

    def poison(self, arrays):
        """NaN into all floats: whoever reads what nothing wrote will show it."""
        for x in arrays:
            if x.dtype.kind == "f":
                x.view(np.ndarray).fill(np.nan)
                self.mark(x, False)

    def about_to_read(self, arrays):
        """The host reads arrays: what nothing has written is reported."""
        if not self.checked:
            return
        for x in arrays:
            count = self.runtime.emulated_unwritten(*view_of(x)) if x.size else 0
            if count:
                raise reports.KernelError({"unwritten"}, f"unwritten: {count} of {x.size} numbers "
                                          f"of an array {x.shape} were never written")

    def written(self, x):
        """The host has written an array."""
        self.mark(x, True)

    def mark(self, x, written):
        """Whether the numbers of an array count as written."""
        if self.checked and x.size:
            self.runtime.emulated_mark(*view_of(x), written)

    # Launches -------------------------------------------------------------------------------------

    def module(self, file, defines):
        """A kernel's file, compiled with `defines`."""
        key = file, defines
        if key not in self.modules:
            path = source.located(file)
            text = self.texts.get(file) or source.flatten(file)
            self.modules[key] = Module(text, path.name, defines, self.checked)
        return self.modules[key]

    def replace(self, file, text):
        """Use another text for a kernel's file from now on: how faults are planted.

        Its headers are put in place; None is the file as it stands.
        """
        self.texts[file] = text and source.complete(text, source.located(file).name)
        self.modules = {key: kept for key, kept in self.modules.items() if key[0] != file}

    def launch(self, file, kernel, defines, grid, block, args, shared=0, cooperative=False):
        """One launch; when it returns the kernel has run.

        Parameters
        ----------
        file, kernel : str
        defines : tuple of (name, value), or dict
            What the file is compiled with.
        grid, block : int or tuple
        args : list
            As `source.Signature.pack` takes them.
        shared : int
            Bytes of dynamic shared memory.
        cooperative : bool
            Whether all blocks are under way at once, so that they may wait for each other.

        Raises
        ------
        KernelError
        """
        module = self.module(file, tuple(dict(defines).items()))
        entry, signature = module.kernel(kernel)
        packed, pointers = signature.bind(args, address)
        memory, places = laid_out(packed)
        given = (Argument * len(pointers))()
        if self.checked:
            for i, (name, x, const) in enumerate(pointers):
                given[i] = (address(x), x.nbytes, name.encode(), not const, x.dtype.itemsize)
        launch = Launch(entry, places.ctypes.data, ctypes.addressof(given), memory.ctypes.data,
                        memory.nbytes, shared, three(grid), three(block),
                        len(pointers) * self.checked, cooperative, SCHEDULES.index(self.schedule),
                        self.seed, self.counted)
        self.launches += 1
        if self.runtime.emulated_launch(ctypes.addressof(launch)):
            raise reports.error(kernel, module.path, text_of(self.runtime.emulated_reports))
        if self.counted >= 0:
            self.accesses[kernel] = self.counts(module)

    def prepare(self, file, kernel, defines):
        """Compile a kernel, if it is not."""
        self.module(file, tuple(dict(defines).items())).kernel(kernel)

    def counts(self, module):
        """How the counted block read and wrote, a dict for each place in the kernel.

        `where` is its line, `space` "shared" or "global", `op` "load" or "store", `bytes` of a
        thread, `requests` of warps; `cost` in turns of the banks or sectors of 32 bytes, and
        `best`, the least that so many bytes can cost.
        """
        rows = [row.split("|") for row in
                text_of(self.runtime.emulated_counts, module.base()).splitlines()]
        where = reports.lines(module.path, [row[0] for row in rows])
        return [{"where": where.get(row[0], "?"), "space": "shared" if row[1] == "1" else "global",
                 "op": "store" if row[2] == "1" else "load", "bytes": int(row[3]),
                 "requests": int(row[4]), "cost": int(row[5]), "best": int(row[6])}
                for row in rows]

    def capture(self, launch):
        """What `launch()` does, as one thing that can be done again."""
        return Captured(launch)

    def synchronize(self):
        """Nothing is ever under way."""


class Captured:
    """Launches that can be repeated, as a CUDA graph is.

    Parameters
    ----------
    launches : callable
    """

    def __init__(self, launches):
        self.launch = launches


def laid_out(packed):
    """A launch's arguments in one piece of memory, and where each begins."""
    width = max((-(-x.nbytes // 16) * 16 for x in packed), default=16)
    memory = np.empty(len(packed) * width, np.uint8)
    for i, x in enumerate(packed):
        memory[i * width:i * width + x.nbytes] = np.frombuffer(x, np.uint8)
    places = np.arange(len(packed), dtype=np.uint64) * np.uint64(width)
    return memory, places + np.uint64(memory.ctypes.data)


def address(x):
    """Where an array lies."""
    return x.__array_interface__["data"][0]
