"""What the tests share: one tolerance, and the networks, batches and rules that they ask.

Set MINICREDIT_EXAMPLES to let hypothesis draw more networks than the 20 of every run, and
MINICREDIT_BACKENDS to names with commas to ask these backends alone.  Tests marked gpu are skipped,
with the reason, where there is no GPU; `pytest -m gpu --require-gpu` makes that a failure.
"""
import os
from functools import cache

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")          # the arrays are small

import numpy as np
import pytest
from hypothesis import Phase, settings

from minicredit import create, data
from minicredit.compare import build as built
from minicredit.kernels import BACKENDS, BackendError, load
from minicredit.rules import RULES
from minicredit.settings import hyperparameters

settings.register_profile("minicredit", deadline=None, derandomize=True, database=None,
                          max_examples=int(os.environ.get("MINICREDIT_EXAMPLES", 20)))
settings.register_profile("first failure", settings.get_profile("minicredit"),
                          phases=[Phase.explicit, Phase.generate])      # no smaller example sought
settings.load_profile("minicredit")

ULPS = 4                        # an entry is a short chain: product, sum, nonlinearity, difference
SIZES = 3, 24, 20, 4            # no two layers alike, so that nothing transposed fits
DIGITS = "64-24-20-10"          # and of a network for the digits
TIMES, FLOOR = 12, 1e-5         # of float32's own rounding, that a run may be off, as in benchmarks


def assert_close(got, want, terms=1, scale=None):
    """`got` is `want` up to rounding in the precision of `got`; NaN and infinity fail.

    Each of the `terms` numbers that were summed may cost ULPS units in the last place of `scale`:
    the size of what was added, which may be far larger than what is left.  By default the largest
    entry of `want`.
    """
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"shape {got.shape}, wanted {want.shape}"
    assert np.isfinite(want).all() and np.isfinite(got).all(), "not finite"
    scale = np.abs(want).max(initial=0) if scale is None else scale
    allowed = ULPS * terms * np.finfo(got.dtype).eps * np.asarray(scale, np.float64)
    error = np.abs(got.astype(np.float64) - want)
    worst = (error / (allowed + 1e-300)).max(initial=0)
    assert (error <= allowed).all(), f"off by {worst:.3g} times what is allowed"


def same(got, want):
    """Bit for bit; as NaN is not itself here, it fails."""
    return got.dtype == want.dtype and got.shape == want.shape and bool((got == want).all())


def pytest_addoption(parser):
    """--require-gpu: a run that should have a GPU cannot pass by skipping; and --bare-memory."""
    parser.addoption("--require-gpu", action="store_true",
                     help="what is marked gpu fails where there is no GPU; it is not skipped")
    parser.addoption("--bare-memory", action="store_true",
                     help="each array on a GPU is memory from the driver, unwritten, for "
                          "compute-sanitizer; it is not from CuPy's pool and full of NaN")


def pytest_configure(config):
    """CuPy hands out memory as it is asked to."""
    if config.getoption("--bare-memory"):
        import cupy
        cupy.cuda.set_allocator(None)


@cache
def why_no_gpu():
    """Why there is no GPU to test on; an empty text if there is one."""
    try:
        load("cuda")
        return ""
    except BackendError as missing:
        return str(missing).splitlines()[0]


def pytest_runtest_setup(item):
    """What is marked gpu needs one."""
    if item.get_closest_marker("gpu") and why_no_gpu():
        told = pytest.fail if item.config.getoption("--require-gpu") else pytest.skip
        told(why_no_gpu())


def asked():
    """The backends to test: those that load here, and cuda, whose tests are marked gpu."""
    names = os.environ.get("MINICREDIT_BACKENDS", ",".join(BACKENDS)).split(",")
    return [pytest.param(name, marks=pytest.mark.gpu) if name == "cuda" else name
            for name in names if name == "cuda" or loads(name)]


def loads(name):
    """Whether a backend loads here; `test_a_backend_loads_or_says_why` asks about the rest."""
    try:
        load(name)
    except BackendError:
        return False
    return True


@pytest.fixture(params=asked())
def ops(request):
    """Every backend that loads here, one after the other."""
    if request.param == "cuda":
        poison(load("cuda").device, request.config)
    return load(request.param)


@pytest.fixture(scope="session", params=["emulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """What runs a kernel: a CPU that watches every access of its memory, then a GPU."""
    if request.param == "cuda":
        return poison(load("cuda").device, request.config)
    try:
        from minicredit.kernels.cuda import emulator
        return emulator.Device(checked=True)
    except ImportError as missing:
        pytest.skip(str(missing))


def poison(device, config):
    """From now on every byte of new memory is 255: NaN, or -1, until it is written."""
    if config.getoption("--bare-memory") or hasattr(device.empty, "poisoned"):
        return device
    plain = device.empty

    def empty(shape, dtype):
        array = plain(shape, dtype)
        if array.size:
            array.data.memset_async(255, array.nbytes)
        return array

    empty.poisoned = True
    device.empty = empty
    return device


@pytest.fixture(params=sorted(RULES))
def name(request):
    """Every rule, by name."""
    return request.param


def build(name, sizes=SIZES, f="tanh", loss="cross-entropy", dtype="float64", net_seed=0, seed=0,
          init="glorot", **options):
    """A rule on a network of its own, with biases that are not 0, as they are at the start."""
    rule = RULES[name]
    net = getattr(rule, "create", create)(sizes, f=f, dtype=dtype, init=init, loss=loss,
                                          seed=net_seed)
    rule = rule(net, seed=seed, **options)
    biases = {key: b for key, b in {**net.parameters(), **rule.arrays}.items() if key[0] in "bc"}
    for key, b in biases.items():
        b[...] = 0.2 * np.random.default_rng((ord(key[0]), *b.shape)).standard_normal(b.shape)
    return rule


def batch(net, N=7, seed=0):
    """N inputs, and labels in which every class appears, or targets for a squared loss."""
    rng = np.random.default_rng((N, seed))
    x = rng.standard_normal((N, net.sizes[0])).astype(net.dtype)
    if net.loss is getattr(net.ops, "squared_error", None):
        return x, rng.standard_normal((N, net.sizes[-1])).astype(net.dtype)
    K = getattr(net, "K", net.sizes[-1])
    return x, rng.permutation(np.arange(N) % K)


def arrays(rule):
    """Every array of a rule and its network, by name: the arrays themselves, not copies."""
    return {**rule.net.parameters(), **rule.arrays}


def copies(rule):
    """The same, copied."""
    return {name: array.copy() for name, array in arrays(rule).items()}


def rule_of(name, backend, dtype="float32", net=DIGITS, **given):
    """A rule on the digits' network; `backend` is a name."""
    config = {"net": net, "activation": "tanh", "init": "glorot", "backend": backend,
              "dtype": dtype, "rules": {name: hyperparameters(name, given)}}
    return built(name, config, 10, seed=0)


def batches(n, batch=50, seed=0):
    """n batches of the digits."""
    digits, random = data.load("digits").train, np.random.default_rng(seed)
    for _ in range(n):
        rows = random.permutation(digits.n)[:batch]
        yield digits.x[rows], digits.y[rows]


def course(rule, steps, batch=50):
    """Each step's mean losses, with a learning rate that falls."""
    ops, losses = rule.net.ops, []
    for t, (x, y) in enumerate(batches(steps, batch)):
        for optimizer in rule.optimizers:
            optimizer.scale = 1 - t / steps
        for learn in rule.passes:
            loss = ops.take(learn, ops.asarray(x.astype(rule.net.dtype)), ops.asarray(y))
        losses.append(float(loss.mean()))
    return np.array(losses)


def onehot(y, K):
    """(N,) labels -> (N, K)."""
    return np.eye(K)[y]
