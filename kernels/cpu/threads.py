"""Threads: who may have several.

Our loops over blocks run in parallel.  A BLAS that a block calls has to stay in its thread:
OpenBLAS with threads of its own inside ours is ten times slower, or stops for good.
`pin` tells it so, once, when this backend is loaded.  NumPy's BLAS is another library in NumPy's
wheel, which is left alone; where the two are one library (conda), NumPy's products get one thread.

No sum depends on how many threads there are.  Products are cut to suit them, but each number is
added up in one order however they are cut, and other blocks depend on sizes only: with one thread
and with all of them the results are the same, bit for bit.

OpenMP starts its threads in 2 us, Numba's own work queue in 70, so OpenMP comes first.  What takes
less than `SMALL` runs in the thread that asks.
"""
import os

import scipy.linalg.cython_blas                     # noqa: F401  its BLAS has to be there by now
from numba import config, get_num_threads
from threadpoolctl import ThreadpoolController

SERIAL = {"cache": True, "error_model": "numpy", "nogil": True}     # 1 / 0 is inf and no exception,
PARALLEL = {**SERIAL, "parallel": True}                             # or nothing would be vectorised
FUSED = {**SERIAL, "fastmath": {"contract"}}                        # a b + c in one rounding
INNER = {**SERIAL, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}     # kernels call these

SMALL_PRODUCT = 2_000_000           # multiplications that one thread does in 50 us or less
SMALL = 1 << 15                     # numbers that one thread reads, changes and writes in as long
PART = 1 << 13                      # numbers that a thread takes at a time, if there are more

if "NUMBA_THREADING_LAYER_PRIORITY" not in os.environ:
    config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]


def libraries():
    """The BLAS libraries that our blocks may be calling."""
    blas = ThreadpoolController().select(user_api="blas").lib_controllers
    scipys = [lib for lib in blas if "scipy.libs" in lib.filepath]
    return scipys or [lib for lib in blas if "numpy.libs" not in lib.filepath] or blas


def pin():
    """One thread for BLAS.

    Raises
    ------
    ImportError
        If it does not obey.
    """
    for library in libraries():
        library.set_num_threads(1)
        if library.get_num_threads() != 1:
            raise ImportError(f"{library.filepath} does not let itself be held to one thread")


pin()


def several():
    """Whether there is more than one thread to work in."""
    return get_num_threads() > 1
