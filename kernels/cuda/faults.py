"""Breaks kernels, and says what is found: by the emulator's checks, or in the numbers.

    findings("dense", (33, 18, 21))                         nothing, one hopes
    findings("dense", (33, 18, 21), without("dense", 2))    the second barrier is missing

Each barrier, fence and wait of a kernel should be there for a reason, and so the kernel without it
should be told from the kernel with it.
"""
import re

import numpy as np

from minicredit.kernels.cuda import source
from minicredit.kernels.cuda.emulator.device import Device
from minicredit.kernels.cuda.emulator.reports import KernelError
from minicredit.kernels.cuda.trials import TRIALS, Bench

WAITS = re.compile(r"\b(?:__syncthreads\(\)|__syncwarp\([^()]*\)|grid_sync\([^()]*\)|"
                   r"cp_async_wait<[^>]*>\(\));")
LINE = re.compile(r'^#line (\d+) "([^"]+)"$', re.M)
SHUT = re.compile(r"#ifn?def EMULATED\b.*?#endif", re.S)        # device.cuh: what they are made of


def waits(file):
    """Where a kernel waits: spans in its flattened text, headers included."""
    text = source.flatten(file)
    blank = source.without_comments(text)
    blank = SHUT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), blank)
    return [match.span() for match in WAITS.finditer(blank)]


def place(file, at):
    """The line, as "file:line", of an offset in a flattened text."""
    before = source.flatten(file)[:at]
    first, name, start = 1, f"{file}.cu", 0
    for match in LINE.finditer(before):
        first, name, start = int(match[1]), match[2], match.end() + 1
    return f"{name}:{first + before.count(chr(10), start)}"


def listed(file):
    """Every wait of a kernel as text: where it is, and what it says."""
    text = source.flatten(file)
    return [f"{place(file, start)} {text[start:stop]}" for start, stop in waits(file)]


def without(file, number):
    """The text of a kernel without its wait `number`; they count from 1."""
    text, (start, stop) = source.flatten(file), waits(file)[number - 1]
    return text[:start] + ";" + text[stop:]


def reached(file, number, size):
    """Whether a trial of this size comes past wait `number` at all."""
    text, (start, stop) = source.flatten(file), waits(file)[number - 1]
    stopped = f'{text[:start]}emulated_fail("reached", 0);{text[stop:]}'
    return any("reached" in line for line in findings(file, size, stopped)[0])


def findings(file, size, text=None, dtype="float32", schedule="up", counted=-1):
    """What is wrong with a kernel.

    Parameters
    ----------
    file : str
        One of `trials.TRIALS`.
    size : (m, n, k)
    text : str, or None
        In the place of what the file says.
    dtype : {"float32", "float64"}
    schedule : {"up", "down", "random"}
    counted : int
        The block whose accesses are counted; -1: none.

    Returns
    -------
    list of str, one for each thing that was found
    accesses : dict, see `emulator.Device`
    """
    device = Device(checked=True, schedule=schedule)
    device.replace(file, text)
    device.counted = counted
    try:
        got, want = TRIALS[file](Bench(device, dtype), *size)
        numbers = [device.to_numpy(x) for x in got]
    except KernelError as error:
        return str(error).splitlines(), device.accesses
    pairs = enumerate(zip(numbers, want()))
    return [said for i, pair in pairs if (said := differs(i, *pair, dtype, size))], device.accesses


def differs(i, got, want, dtype, size):
    """A sentence about result `i`, if it is not what it should be within rounding."""
    if got.shape != want.shape:
        return f"numbers: result {i} has the shape {got.shape}; wanted {want.shape}"
    with np.errstate(invalid="ignore"):
        error = np.abs(got.astype(np.float64) - want) / (1 + np.abs(want))
    error[np.isnan(got) & np.isnan(want)] = 0                   # both NaN is right
    error[np.isnan(error)] = np.inf
    worst = error.max(initial=0)
    if worst <= 32 * np.finfo(dtype).eps * max(size)**0.5:
        return None
    first = np.unravel_index(np.argmax(error), error.shape)
    return (f"numbers: result {i} at {[int(x) for x in first]} is {got[first]:.7g}; "
            f"wanted {want[first]:.7g}")
