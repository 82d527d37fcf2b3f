"""What an epoch of every rule costs on a GPU, on the networks of Bartunov et al. 2018.

An epoch is one step of each of the rule's passes for every batch of 128 of the training images; an
alternating rule has two passes.  Measured are passes over a SLICE of an epoch, as training does
them, on images of noise that lie on the device; an epoch is that times the number of its steps.
Hyperparameters are the defaults.  Before it is timed, the first step is compared with NumPy's, from
the same weights and with the same noise.
"""
from benchmarks.check import MOST, Wrong, off
from benchmarks.gpu_steps import OURS, alike, is_recorded, run_over
from benchmarks.rules import BATCH, Passes, change
from minicredit.errors import UserError
from minicredit.rules import RULES

IMAGES = {"mnist-fc": 55_000, "mnist-lc": 55_000, "cifar-fc": 45_000, "cifar-lc": 45_000}
SMALL = {"64-2x8-10": 1000, "8x8x1-lc3x2s2-10": 1000}
SLICE = 20                      # batches
SIDE_BY_SIDE = 3                # processes for the network whose reference takes longest


def cases(options):
    """(net, rule) of each row."""
    return [(net, rule) for net in (SMALL if options["small"] else IMAGES) for rule in RULES]


def name(number, options):
    """Of a row, as it stands in the table."""
    return cases(options)[number][0]


def processes(options):
    """(library, rows) of each process: one a network, of the largest several."""
    found, rows = [], [(number, *case) for number, case in enumerate(cases(options))
                       if case[1] in options["rules"]]
    for net in dict.fromkeys(net for _, net, _ in rows):
        own = [number for number, where, _ in rows if where == net]
        n = SIDE_BY_SIDE if net == "cifar-lc" else 1
        found += [("ours", own[first::n]) for first in range(n)]
    return found


def steps(number, options):
    """Of an epoch; each is one of every pass."""
    images = {**IMAGES, **SMALL}[cases(options)[number][0]]
    return -(-images // BATCH)


def prepare(library, number, options):
    """See `benchmarks.gpu_steps.prepare`; a step is one of each pass.

    A rule that cannot have the network is left out, and says why.
    """
    net, rule = cases(options)[number]
    said = {"rule": rule, "steps": steps(number, options), "operations": None, "left_out": {}}
    backend = "cuda" if options["device"] == "cuda" else "emulated"
    try:
        ours = Passes(rule, net, backend)
    except UserError as refused:
        return {}, {**said, "left_out": {OURS: str(refused)}}
    error, where = off(change(ours), change(Passes(rule, net, "numpy")))
    if not error <= MOST:
        raise Wrong(f"{where} is off by {error:.2g} of what it should change by")
    ops = ours.rule.net.ops
    batch = ops.to_numpy(ours.x), ops.to_numpy(ours.y)
    split = alike(*batch, 3 if options["small"] else SLICE)

    def begin():
        for learn in ours.rule.passes:
            run_over(ops, learn, split, BATCH)

    begin()
    begin()
    if not is_recorded(ops):
        said["left_out"] = {"a launch a step": f"not recorded: {ops.why}"}
    ready = {OURS: (begin, ops.device.synchronize, split.n // BATCH)}
    return ready, {**said, "errors": {OURS: error}}
