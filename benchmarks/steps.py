"""What a step of each rule costs, as a ratio to backprop's, side by side in one run.

    python benchmarks/steps.py [--net 784-5x256-10] [--batch 128] [--rounds 9] [--dtype float32]

Rounds are interleaved: every rule takes a burst of steps, then every rule another, so a machine
that slows down slows all of them.  The ratio is taken within a round; median, least and most over
the rounds are printed.  A step of an alternating rule is one step of each of its passes.
"""
import argparse
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.table import Table

from minicredit.compare import build
from minicredit.presets import sizes_of
from minicredit.rules import RULES
from minicredit.settings import hyperparameters

BURST = 0.2             # seconds a rule runs in one round, at least


def prepare(name, net, batch, backend, dtype):
    """The rule, and a batch for it."""
    sizes = sizes_of(net)
    config = {"net": net, "activation": "tanh", "init": "glorot", "backend": backend,
              "dtype": dtype, "rules": {name: hyperparameters(name, {})}}
    rule = build(name, config, sizes[-1], seed=0)
    random = np.random.default_rng(0)
    x = rule.net.ops.asarray(random.random((batch, sizes[0])).astype(dtype))
    y = rule.net.ops.asarray(random.integers(0, sizes[-1], batch))
    return rule, x, y


def burst(rule, x, y):
    """Milliseconds a step, over as many steps as fill the burst."""
    steps, start = 0, perf_counter()
    while steps < 3 or perf_counter() - start < BURST:
        for learn in rule.passes:
            learn(x, y)
        steps += 1
    return 1e3 * (perf_counter() - start) / steps


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="784-5x256-10")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    jobs = {name: prepare(name, args.net, args.batch, args.backend, args.dtype) for name in RULES}
    for job in jobs.values():                           # caches warm, optimiser state allocated
        burst(*job)
    times = {name: [] for name in jobs}
    for _ in range(args.rounds):
        for name, job in jobs.items():
            times[name].append(burst(*job))
    table = Table(title=f"{args.net}, batch {args.batch}, {args.dtype}, {args.backend}, "
                        f"{args.rounds} rounds")
    for column in ("rule", "ms a step", "times backprop", "least", "most"):
        table.add_column(column, justify="left" if column == "rule" else "right")
    for name, values in times.items():
        ratio = np.array(values) / times["bp"]
        table.add_row(name, f"{np.median(values):.2f}", f"{np.median(ratio):.2f}",
                      f"{ratio.min():.2f}", f"{ratio.max():.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
