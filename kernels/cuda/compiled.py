"""What NVIDIA's compiler makes of every kernel: registers, spills, shared memory.  No GPU needed.

    variants()                                          what the operations ask for, at all sizes
    usage("dense", defines, "90")["dense"].registers    what the compiler says about it

The options are CuPy's, so what is measured here is what runs on a device of that architecture.
CuPy itself would ask the driver first which device there is; this goes one level below.  Answers
are kept in the user's cache folder.
"""
import io
import json
import os
import re
from collections import namedtuple
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from hashlib import sha256
from multiprocessing import get_context

import numpy as np

from minicredit.kernels.cuda import source
from minicredit.kernels.cuda.device import Device
from minicredit.kernels.cuda.emulator import build
from minicredit.kernels.cuda.emulator.memory import Array
from minicredit.kernels.cuda.trials import TRIALS, Bench

ARCHITECTURES = "80", "90"              # A100; H100 and H200
SIZES = ((33, 18, 21), (100, 130, 21), (384, 384, 8), (768, 768, 8), (1536, 1536, 8))
DTYPES = "float32", "float64"

Usage = namedtuple("Usage", "registers spills stack shared")
Variant = namedtuple("Variant", "file kernel defines threads shared")


# What is asked for --------------------------------------------------------------------------------

class Survey(Device):
    """A device that notes what is launched and launches nothing."""

    def __init__(self):
        super().__init__()
        self.noted = set()

    def empty(self, shape, dtype):
        """An array; its memory is never touched, so it may be large."""
        x = np.empty(shape, dtype).view(Array)
        x.owner = self
        return x

    zeros = empty

    def asarray(self, x):
        """An array of the same shape and type."""
        return self.empty(x.shape, x.dtype)

    def launch(self, file, kernel, defines, grid, block, args, shared=0):
        """Note it."""
        threads = int(np.prod(block))
        self.noted.add(Variant(file, kernel, tuple(dict(defines).items()), threads, shared))


class Blank(Bench):
    """Numbers nobody looks at."""

    def some(self, *shape):
        """An array."""
        return np.ones(shape)


@cache
def variants():
    """Every kernel and what it is compiled with, for floats and doubles; list of `Variant`."""
    survey = Survey()
    for dtype in DTYPES:
        for trial in TRIALS.values():
            for size in SIZES:
                trial(Blank(survey, dtype), *size)
    return sorted(survey.noted)


# What the compiler makes of it --------------------------------------------------------------------

def options(architecture, defines):
    """The compiler's options, as CuPy 14 puts them together for a RawModule."""
    from cupy._core import core
    given = tuple(f"-D{name}={value}" for name, value in defines)
    return (*core.assemble_cupy_compiler_options(given), "-ftz=true", f"-arch=sm_{architecture}",
            "--device-as-default-execution-space", "--ptxas-options=-v")


def usage(file, defines, architecture, text=None):
    """What each kernel of a file needs; dict of `Usage`, by the kernel's name.

    Parameters
    ----------
    file : str
    defines : tuple of (name, value)
    architecture : {"80", "90"}
    text : str, or None
        In the place of what the file says.

    Raises
    ------
    ImportError
        Without CuPy (cupy-cuda13x) or the compiler (nvidia-cuda-nvrtc).
    cupy.cuda.compiler.CompileException
        If it does not compile.
    """
    compiler = version()
    text, given = text or source.flatten(file), options(architecture, defines)
    key = "\0".join([text, *given, str(compiler)])
    path = build.folder() / f"{file}-{sha256(key.encode()).hexdigest()[:20]}.json"
    if not path.exists():
        found = usages(compiler_log(text, f"{file}.cu", given))
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(found))
        os.replace(part, path)
    return {name: Usage(*numbers) for name, numbers in json.loads(path.read_text()).items()}


def all_usages(architectures=ARCHITECTURES):
    """The same for all that is asked for, on all cores; dict by (file, defines, architecture)."""
    version()                           # or each core would say that it is missing
    wanted = sorted({(one.file, one.defines, architecture) for one in variants()
                     for architecture in architectures})
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return dict(zip(wanted, pool.map(usage, *zip(*wanted))))


def version():
    """The compiler's, as (major, minor).

    Raises
    ------
    ImportError
        If it is not there, or CuPy is not.
    """
    from cupy.cuda import nvrtc
    try:
        return nvrtc.getVersion()
    except RuntimeError as missing:
        raise ImportError(str(missing).splitlines()[0]) from missing


def compiler_log(text, name, given):
    """What the compiler says while it compiles."""
    from cupy.cuda import compiler
    log = io.StringIO()
    compiler._NVRTCProgram(text, name, method="cubin").compile(given, log)
    return log.getvalue()


def usages(log):
    """What the assembler says of each kernel: registers, bytes spilled, of stack, of shared."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        numbers = [re.findall(pattern, part) for pattern in (
            r"Used (\d+) registers", r"(\d+) bytes spill", r"(\d+) bytes stack frame",
            r"(\d+) bytes smem")]
        found[part.split("'")[0]] = [sum(map(int, matches)) for matches in numbers]
    return found
