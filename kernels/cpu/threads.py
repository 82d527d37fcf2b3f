"""Threads: who may have several.

Loops over blocks run in parallel.  A block is the same arithmetic whoever does it, so results are
the same, bit for bit, with one thread and with all of them.

OpenMP starts its threads in 2 us, Numba's own work queue in 70, so OpenMP comes first.  A thread of
GNU's OpenMP that waits for others would keep its core busy meanwhile, and where there are more
processes than cores that is the core the others need: a step then takes 16 ms, and 4 if it sleeps,
which costs nothing on a quiet machine.  What takes less than `SMALL` runs in the thread that asks.
"""
import os

from numba import config, get_num_threads

SERIAL = {"cache": True, "error_model": "numpy", "nogil": True}     # 1 / 0 is inf and no exception,
PARALLEL = {**SERIAL, "parallel": True}                             # or nothing would be vectorised
FUSED = {**SERIAL, "fastmath": {"contract"}}                        # a b + c in one rounding

SMALL_PRODUCT = 2_000_000           # multiplications that one thread does in 50 us or less
SMALL = 1 << 15                     # numbers that one thread reads, changes and writes in as long
PART = 1 << 13                      # numbers that a thread takes at a time, if there are more

if "NUMBA_THREADING_LAYER_PRIORITY" not in os.environ:
    config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = "0"


def several():
    """Whether there is more than one thread to work in."""
    return get_num_threads() > 1
