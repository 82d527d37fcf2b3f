"""What each rule costs on the networks of Bartunov et al. 2018: seconds an epoch of MNIST, and
memory.

An epoch is one step of each of the rule's passes for every batch of the 55 000 training images; an
alternating rule has two passes.  Memory is what the process holds at the worst moment of a step
above what it held before the rule was built: weights, optimiser state, activities, temporaries.
Hyperparameters are the defaults.  Before it is timed, a backend's first step is compared with
NumPy's in float64, from the same weights and with the same noise.
"""
import numpy as np

from benchmarks.check import MOST, off
from benchmarks.steps import backends
from benchmarks.tasks import arrays_of
from benchmarks.timing import Others, give_back, resident, rounds, transient
from minicredit.compare import build
from minicredit.errors import UserError
from minicredit.presets import sizes_of
from minicredit.rules import RULES
from minicredit.settings import hyperparameters

NETS = "mnist-fc", "mnist-lc"
SMALL = "64-2x8-10", "8x8x1-lc3x2s2-10"
BATCH, IMAGES = 128, 55_000
SECONDS = {"mnist-fc": 2, "mnist-lc": 4}       # that a row takes, roughly
MOST_ROUNDS = 3                                 # costs that differ by far more than the noise


def cases(options):
    """(net, rule) of each row."""
    return [(net, rule) for net in (SMALL if options["small"] else NETS) for rule in RULES]


def jobs(group, options):
    """(name, seconds it will take, roughly) of each row."""
    return [(f"{rule} {net}", SECONDS.get(net, 1)) for net, rule in cases(options)]


class Passes:
    """A rule with a batch; one step of each of its passes.

    Raises
    ------
    UserError
        If the rule refuses the network.
    """

    def __init__(self, name, net, backend, dtype="float32"):
        config = {"net": net, "activation": "tanh", "init": "glorot", "backend": backend,
                  "dtype": dtype, "rules": {name: hyperparameters(name, {})}}
        sizes, random = sizes_of(net), np.random.default_rng(0)
        self.rule = build(name, config, sizes[-1], seed=0)
        ops = self.rule.net.ops
        self.x = ops.asarray(random.random((BATCH, sizes[0]), np.float32).astype(dtype))
        self.y = ops.asarray(random.integers(0, sizes[-1], BATCH))

    def step(self):
        """One step of each pass."""
        for learn in self.rule.passes:
            self.rule.net.ops.take(learn, self.x, self.y)


def change(passes):
    """What one step changes every array by; dict."""
    before = arrays_of(passes.rule)
    passes.step()
    after = arrays_of(passes.rule)
    return {name: after[name].astype("float64") - before[name] for name in before}


def memory(name, net, backend):
    """Bytes, for a process that has seen such a step: what is loaded and compiled once is there."""
    give_back()
    before = resident()
    passes = Passes(name, net, backend)
    passes.step()                               # optimisers make their state in the first step
    return transient(passes.step, before)


def measure(group, number, options):
    """One row; dict, see `benchmarks.tables`."""
    net, name = cases(options)[number]
    row = {"group": group, "what": net, "rule": name, "times": {}, "memory": {}, "left_out": {},
           "errors": {}, "others": None, "steps": -(-IMAGES // BATCH)}
    found = backends(options["without"], row["left_out"])
    try:
        ready = {ours: Passes(name, net, backend) for ours, backend in found.items()}
    except UserError as refused:
        return {**row, "left_out": {"all": str(refused)}}
    want = change(Passes(name, net, "numpy", "float64"))
    for ours in list(ready):
        row["errors"][ours], where = off(change(ready[ours]), want)
        if not row["errors"][ours] <= MOST:
            row["left_out"][ours] = f"WRONG, not timed: {where} off by {row['errors'][ours]:.2g}"
            del ready[ours]
    others = Others()
    row["times"], _ = rounds({ours: passes.step for ours, passes in ready.items()},
                             min(options["rounds"], MOST_ROUNDS), options["burst"], side=0)
    row["others"], kept = others.processors(), list(ready)
    del ready, want
    row["memory"] = {ours: memory(name, net, found[ours]) for ours in kept}
    return row
