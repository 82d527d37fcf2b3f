"""Layers of images on a GPU: those of cifar-lc and imagenet-lc, with and without shared weights.

    python -m benchmarks.gpu_images [seconds]       one table: times, speed, memory, errors
    python -m benchmarks.gpu_images tiles 60 local  what every tile costs, for each layer
    python -m benchmarks.gpu                        the same rows, with everything else

A batch of 128; imagenet-lc as for images of 64 x 64.  PyTorch's locally connected layer is `unfold`
and a product for each place (bmm); its gradient uses the patches that the forward has kept, so
their making counts there.  Its convolution is cuDNN's.  No TF32.  Ours read and write channels
innermost, PyTorch's outermost, each as its own next layer wants them.

An operation counts 2 N F ch for every tap that falls inside the image.  Memory is what is allocated
by one call, answers included.
"""
import sys
from functools import partial
from itertools import product
from multiprocessing.pool import ThreadPool
from operator import itemgetter
from time import perf_counter

import numpy as np

from benchmarks.gpu_products import a_device, best, timed
from benchmarks.layers import inside
from minicredit.kernels.cuda import images, work
from minicredit.layers.geometry import stencil
from minicredit.presets import PRESETS, written

TITLE = "Layers of images, batch 128, microseconds"
NETS, SIDE, CLASSES, BATCH = ("cifar-lc", "imagenet-lc"), 64, 200, 128
SMALL = [((6, 5, 2), 3, 4, 1)]
KINDS = {"local": "torch unfold + bmm", "conv": "torch conv2d"}
OPERATIONS = "dense", "pull_back", "grad"


def layers():
    """(image, kernel, channels, stride) of every layer of images."""
    for net in NETS:
        shape, specs = written(PRESETS[net].format(S=SIDE, K=CLASSES))
        for spec in specs:
            if spec.kind == "lc":
                yield shape, spec.kernel, spec.n, spec.stride
                where = stencil(shape, spec.kernel, spec.stride)
                shape = where.rows_out, where.columns_out, spec.n


def named(shape, kernel, channels, stride):
    """As it stands in a table."""
    return f"{'x'.join(map(str, shape))} {kernel}x{kernel} s{stride} -> {channels}"


class Case:
    """The arrays of one layer, on the host.

    Parameters
    ----------
    kind : "local" or "conv"
    shape, kernel, channels, stride, N
    """

    def __init__(self, kind, shape, kernel, channels, stride, N):
        rng, self.kind = np.random.default_rng(0), kind
        self.stencil, self.F, self.N = stencil(shape, kernel, stride), channels, N
        P, S = images.places(self.stencil), images.seen(self.stencil)
        W = (P, S, channels) if kind == "local" else (S, channels)
        self.h = rng.standard_normal((N, images.numbers(self.stencil)), np.float32)
        self.W = rng.standard_normal(W, np.float32) / np.float32(S) ** 0.5
        self.b = rng.standard_normal((P, channels) if kind == "local" else channels, np.float32)
        self.delta = rng.standard_normal((N, P * channels), np.float32)

    def operations(self):
        """Of one call of each of the three: a product and a sum are two."""
        R, C, ch, k, s, top, left, R1, C1 = self.stencil
        taps = inside(R, R1, k, s, top) * inside(C, C1, k, s, left)
        return 2 * self.N * taps * ch * self.F


class Ours:
    """Our operations, each as the works that it consists of.

    Parameters
    ----------
    case : Case
    device : object
    """

    def __init__(self, case, device):
        h, W, b, delta = map(device.asarray, (case.h, case.W, case.b, case.delta))
        self.case, self.device, self.out, self.works = case, device, {}, {}
        self.arguments = {"dense": (h, W, b, "relu", case.stencil),
                          "pull_back": (delta, W, case.stencil), "grad": (h, delta, case.stencil)}
        for name in OPERATIONS:
            self.build(name)

    def build(self, name):
        """Plan an operation: its works, and where they leave what they find."""
        self.device.kept = []
        try:
            operation = getattr(images, f"{self.case.kind}_{name}")
            self.out[name] = operation(self.device, *self.arguments[name])
        finally:
            self.works[name], self.device.kept = self.device.kept, None
        return self.works[name]

    def call(self, name):
        """Carry out an operation."""
        self.device.run(self.works[name])

    def bytes(self, name):
        """What an operation allocates."""
        return sum(array.nbytes for one in self.works[name] for array in one.writes)

    def answer(self, name):
        """The main thing that an operation has found."""
        out = self.out[name]
        return self.device.to_numpy(out[0] if isinstance(out, tuple) else out)


class Torch:
    """The same in PyTorch, on a GPU.

    Parameters
    ----------
    case : Case
    dtype : text
    """

    def __init__(self, case, dtype="float32"):
        import torch
        self.torch, self.case, (R, C, ch, k, s, top, left, R1, C1) = torch, case, case.stencil
        self.k, self.s, N, P, F = k, s, case.N, R1 * C1, case.F
        bottom, right = ((n1 - 1) * s + k - n - before
                         for n, n1, before in ((R, R1, top), (C, C1, left)))
        self.padding, self.inside = (left, right, top, bottom), (top, top + R, left, left + C)
        self.sides = R + top + bottom, C + left + right

        def there(array):
            return torch.from_numpy(np.ascontiguousarray(array)).cuda().to(getattr(torch, dtype))

        self.h = there(case.h.reshape(N, R, C, ch).transpose(0, 3, 1, 2))
        self.b = there(case.b)
        if case.kind == "local":
            W = case.W.reshape(P, k, k, ch, F).transpose(0, 3, 1, 2, 4).reshape(P, -1, F)
            self.delta, self.seen = there(case.delta.reshape(N, P, F)), None
        else:
            W = case.W.reshape(k, k, ch, F).transpose(3, 2, 0, 1)
            self.delta = there(case.delta.reshape(N, R1, C1, F).transpose(0, 3, 1, 2))
        self.W, self.found = there(W), {}
        self.call("dense")

    def call(self, name):
        """Carry out an operation."""
        self.found.pop(name, None)
        self.found[name] = getattr(self, f"{self.case.kind}_{name}")()

    def padded(self):
        """The image with zeros around it."""
        pad = self.torch.nn.functional.pad
        return pad(self.h, self.padding) if any(self.padding) else self.h

    def cut(self, image):
        """The inside of an image with zeros around it."""
        top, bottom, left, right = self.inside
        return image[:, :, top:bottom, left:right]

    def local_dense(self):
        """relu(what places see, times W, + b)."""
        self.seen = None
        self.seen = self.torch.nn.functional.unfold(self.padded(), self.k, stride=self.s)
        a = self.torch.bmm(self.seen.permute(2, 0, 1), self.W).transpose(0, 1)
        return self.torch.relu(a + self.b)

    def local_pull_back(self):
        """delta W^T, folded."""
        e = self.torch.bmm(self.delta.transpose(0, 1), self.W.transpose(1, 2)).permute(1, 2, 0)
        return self.cut(self.torch.nn.functional.fold(e, self.sides, self.k, stride=self.s))

    def local_grad(self):
        """The mean of what is seen, times delta; and of delta."""
        dW = self.torch.bmm(self.seen.permute(2, 1, 0), self.delta.transpose(0, 1))
        return dW.div_(self.case.N), self.delta.mean(0)

    def conv_dense(self):
        """relu(the convolution)."""
        self.around = None
        self.around = self.padded()
        a = self.torch.nn.functional.conv2d(self.around, self.W, self.b, self.s)
        return self.torch.relu(a)

    def backward(self, *wanted):
        """Gradients for the image, the weights, the biases."""
        return self.torch.ops.aten.convolution_backward(
            self.delta, self.around, self.W, [self.case.F], [self.s] * 2, [0, 0], [1, 1], False,
            [0, 0], 1, wanted)

    def conv_pull_back(self):
        """The gradient for the image."""
        return self.cut(self.backward(True, False, False)[0])

    def conv_grad(self):
        """The gradients for weights and biases, averaged."""
        _, dW, db = self.backward(False, True, True)
        return dW.div_(self.case.N), db.div_(self.case.N)

    def bytes(self, name):
        """What an operation allocates at most; for a gradient also the patches that it uses."""
        cuda = self.torch.cuda
        self.found.pop(name, None)
        if name == "dense":
            self.seen = self.around = None
        cuda.synchronize()
        cuda.reset_peak_memory_stats()
        before = cuda.memory_allocated()
        self.call(name)
        cuda.synchronize()
        kept = self.seen.nbytes if name == "grad" and self.case.kind == "local" else 0
        return cuda.max_memory_allocated() - before + kept

    def answer(self, name):
        """The main thing that an operation has found, lying as ours."""
        (R, C, ch, k, _, _, _, R1, C1), F, out = self.case.stencil, self.case.F, self.found[name]
        out = (out[0] if isinstance(out, tuple) else out).cpu().numpy()
        if name == "grad" and self.case.kind == "local":
            return out.reshape(-1, ch, k, k, F).transpose(0, 2, 3, 1, 4).reshape(R1 * C1, -1, F)
        if name == "grad":
            return out.transpose(2, 3, 1, 0).reshape(-1, F)
        if name == "dense" and self.case.kind == "local":
            return out.reshape(self.case.N, -1)
        return out.transpose(0, 2, 3, 1).reshape(self.case.N, -1)

    # As `benchmarks.gpu_products.timed` wants a device

    def synchronize(self):
        """Wait until everything is done."""
        self.torch.cuda.synchronize()

    def capture(self, launch):
        """What `launch()` queues, as a graph; its `launch` queues it again."""
        graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(graph):
            launch()
        graph.launch = graph.replay
        return graph


def off(got, want):
    """The relative error of an answer; infinite if a number is none."""
    error = np.linalg.norm(got - want) / np.linalg.norm(want) if got.shape == want.shape else np.inf
    return float(error) if np.isfinite(error) else np.inf


def brief(failed):
    """What went wrong, in a line."""
    return f"{type(failed).__name__}: {failed}".splitlines()[0][:150]


# Rows ---------------------------------------------------------------------------------------------

def measure(options):
    """See `benchmarks.gpu`: rows of the table, one by one."""
    device, small = a_device(options["small"]), options["small"]
    found = SMALL if small else list(dict.fromkeys(layers()))
    cases = [(kind, layer) for kind in KINDS for layer in found]
    share = options.get("seconds", 30) / (2 * len(cases) * len(OPERATIONS) * options["rounds"])
    options = {**options, "burst": min(options["burst"], 0.5 * share)}
    if not small:
        settle()
        prepare(device, cases)
    for kind, layer in cases:
        yield from rows(device, kind, layer, options)


def settle():
    """PyTorch: no TF32, and cuDNN tries what it has."""
    import torch
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True


def prepare(device, cases):
    """Compile everything at the same time."""
    wanted = set()
    for kind, layer in cases:
        for works in Ours(Case(kind, *layer, BATCH), device).works.values():
            wanted.update(map(work.compiled, works))
    ThreadPool(14).map(partial(prepared, device), wanted)


def prepared(device, compiled):
    """Compile one kernel; what fails, fails again where it is reported."""
    try:
        device.prepare(*compiled)
    except Exception:
        pass


def rows(device, kind, layer, options):
    """The three operations of one layer."""
    small, rival = options["small"], KINDS[kind]
    case, left_out = Case(kind, *layer, 3 if small else BATCH), {}
    contenders, devices = {"minicredit": Ours(case, device)}, {"minicredit": device}
    truth = None
    if not small:
        try:
            contenders[rival] = devices[rival] = Torch(case)
            truth = Torch(case, "float64")
        except Exception as failed:                     # no torch, or it has not the memory
            left_out[rival] = brief(failed)
    for name in OPERATIONS:
        row = {"group": "images", "what": f"{kind}_{name} {named(*layer)}", "times": {},
               "operations": case.operations(), "ceilings": [], "errors": {}, "bytes": {},
               "left_out": dict(left_out)}
        for who, contender in contenders.items():
            one(row, who, contender, devices[who], truth, name, options)
        yield row


def one(row, who, contender, device, truth, name, options):
    """A contender's part of a row, in place."""
    try:
        row["bytes"][who] = contender.bytes(name)
        contender.call(name)
        if truth is not None:
            truth.call(name)
            row["errors"][who] = off(contender.answer(name), truth.answer(name))
    except Exception as failed:                         # one that fails takes no other along
        row["left_out"][who] = brief(failed)
        return
    times, left_out = timed({who: partial(contender.call, name)}, options, device)
    row["times"].update(times)
    row["left_out"].update(left_out)


def line(row):
    """A row as text."""
    who = "minicredit"
    rival = next((name for name in row["times"] if name != who), None)
    best = {name: min(times) for name, times in row["times"].items()}
    text = f"{row['what']:42}"
    if who in best:
        text += (f" {1e6 * best[who]:8.1f} us {1e-12 * row['operations'] / best[who]:6.1f} TF/s "
                 f"{row['bytes'][who] / 2**20:7.1f} MB  off {row['errors'].get(who, np.nan):.1e}")
    if rival:
        text += (f" | {1e6 * best[rival]:8.1f} us {row['bytes'][rival] / 2**20:8.1f} MB  off "
                 f"{row['errors'].get(rival, np.nan):.1e}")
        text += f"  {best[rival] / best[who]:5.2f}x" if who in best else ""
    return text + "".join(f"  [{name}: {why}]" for name, why in row["left_out"].items())


# Every tile ---------------------------------------------------------------------------------------

TILES = [(m, n) for m in (32, 64, 128) for n in (32, 48, 64)]
PARTS = 1, 2, 4, 8, 16


def tiles(seconds, kind="local"):
    """Print what every tile and number of parts costs: `tile_for` and `parts_for` of `images`."""
    device, end = a_device(False), perf_counter() + float(seconds)
    for layer in dict.fromkeys(layers()):
        ours = Ours(Case(kind, *layer, BATCH), device)
        for name in OPERATIONS:
            if perf_counter() < end:
                report(f"{kind}_{name} {named(*layer)}", ours, candidates(ours, name))


def candidates(ours, name):
    """{(tile, parts): works} of an operation, compiled."""
    found, chosen = {}, (images.tile_for, images.parts_for)
    usual = ours.build(name)
    several = PARTS if name != "grad" or ours.case.kind == "conv" else (1,)
    for tile, parts in product(TILES, several):
        images.tile_for, images.parts_for = partial(always, (*tile, True)), partial(always, parts)
        try:
            found[tile, parts] = ours.build(name)
        finally:
            images.tile_for, images.parts_for = chosen
    found = {key: works for key, works in found.items()
             if 24 <= works[0].blocks <= 6000 or key[1] == 1}
    found["as chosen", ""] = usual
    wanted = {work.compiled(one) for works in found.values() for one in works}
    ThreadPool(14).map(partial(prepared, ours.device), wanted)
    return found


def always(answer, *args):
    """The same answer to every question."""
    return answer


def report(title, ours, found):
    """Print the best of some candidates."""
    rows = []
    for (tile, parts), works in found.items():
        took = best(ours.device, partial(ours.device.run, works))
        rows.append((took if isinstance(took, float) else 1.0, tile, parts, works[0].blocks, took))
    print(f"\n{title}", flush=True)
    for took, tile, parts, blocks, said in sorted(rows, key=itemgetter(0)):
        if rows and (took <= 1.4 * min(rows, key=itemgetter(0))[0] or tile == "as chosen"):
            speed = 1e-12 * ours.case.operations() / took
            text = f"{1e6 * took:8.1f} us {speed:6.1f} TF/s" if said == took else said
            print(f"   {str(tile):12} parts {parts!s:3} blocks {blocks:5}  {text}", flush=True)


def main(what="40", *args):
    """Print the table; or with `tiles`, a number of seconds and a kind, what tiles cost."""
    if what == "tiles":
        return tiles(*args)
    print(f"{TITLE}: minicredit | PyTorch; best of the rounds")
    for row in measure({"small": False, "rounds": 3, "burst": 0.03, "seconds": float(what)}):
        print(line(row), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
