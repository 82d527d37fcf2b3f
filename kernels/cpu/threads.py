"""Threads: who may have several.

Loops over blocks run in parallel.  A block is the same arithmetic whoever does it, so results are
the same, bit for bit, with one thread and with all of them.

OpenMP starts its threads in 2 us, Numba's own work queue in 70, so OpenMP comes first.  A thread of
GNU's OpenMP that waits for others keeps its core busy for milliseconds, and where there are more
processes than cores that is the core the others need.  But a step waits several times, and on a
quiet machine a core that sleeps takes longer to wake up than the wait would have lasted.  So a
thread turns SPINS times, and then sleeps.  Difference target propagation on 784-7x240-10 in two
threads on two cores, milliseconds a step:

    turns                           0       1000    5000
    alone                           3.4     3.2     3.2
    beside another that does it     6.0     6.2     7.0

Similar ones come from `GOMP_SPINCOUNT=5000 python -m benchmarks --only dtp --threads 2`.

What takes less than `SMALL` runs in the thread that asks.
"""
import os
from importlib import import_module

from numba import config, get_num_threads
from numba.np.ufunc.parallel import _iget_num_threads

SERIAL = {"cache": True, "error_model": "numpy", "nogil": True}     # 1 / 0 is inf and no exception,
PARALLEL = {**SERIAL, "parallel": True}                             # or nothing would be vectorised
FUSED = {**SERIAL, "fastmath": {"contract"}}                        # a b + c in one rounding
INLINE = {**SERIAL, "inline": "always"}     # compiled in its callers only, not by itself before

SMALL_PRODUCT = 2_000_000           # multiplications that one thread does in 50 us or less
SMALL = 1 << 15                     # numbers that one thread reads, changes and writes in as long
SPINS = 1000                        # turns of a thread that waits
PART = 1 << 13                      # numbers that a thread takes at a time, if there are more

if "NUMBA_THREADING_LAYER_PRIORITY" not in os.environ:
    config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]


def load_openmp():
    """Load Numba's OpenMP with its threads told how long to spin, unless the user has told them.

    It reads that from the environment once, when it is loaded.  The environment is then as it was:
    other libraries bring an OpenMP of their own.
    """
    if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        return
    if config.THREADING_LAYER in ("tbb", "workqueue"):      # the user wants another
        return
    os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    try:
        import_module("numba.np.ufunc.omppool")
    except ImportError:
        pass                            # not there on this system: Numba takes another layer
    finally:
        del os.environ["GOMP_SPINCOUNT"]


load_openmp()


# What a compiled loop asks itself; get_num_threads, compiled, could not be kept on disk, and takes
# locks where it is not: 10 us of a step whose memory is not near.
threads_now = get_num_threads if config.DISABLE_JIT else _iget_num_threads


def several():
    """Whether there is more than one thread to work in."""
    return get_num_threads() > 1
