"""How things are measured.

Contenders take turns in one process: in every round each runs a burst of steps, so a machine that
slows down slows all of them.  A burst begins when the threads of whoever was before have gone to
sleep: OpenBLAS's keep a core busy for 0.1 s after a product.  It counts as the median of its steps,
after one that is not counted, which wakes its threads and fills the caches.  Ratios are taken
within a round, and told as their median, least and most over the rounds.  The ceiling is the
product of two float32 matrices of 2048 x 2048 by NumPy with as many threads, right before and right
after the first contender in every round: on some machines a core's speed changes within seconds.
"""
import ctypes
import gc
import os
from functools import cache
from pathlib import Path
from time import perf_counter, process_time, sleep

import numpy as np

SIDE = 2048                     # of the matrices whose product is the ceiling
QUIET = 0.15                    # processors that others may keep busy on a machine called quiet
WARM = 2                        # steps before the first round, in which compilers do their work
LEAST = 3                       # steps that count in a burst
NAP, ASLEEP = 0.02, 0.1         # seconds that are looked at; the share of them that may be busy
PATIENCE = 50                   # naps, where threads never sleep
LONG = 2                        # bursts; of a step that lasts longer one is enough


def burst(step, seconds):
    """The median time of a step, over as many as fill the burst; seconds."""
    if timed(step) > LONG * seconds:            # not its own time: it may have waited for threads
        return timed(step)
    times, start = [], perf_counter()
    while perf_counter() - start < seconds or len(times) < LEAST:
        times.append(timed(step))
    return float(np.median(times))


def settle():
    """Wait until no thread of this process is busy."""
    for _ in range(PATIENCE):
        before = process_time()
        sleep(NAP)
        if process_time() - before < ASLEEP * NAP:
            return


def timed(step):
    """Seconds that a step takes."""
    start = perf_counter()
    step()
    return perf_counter() - start


def rounds(steps, n, seconds, side=SIDE):
    """Every contender's time in every round.

    Parameters
    ----------
    steps : dict of functions, by contender; the ceiling is measured beside the first
    n : int
        Rounds.
    seconds : float
        Length of a burst.
    side : int
        Of the ceiling's matrices; 0 if no ceiling is wanted.

    Returns
    -------
    times : dict of lists of n times; seconds
    ceilings : list of n, or of none; operations a second of the large product
    """
    times, ceilings, names = {name: [] for name in steps}, [], list(steps)
    for step in (steps[name] for name in names for _ in range(WARM)):
        step()
    gc.collect()
    gc.disable()                        # a collection in one contender's burst is not its work
    try:
        for turn in range(n):
            first = turn % len(names)           # nobody always follows the same neighbour
            for name in names[first:] + names[:first]:
                beside = [ceiling(side)] if side and name == names[0] else []
                settle()
                times[name].append(burst(steps[name], seconds))
                if beside:
                    ceilings.append((beside[0] + ceiling(side)) / 2)
    finally:
        gc.enable()
    return times, ceilings


@cache
def matrices(side):
    """Two to multiply and one to write to; kept, because filling them takes longer."""
    return np.random.default_rng(0).random((3, side, side), np.float32)


def ceiling(side=SIDE):
    """Operations a second of the product of two large float32 matrices; two for an entry's step."""
    A, B, C = matrices(side)
    start = perf_counter()
    np.matmul(A, B, out=C)
    return 2 * side**3 / (perf_counter() - start)


def spread(values):
    """Median, least, most; or None of nothing."""
    return (float(np.median(values)), min(values), max(values)) if values else None


def ratios(times, ours, other):
    """How many times as fast as `other` is `ours`, round by round: above 1, ours is the faster.

    Returns
    -------
    median, least, most; or None if one has no times
    """
    if ours not in times or other not in times:
        return None
    return spread([theirs / mine for mine, theirs in zip(times[ours], times[other])])


# The machine --------------------------------------------------------------------------------------

class Others:
    """How many processors everyone else keeps busy, since this was made."""

    def __init__(self):
        self.start = self.now()

    def now(self):
        """Wall time, and the processor time of all and of us, as far as the system tells."""
        own = sum(os.times()[:4])                               # children that have ended, too
        return perf_counter(), busy(), own

    def processors(self):
        """Busy processors that are not ours; None where the system does not tell."""
        (t0, all0, own0), (t1, all1, own1) = self.start, self.now()
        if all0 is None or t1 - t0 < 0.5:
            return None
        return max(0.0, ((all1 - all0) - (own1 - own0)) / (t1 - t0))


def busy():
    """Seconds that all processors together were busy, or taken by other guests of the host."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


# Memory -------------------------------------------------------------------------------------------

def resident(what="VmRSS"):
    """Bytes of this process that are in memory now, or ("VmHWM") were at most; None if not told."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(what)), None)


def transient(step, base=None):
    """Bytes that a step holds at its worst moment, above what is held before it.

    Asked of the system and not of an allocator, so it is one measure for NumPy, Numba, torch and
    JAX, each of which has an allocator of its own.

    Parameters
    ----------
    step : function
    base : int or None
        What counts as held before; by default, what is held when this is called.

    Returns
    -------
    int, or None where the system does not tell
    """
    give_back()
    try:
        Path("/proc/self/clear_refs").write_text("5")           # the peak so far is forgotten
    except OSError:
        return None
    before = resident() if base is None else base
    step()
    peak = resident("VmHWM")
    return None if None in (before, peak) else max(0, peak - before)


def give_back():
    """Memory that is freed, but kept by the C library for later, goes back to the system."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        pass                            # another C library, which keeps less
