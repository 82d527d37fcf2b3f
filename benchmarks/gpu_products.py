"""What the products of matrices cost on a GPU, beside cuBLAS; what each rung of a ladder is worth.

    python -m benchmarks.gpu_products           the ladder, and every tile of every kernel: choose
                                                tiles for `kernels.cuda.dense.TILES` from this
    python -m benchmarks.gpu_products 60 wide   in 60 s, of those whose name has "wide" in it
    python -m benchmarks.gpu                    the operations beside cuBLAS, with everything else

cuBLAS, as PyTorch calls it, computes the product (of a layer: and adds its biases), in float32
without TF32; ours do bias, nonlinearity, slope and optimiser in passing.  Calls follow each other
in a CUDA graph, so nothing waits for Python; arrays are used again and again, so what fits in the
cache stays there, for ours and for cuBLAS.
"""
import sys
import time
from functools import lru_cache, partial
from itertools import product
from multiprocessing import get_context
from multiprocessing.pool import ThreadPool

import numpy as np

from minicredit.kernels.cuda import dense, work
from minicredit.kernels.cuda.optimisers import update_fields

TITLE = "Products of matrices"
CALLS, LONG = 20, 0.01                  # in a graph, unless they take more than LONG seconds
LEE = (784, *[240] * 7, 10)             # Lee et al.'s network, whose steps wait for latency
WIDE = (784, *[1024] * 3, 10)           # one whose steps do not, with batches of 1024
SHAPES = [(100, 784, 240), (100, 240, 240), (256, 1024, 1024), (1024, 784, 1024),
          (1024, 1024, 1024), (4096, 4096, 4096)]
LADDER = [(4096, 4096, 4096), (1024, 784, 1024), (1024, 1024, 1024)]
FEW, MANY = 24, 4096                    # blocks with which a tile is worth a try
PROCESSES = 12                          # that compile
KINDS = "dense", "pull_back", "dense_grad"
CUBLAS = "cuBLAS"
SMALL_SHAPES = [(20, 33, 40)]
RUNGS = {"naive": ("matmul", (32, 8), (), (32, 8)), "coalesced": ("matmul", (8, 32), (), (32, 8)),
         "shared": ("matmul", (32, 32), (), (32, 32)), "registers": ("matmul", (64, 64), (), 256),
         "quads": ("matmul", (64, 64), (), 256), "warps": ("matmul", None, (), 256),
         "tf32": ("matmul_tensor", None, (("TENSOR", 1),), 256),
         "3 x tf32": ("matmul_tensor", None, (("TENSOR", 3),), 256)}


# Calls --------------------------------------------------------------------------------------------

class Products:
    """Arrays for one shape, and the calls that use them.

    Parameters
    ----------
    device : object
    N, n_in, n_out : int
    seed : int
    """

    def __init__(self, device, N, n_in, n_out, seed=0):
        rng = np.random.default_rng(seed)
        self.device, self.shape = device, (N, n_in, n_out)
        self.host = {"h": rng.standard_normal((N, n_in), np.float32),
                     "W": rng.standard_normal((n_in, n_out), np.float32) / np.float32(n_in) ** .5,
                     "b": rng.standard_normal(n_out, np.float32),
                     "d": rng.standard_normal((N, n_out), np.float32)}
        for name, x in self.host.items():
            setattr(self, name, device.asarray(x))
        self.out, self.e = device.empty((N, n_out), np.float32), device.empty((N, n_in), np.float32)
        self.dW, self.db = device.zeros((n_in, n_out), np.float32), device.zeros(n_out, np.float32)

    def works(self, kind):
        """The work of an operation."""
        if kind == "dense":
            return dense.dense_work(self.h, self.W, self.b, self.out, "relu")
        if kind == "pull_back":
            return dense.pull_back_slope_work(self.d, self.W, self.h, "relu", self.e)
        if kind == "dense_grad":
            return dense.dense_grad_work(self.h, self.d, self.dW, self.db)
        if kind == "target":
            return dense.target_work(self.h, self.h, self.W, self.b, self.d, self.out, "tanh")
        if kind == "reconstruct":
            return dense.reconstruct_work(self.h, self.W, self.b, self.d, self.out, "tanh")
        return dense.descend_work(self.h, self.d, update_fields("sgd", (self.dW, None, 1e-3)),
                                  update_fields("sgd", (self.db, None, 1e-3)))

    @lru_cache(maxsize=None)
    def wanted(self, kind):
        """What a kind computes, on a few rows, in float64; and where it is."""
        h, W, b, d = (self.host[x].astype(np.float64) for x in "hWbd")
        rows = slice(0, 64)
        if kind == "dense":
            return np.maximum(h[rows] @ W + b, 0), self.out
        if kind == "pull_back":
            return (d[rows] @ W.T) * (h[rows] > 0), self.e
        return h[:, rows].T @ d / len(h), self.dW

    def error(self, kind):
        """The largest error of the last call, relative to the largest number."""
        want, got = self.wanted(kind)
        got = self.device.to_numpy(got)[:len(want)]
        return float(np.max(np.abs(got - want)) / np.max(np.abs(want)))

    def rung(self, name):
        """One rung of the ladder: out = h W."""
        file, tile, defines, threads = RUNGS[name]
        (N, n_in, n_out), device = self.shape, self.device
        grid = (-(-N // 128) * -(-n_out // 128),)
        if tile:
            grid = (-(-n_out // tile[1]), -(-N // tile[0]))
        if name == "naive":
            grid = grid[::-1]
        device.launch(file, name if file == "matmul" else "tensor", (("real", "float"), *defines),
                      grid, threads, [self.h, self.W, self.out, N, n_out, n_in])

    def rung_error(self):
        """The largest error of the last rung, relative to the largest number."""
        want = self.host["h"][:64].astype(np.float64) @ self.host["W"].astype(np.float64)
        got = self.device.to_numpy(self.out)[:64]
        return float(np.max(np.abs(got - want)) / np.max(np.abs(want)))


class Library:
    """The same products by cuBLAS, through PyTorch: arrays of its own, with the same numbers.

    It is also the device that `timed` wants.

    Parameters
    ----------
    products : Products
    """

    def __init__(self, products):
        import torch
        torch.backends.cuda.matmul.allow_tf32 = False
        self.torch, host = torch, products.host
        self.h, self.W, self.b, self.d = (torch.from_numpy(host[x]).cuda() for x in "hWbd")
        self.out, self.e = torch.empty_like(self.d), torch.empty_like(self.h)
        self.dW = torch.empty_like(self.W)

    def call(self, kind):
        """A product; of a difference target's two, and of a step on a gradient, the products."""
        if kind == "dense":
            self.torch.addmm(self.b, self.h, self.W, out=self.out)
        elif kind in ("product", "target"):
            for _ in range(2 if kind == "target" else 1):
                self.torch.mm(self.h, self.W, out=self.out)
        elif kind == "pull_back":
            self.torch.mm(self.d, self.W.t(), out=self.e)
        else:
            self.torch.mm(self.h.t(), self.d, out=self.dW)

    def synchronize(self):
        """Wait until everything is done."""
        self.torch.cuda.synchronize()

    def capture(self, launch):
        """What `launch()` queues, as a graph; its `launch` queues it again."""
        side = self.torch.cuda.Stream()         # what cuBLAS prepares once, it does outside
        side.wait_stream(self.torch.cuda.current_stream())
        with self.torch.cuda.stream(side):
            launch()
        self.torch.cuda.current_stream().wait_stream(side)
        self.synchronize()
        graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(graph):
            launch()
        return Replay(graph)


class Replay:
    """A graph of PyTorch's that is launched like ours."""

    def __init__(self, graph):
        self.launch = graph.replay


def operations(kind, N, n_in, n_out):
    """Of one call: a product and a sum are two."""
    return 2 * N * n_in * n_out * (2 if kind == "target" else 1)


# Time ---------------------------------------------------------------------------------------------

class Timer:
    """Seconds of a call: many of them one after the other, without Python between.

    Parameters
    ----------
    device : object
    call : callable
    """

    def __init__(self, device, call):
        call()
        self.device, self.calls = device, 1
        once = self.run(1, call)
        self.calls = max(1, min(CALLS, int(LONG / once)))
        self.graph = device.capture(lambda: [call() for _ in range(self.calls)])
        self.once = self.run(1, self.graph.launch)

    def run(self, times, launch):
        """Seconds a call."""
        self.device.synchronize()
        start = time.perf_counter()
        for _ in range(times):
            launch()
        self.device.synchronize()
        return (time.perf_counter() - start) / times / self.calls

    def burst(self, seconds):
        """The same over about so many seconds."""
        return self.run(max(1, int(seconds / (self.once * self.calls))), self.graph.launch)


def timed(contenders, options, device, devices=()):
    """{name: [seconds in each round]}, and {name: why} for those that fail.

    Parameters
    ----------
    contenders : dict of callables
    options : dict
        "rounds" and "burst".
    device : object
        What they run on.
    devices : dict
        Of those that run on another.
    """
    timers, times, left_out, devices = {}, {}, {}, dict(devices)
    for name, call in contenders.items():
        try:
            timers[name] = Timer(devices.get(name, device), call)
        except Exception as failed:                     # one that fails takes no other along
            left_out[name] = f"{type(failed).__name__}: {failed}"[:200]
    for _ in range(options["rounds"]):
        for name, timer in timers.items():
            times.setdefault(name, []).append(timer.burst(options["burst"]))
    return times, left_out


# The table of the operations ----------------------------------------------------------------------

def measure(options):
    """See `benchmarks.gpu`: rows of the table, one by one."""
    device, small = a_device(options["small"]), options["small"]
    ladders, shapes = (SMALL_SHAPES, SMALL_SHAPES) if small else (LADDER[:1], SHAPES)
    rows = len(ladders) * (len(RUNGS) + 1) + 2 * len(KINDS) * len(shapes)
    share = options.get("seconds", 30) / rows / options["rounds"]
    options = {**options, "burst": min(options["burst"], 0.4 * share)}
    if not small:
        prepare(device, shapes)
    for shape in ladders:
        yield row(device, "ladder", shape, options)
    for shape in shapes:
        for kind in KINDS:
            yield row(device, kind, shape, options)


def row(device, kind, shape, options):
    """One operation as `dense` does it, or the ladder; beside cuBLAS."""
    products = layer(device, *shape)
    own = {"minicredit": partial(device.run, [products.works(kind)] if kind in KINDS else ())}
    if kind == "ladder":
        own = {f"minicredit {name}": partial(products.rung, name) for name in reversed(RUNGS)}
    contenders, devices, errors, left_out = {}, {}, {}, {}
    for name, call in own.items():
        try:
            call()
            errors[name] = products.rung_error() if kind == "ladder" else products.error(kind)
            contenders[name] = call
        except Exception as failed:                     # one that fails takes no other along
            left_out[name] = f"{type(failed).__name__}: {failed}"[:200]
    if not options["small"]:
        try:
            devices[CUBLAS] = library(products)
            contenders[CUBLAS] = partial(devices[CUBLAS].call, of_library(kind))
        except Exception as failed:
            left_out[CUBLAS] = f"{type(failed).__name__}: {failed}"[:200]
    times, failed = timed(contenders, options, device, devices)
    return {"group": "products", "what": f"{kind} {' x '.join(map(str, shape))}", "times": times,
            "operations": operations(kind, *shape), "ceilings": [], "errors": errors,
            "left_out": {**left_out, **failed}}


def of_library(kind):
    """What cuBLAS does there."""
    return "product" if kind == "ladder" else kind


def prepare(device, shapes):
    """Compile everything at the same time."""
    wanted = {(file, name if file == "matmul" else "tensor", (("real", "float"), *defines))
              for name, (file, _, defines, _) in RUNGS.items()}
    wanted |= {work.compiled(layer(device, *shape).works(kind)) for shape in shapes
               for kind in KINDS}
    ThreadPool(PROCESSES).map(partial(prepared, device), wanted)


def prepared(device, compiled):
    """Compile one kernel; what fails, fails again where it is reported."""
    try:
        device.prepare(*compiled)
    except Exception:
        pass


def a_device(small):
    """Where to measure."""
    if small:
        from minicredit.kernels.cuda.emulator.device import Device
    else:
        from minicredit.kernels.cuda.gpu import Device
    return Device()


# Every tile ---------------------------------------------------------------------------------------

CANDIDATES = {                          # BM, BN, BK, TM, TN, SPLIT, STAGES, BLOCKS, TENSOR
    "16x16/16": (16, 16, 64, 4, 4, 16, 4, 2, 0),
    "16x16/16 k128": (16, 16, 128, 4, 4, 16, 2, 2, 0),
    "16x16/8": (16, 16, 64, 2, 4, 8, 4, 2, 0),
    "16x32/8": (16, 32, 64, 4, 4, 8, 3, 2, 0),
    "32x16/8": (32, 16, 64, 4, 4, 8, 3, 2, 0),
    "32x16/8 k32": (32, 16, 32, 4, 4, 8, 6, 2, 0),
    "16x64/4": (16, 64, 32, 4, 4, 4, 4, 2, 0),
    "32x32/4": (32, 32, 32, 4, 4, 4, 4, 2, 0),
    "32x32/4 k64": (32, 32, 64, 4, 4, 4, 2, 2, 0),
    "32x32/2": (32, 32, 16, 4, 4, 2, 6, 4, 0),
    "32x32/8": (32, 32, 32, 4, 4, 8, 4, 1, 0),
    "64x32/2": (64, 32, 16, 4, 4, 2, 4, 2, 0),
    "64x32/1": (64, 32, 16, 8, 4, 1, 4, 4, 0),
    "64x64/1": (64, 64, 16, 4, 4, 1, 3, 2, 0),
    "64x64/1 8x4": (64, 64, 16, 8, 4, 1, 4, 3, 0),
    "64x64/2": (64, 64, 16, 8, 4, 2, 4, 2, 0),
    "128x64/1": (128, 64, 16, 8, 8, 1, 3, 2, 0),
    "128x128/1": (128, 128, 16, 8, 8, 1, 2, 1, 0),
    "128x128/1 k8": (128, 128, 8, 8, 8, 1, 4, 1, 0),
    "128x128/1 b2": (128, 128, 16, 8, 8, 1, 2, 2, 0),
    "16x16/8 tc": (16, 16, 64, 2, 4, 8, 4, 2, 3),
    "16x16/8 tc k128": (16, 16, 128, 2, 4, 8, 3, 2, 3),
    "16x16/4 tc": (16, 16, 64, 2, 4, 4, 5, 4, 3),
    "32x16/8 tc": (32, 16, 64, 4, 4, 8, 4, 2, 3),
    "32x16/4 tc": (32, 16, 64, 2, 4, 4, 4, 2, 3),
    "16x32/8 tc": (16, 32, 64, 2, 8, 8, 4, 2, 3),
    "32x32/4 tc": (32, 32, 32, 4, 8, 4, 5, 4, 3),
    "32x32/8 tc": (32, 32, 64, 4, 8, 8, 3, 2, 3),
    "32x32/2 tc": (32, 32, 32, 2, 8, 2, 5, 3, 3),
    "64x32/2 tc": (64, 32, 32, 4, 8, 2, 4, 4, 3),
    "64x64/2 tc": (64, 64, 16, 4, 8, 2, 4, 2, 3),
    "64x32 tc": (64, 32, 16, 4, 4, 1, 4, 3, 3),
    "32x32 tc": (32, 32, 16, 2, 4, 1, 6, 4, 3),
    "32x32 tc k32": (32, 32, 32, 2, 4, 1, 5, 4, 3),
    "32x32/4 b3": (32, 32, 32, 4, 4, 4, 4, 3, 0),
    "64x64 tc k24": (64, 64, 24, 4, 8, 1, 3, 3, 3),
    "64x64 tc k32 b3": (64, 64, 32, 4, 8, 1, 3, 3, 3),
    "64x64 tc k16 b4": (64, 64, 16, 4, 8, 1, 4, 4, 3),
    "64x64 tc": (64, 64, 16, 4, 8, 1, 4, 3, 3),
    "64x64 tc k32": (64, 64, 32, 4, 8, 1, 3, 2, 3),
    "128x64 tc": (128, 64, 16, 8, 4, 1, 4, 2, 3),
    "128x64 tc 88": (128, 64, 16, 8, 8, 1, 4, 2, 3),
    "128x128 tc": (128, 128, 16, 8, 8, 1, 3, 1, 3),
    "128x128 tc 84": (128, 128, 16, 8, 4, 1, 3, 1, 3),
}


def with_tile(made, shape, tile):
    """A work with another tile than `dense` has chosen for it."""
    kinds = {"pull_back": (0, 1), "dense": (0, 2), "target": (0, 2),
             "reconstruct": (0, 2)}
    rows, columns = (shape[i] for i in kinds.get(made.kernel, (1, 2)))
    rows *= 2 if made.kernel == "target" else 1
    bm, bn, _, tm, tn, split = tile[:6]
    made.variant = tuple(zip(dense.DEFINES, tile))
    made.blocks, made.threads = -(-rows // bm) * -(-columns // bn), bm // tm * (bn // tn) * split
    return made


@lru_cache(maxsize=None)
def library(products):
    """cuBLAS on the same numbers, made once."""
    return Library(products)


@lru_cache(maxsize=None)
def layer(device, *shape):
    """Arrays for a shape, made once."""
    return Products(device, *shape)


def groups(device, only):
    """(name, kind, layers) of what is to be tiled."""
    wide = [(1024, a, b) for a, b in zip(WIDE, WIDE[1:])]
    lee = [(100, a, b) for a, b in zip(LEE, LEE[1:])]
    found = [(f"{kind} {shape}", kind, [shape])
             for shape, kind in product(SHAPES, KINDS)]
    found += [("descend, all layers", "descend", lee), ("descend, wide", "descend", wide),
              ("reconstruct, all layers", "reconstruct", lee[1:-1]),
              ("pull_back, all layers", "pull_back", lee),
              ("target (100, 240, 240)", "target", lee[1:2]),
              ("target (256, 1024, 1024)", "target", [(256, 1024, 1024)])]
    return [(name, kind, [layer(device, *shape) for shape in shapes])
            for name, kind, shapes in found if only in name]


def candidates(products, kind):
    """{label: works} of the tiles that are worth a try."""
    made = {label: [with_tile(p.works(kind), p.shape, tile) for p in products]
            for label, tile in CANDIDATES.items()}
    return {label: works for label, works in made.items()
            if FEW <= sum(w.blocks for w in works) <= MANY}


def tiles(device, seconds, found):
    """Print the time of every tile for every kernel and shape."""
    end = time.perf_counter() + seconds
    for name, kind, products in found:
        rows = [(CUBLAS, by_library(products, kind), None)]
        for label, works in candidates(products, kind).items():
            if time.perf_counter() > end:
                break
            seen, error = best(device, partial(device.run, works)), None
            if kind in KINDS and isinstance(seen, float):
                error = products[0].error(kind)
            rows.append((label, seen, error))
        report(name, sum(operations(kind, *p.shape) for p in products), rows)


def compile_one(what):
    """Compile a kernel, in a process of its own; CuPy keeps it on disk."""
    from minicredit.kernels.cuda import gpu
    try:
        gpu.loaded(*what)
    except Exception:                                   # it fails again where it is reported
        pass


def by_library(products, kind):
    """The least seconds that cuBLAS takes for some products; or why there are none."""
    try:
        own = [library(one) for one in products]
    except Exception as failed:                         # without PyTorch
        return f"{type(failed).__name__}: {failed}"[:70]
    return best(own[0], lambda: [one.call(kind) for one in own])


def best(device, call):
    """The least seconds of a call in a few bursts; or why there is none."""
    try:
        timer = Timer(device, call)
        return min(timer.burst(0.004) for _ in range(5))
    except Exception as failed:                         # one that fails takes no other along
        return f"{type(failed).__name__}: {failed}"[:70]


def report(name, count, rows):
    """Print one table."""
    print(f"\n{name}", flush=True)
    library = next((found for label, found, _ in rows if label == CUBLAS), None)
    for label, found, error in sorted(rows, key=lambda row: (isinstance(row[1], str), row[1])):
        if isinstance(found, str):
            print(f"  {label:18} {found}", flush=True)
        else:
            wrong = "" if error is None else f"   error {error:.1e}"
            share = f" {library / found:5.2f} x cuBLAS" if isinstance(library, float) else ""
            print(f"  {label:18} {1e6 * found:9.2f} us {1e-12 * count / found:8.2f} TF/s{share}"
                  f"{wrong}", flush=True)


def main(seconds=60, only=""):
    """The ladder, then every tile."""
    start, device = time.perf_counter(), a_device(False)
    found = groups(device, only)
    needed = {work.compiled(works[0]) for _, kind, products in found
              for works in candidates(products, kind).values()}
    with get_context("spawn").Pool(PROCESSES) as pool:
        pool.map(compile_one, needed, chunksize=1)
    print(f"{len(needed)} kernels after {time.perf_counter() - start:.0f} s", flush=True)
    ladder(device)
    tiles(device, float(seconds) - (time.perf_counter() - start), found)


def ladder(device):
    """Print the time of every rung."""
    for shape in LADDER:
        products = layer(device, *shape)
        rows = [(CUBLAS, by_library([products], "product"), None)]
        for name in RUNGS:
            found = best(device, partial(products.rung, name))
            rows.append((name, found, products.rung_error() if isinstance(found, float) else None))
        report(f"ladder {shape}", operations("dense", *shape), rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
