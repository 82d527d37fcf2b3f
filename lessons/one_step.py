"""One step of one rule on a small network, to be stepped through.

    python -m minicredit.lessons.one_step dtp           set a breakpoint at the last line, step in
    python -m minicredit.lessons.one_step dtp numba

`rule.step` is a few lines; `feedback` is the paper's equations, one to a line, with the paper's
letters; below it are the layer and the operation, and that is all there is.
"""
import sys

import numpy as np

from minicredit import create
from minicredit.rules import RULES


def small(name, backend="numpy"):
    """A rule on a network of 6-5-4-3 units, and a batch of two examples for it."""
    Rule = RULES[name]
    net = getattr(Rule, "create", create)((6, 5, 4, 3), backend=backend)
    x = np.random.default_rng(0).random((2, 6)).astype("float32")
    return Rule(net), net.ops.asarray(x), net.ops.asarray(np.array([0, 2]))


def main(name="bp", backend="numpy"):
    """One step."""
    rule, x, y = small(name, backend)
    before = rule.net.ops.to_numpy(rule.step(x, y))         # the loss of each example, before it
    after = rule.net.ops.to_numpy(rule.step(x, y))
    print(f"{rule.title}: loss {before}, then {after}")


if __name__ == "__main__":
    main(*sys.argv[1:])
