"""Random numbers: a thread computes a philox block, four numbers; random.cu has the kernels.

The step of a key may lie in device memory: a replayed step draws what its counter says.
"""
from math import prod

import numpy as np

from minicredit.kernels.cuda.losses import floats
from minicredit.kernels.cuda.work import Work, require

THREADS = 128                           # of a block of random.cu
WORDS = 4                               # of a philox block


def draw_work(kernel, key, out, dtype=None, h=None, **fields):
    """A kernel of random.cu that fills `out`."""
    problem = {"key": key_fields(key), "out": out, "n": out.size, **fields}
    if kernel == "normal":
        problem["h"] = h
    blocks, reads = -(-out.size // (THREADS * WORDS)), [] if h is None else [h]
    return Work(f"random:{kernel}", (), problem, blocks, THREADS, reads, [out], dtype)


def key_fields(key):
    """The struct Key of philox.cuh for (seed, stream, layer, step)."""
    seed, stream, layer, step = key
    if not hasattr(step, "at") and step >= 2**63:
        step -= 2**64                   # the same 64 bits, with a sign
    return {"seed": seed, "place": stream << 16 | layer, "step": step}


def philox(device, n, key):
    """See kernels.reference.philox."""
    out = device.empty((n,), np.uint32)
    device.run([draw_work("integers", key, out, np.dtype("float32"))])
    return out


def uniform(device, shape, key, dtype):
    """See kernels.reference.uniform."""
    out = device.empty(shape, np.dtype(dtype))
    device.run([draw_work("uniform", key, out)])
    return out


def normal(device, shape, key, dtype):
    """See kernels.reference.normal."""
    out = device.empty(shape, np.dtype(dtype))
    device.run([draw_work("normal", key, out, sigma=1.0)])
    return out


def noisy(device, h, sigma, key):
    """See kernels.reference.noisy.  h is read once, when its noise has been drawn."""
    require("h", h, h.shape, floats(h))
    out = device.empty(h.shape, h.dtype)
    device.run([noisy_work(h, sigma, key, out)])
    return out


def noisy_work(h, sigma, key, out):
    """out = h + sigma z."""
    return draw_work("normal", key, out, h=h, sigma=sigma)


def permutation(device, n, key):
    """See kernels.reference.permutation.  The integers are drawn on the device and sorted on the
    host: it is asked for once an epoch."""
    integers = device.to_numpy(philox(device, n, key))
    return device.asarray(np.argsort(integers, kind="stable").astype(np.int64))
