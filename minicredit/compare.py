"""The main job: the same network trained by every rule, side by side, with the same instruments.

A configuration (a dict of plain values, saved with the results) says everything that a run depends
on; `runs` turns it into results.  The test set never chooses: the epoch that is reported is the one
with the lowest validation error.
"""
import platform
import sys
import tracemalloc
from time import perf_counter

import numpy as np

from minicredit import __version__
from minicredit.errors import UserError
from minicredit.network import create
from minicredit.presets import sizes_of
from minicredit.rules import RULES
from minicredit.training import Diverged, epochs

PROBE_STEPS = 5             # steps that are timed beforehand, to tell how long the whole will take


def check(config, data):
    """Refuse a network that does not fit the data.

    Raises
    ------
    UserError
    """
    sizes, features = sizes_of(config["net"]), data.train.x.shape[1]
    if sizes[0] != features:
        raise UserError(f"--net: {config['data']} has {features} inputs; got {sizes[0]} "
                        f"in {config['net']}")
    own = all(hasattr(RULES[name], "create") for name in config["rules"])
    if sizes[-1] != data.K and not (own and sizes[-1] in (1, 2)):
        raise UserError(f"--net: {config['data']} has {data.K} classes; got {sizes[-1]} outputs "
                        f"in {config['net']}")


def build(name, config, data, seed):
    """A fresh network and the rule that will train it.

    A rule that needs a network of its own kind builds it from the same sizes (`create` of its
    class); all others get the same network, weight for weight.
    """
    rule, sizes = RULES[name], sizes_of(config["net"])
    common = {"backend": config["backend"], "dtype": config["dtype"], "seed": seed}
    if hasattr(rule, "create"):
        classes = None if sizes[-1] == data.K else data.K
        net = rule.create(sizes, classes=classes, **common)
    else:
        net = create(sizes, f=config["activation"], init=config["init"], **common)
    return rule(net, seed=seed, **config["rules"][name])


def probe(name, config, data):
    """What a rule costs, tried on a network that is thrown away.

    Returns
    -------
    seconds : float
        Of one epoch, estimated from a few steps.
    peak : int
        Bytes alive at once at the worst moment of building the rule and of its first steps:
        weights, optimiser state, activities, temporaries; the images are not among them.
    """
    n = len(data.train.y)
    tracemalloc.start()
    try:
        rule = build(name, config, data, seed=0)
        x, y = (rule.net.ops.asarray(array[:config["batch"]]) for array in data.train)
        for learn in rule.passes:
            learn(x, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    start = perf_counter()
    for learn in rule.passes:
        for _ in range(PROBE_STEPS):
            learn(x, y)
    return (perf_counter() - start) / PROBE_STEPS * -(-n // config["batch"]), peak


def runs(config, data, screen):
    """Train every rule with every seed, the first seed of all rules first.

    Parameters
    ----------
    config : dict
    data : Dataset
    screen : see `minicredit.screen`

    Yields
    ------
    dict, one a run, as `results.json` holds it
    """
    cost = {name: probe(name, config, data) for name in config["rules"]}
    screen.expect({name: config["epochs"] * seconds for name, (seconds, _) in cost.items()})
    for seed in range(config["seeds"]):
        for name in config["rules"]:
            yield run(name, config, data, seed, screen, cost[name][1])


def run(name, config, data, seed, screen, peak):
    """Train one rule with one seed; a dict as `results.json` holds it."""
    record = {"rule": name, "seed": seed, "epochs": []}
    screen.begin(name, seed)
    try:
        rule = build(name, config, data, seed)
        for epoch in epochs(rule, data, config["epochs"], config["batch"], config["decay"], seed,
                            screen.tell):
            record["epochs"].append(epoch)
            screen.epoch(epoch)
    except Diverged as diverged:
        record["failed"] = str(diverged)
    if record["epochs"]:
        best = min(record["epochs"], key=lambda e: e["validation_error"])
        record.update(best_epoch=best["epoch"], test_error=best["test_error"],
                      train_error=best["train_error"], validation_error=best["validation_error"],
                      seconds=sum(e["seconds"] for e in record["epochs"]))
    record["peak_memory_bytes"] = peak
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
