"""The main job: the same network trained by every rule, side by side, with the same instruments.

A configuration (a dict of plain values, saved with the results) says everything that a run depends
on; `runs` turns it into results.  The test set never chooses: the epoch that is reported is the one
with the lowest validation error.
"""
import gc
import platform
import sys
from time import perf_counter

import numpy as np

from minicredit import __version__
from minicredit.errors import UserError
from minicredit.kernels import load, recording
from minicredit.memory import peaks
from minicredit.network import checked
from minicredit.presets import make, product, sizes_of, written
from minicredit.rules import RULES
from minicredit.settings import network_options
from minicredit.training import Diverged, epochs

PROBE_STEPS = 5             # steps that are timed beforehand, to tell how long the whole will take
PROBE_SECONDS = 5           # after which no further one is begun


def check(config, data):
    """Refuse a network that does not fit the data, and a backend that cannot be loaded.

    Raises
    ------
    UserError, BackendError
    """
    load(config["backend"])
    net, name = config["net"], config["data"]
    (shape, _), sizes, wanted = written(net), sizes_of(net), product(data.shape)
    image = data.shape if len(data.shape) == 3 else (*data.shape, 1)
    if sizes[0] != wanted or len(shape) == 3 and shape != image:
        raise UserError(f"--net: {name} has {wanted} inputs, {'x'.join(map(str, image))}; "
                        f"got {'x'.join(map(str, shape))} in {net}")
    checked(config["activation"], config["dtype"], config["init"])
    own = all(hasattr(RULES[rule], "create") for rule in config["rules"])
    if sizes[-1] != data.K and not (own and sizes[-1] in (1, 2)):
        raise UserError(f"--net: {name} has {data.K} classes; got {sizes[-1]} outputs in {net}")


def build(name, config, K, seed):
    """A fresh network and the rule that will train it.

    A rule that needs a network of its own kind builds it from the same sizes (`create` of its
    class); all others get the same network, weight for weight.
    """
    gc.collect()        # a rule before this one holds its own methods, a circle, and many bytes
    rule, net = RULES[name], config["net"]
    given, backend = dict(config["rules"][name]), recording(load(config["backend"]))
    common = {"backend": backend, "dtype": config["dtype"]}
    if hasattr(rule, "create"):
        sizes = sizes_of(net)
        if any(spec.kind != "dense" for spec in written(net)[1]):
            raise UserError(f"{name}: wanted a fully connected network, to make one of its own "
                            f"like it; got {net}")
        own = {option.name: given.pop(option.name) for option in network_options(rule)}
        classes = None if sizes[-1] == K else K
        net = rule.create(sizes, classes=classes, seed=seed, **common, **own)
    else:
        net = make(net, f=config["activation"], init=config["init"], seed=seed, **common)
    return rule(net, seed=seed, **given)


def steps(rule, x, y):
    """One step of each pass, on one batch."""
    for learn in rule.passes:
        rule.net.ops.take(learn, x, y)


def seconds_a_step(name, config, K, x, y):
    """How long one step of each pass takes, the mean of a few; seconds.

    The first two are not counted: in the first a backend may compile what it needs, and in the
    second what it recorded of the first.
    """
    rule, taken = build(name, config, K, seed=0), 0
    x, y = rule.net.ops.asarray(x), rule.net.ops.asarray(y)
    for _ in range(2):
        steps(rule, x, y)
    start = perf_counter()
    while taken < PROBE_STEPS and (not taken or perf_counter() - start < PROBE_SECONDS):
        steps(rule, x, y)
        taken += 1
    return (perf_counter() - start) / taken


def expected(config, data):
    """How long one run of each rule will take, from a few steps that are thrown away; seconds."""
    (x, y), = data.train.read([np.arange(min(config["batch"], data.train.n))])
    total = config["epochs"] * -(-data.train.n // config["batch"])
    return {name: total * seconds_a_step(name, config, data.K, x, y) for name in config["rules"]}


def runs(config, data, screen, needs, job=None):
    """Train every rule with every seed, the first seed of all rules first.

    Parameters
    ----------
    config : dict
    data : Dataset
    screen : see `minicredit.screen`
    needs : dict, as `minicredit.memory.needs` gives it
    job : Job or None
        Keeps what is done, and knows what was done before.

    Yields
    ------
    dict, one a run, as `results.json` holds it
    """
    screen.foresee(needs)
    screen.expect(expected(config, data))
    batch = min(config["batch"], data.train.n)
    memory = peaks({**config, "batch": batch}, product(data.shape), data.K, needs)
    for seed in range(config["seeds"]):
        for name in config["rules"]:
            keeper = job and job.keeper(name, seed)
            record = run(name, config, data, seed, screen, keeper)
            yield {**record, "peak_memory_bytes": memory[name]}


def run(name, config, data, seed, screen, keeper=None):
    """Train one rule with one seed; a dict as `results.json` holds it."""
    record = {"rule": name, "seed": seed, "epochs": []}
    screen.begin(name, seed)
    try:
        rule = build(name, config, data.K, seed)
        record["sizes"] = list(rule.net.sizes)
        for epoch in epochs(rule, data, config["epochs"], config["batch"], config["decay"], seed,
                            screen.tell, keeper):
            record["epochs"].append(epoch)
            screen.epoch(epoch)
    except Diverged as diverged:
        record["failed"] = str(diverged)
    if record["epochs"]:
        best = min(record["epochs"], key=lambda e: e["validation_error"])
        measured = {key: value for key, value in best.items() if "error" in key}
        record.update(best_epoch=best["epoch"], **measured,
                      seconds=sum(e["seconds"] for e in record["epochs"]))
    screen.end(record)
    return record


def versions():
    """What the numbers may depend on: minicredit, Python, NumPy, platform; dict of str."""
    return {"minicredit": __version__, "python": sys.version.split()[0], "numpy": np.__version__,
            "platform": platform.platform()}


def about():
    """{rule: {"title", "paper", "idea"}}, for the report."""
    return {name: {"title": rule.title, "paper": rule.paper, "idea": rule.idea}
            for name, rule in RULES.items()}
