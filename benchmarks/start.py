"""How long until the first step of a new process is done: interpreter, imports, compilation, step.

    cold    the directory of Numba's cache is empty: everything that the rule needs is compiled
    warm    the same again, from what the cold one left there

NumPy compiles nothing and stands beside.  The processes see what minicredit's own installation has.
SciPy is no part of that, but JAX is here for the other tables and brings it, and Numba imports it
where it finds it: what that costs is a column of its own.
"""
import os
import subprocess
import sys
import tempfile
from time import perf_counter

from benchmarks.steps import LEE, SMALL

RULES = "dtp", "bp", "kickback"
WARM = 3                        # processes, of which the median counts
CODE = """
import sys
if sys.argv.pop() == "hidden":
    sys.modules["scipy"] = None
import numpy as np
from minicredit.compare import build
from minicredit.presets import sizes_of
from minicredit.settings import hyperparameters
rule, net, backend = sys.argv[1:]
config = {"net": net, "activation": "tanh", "init": "glorot", "backend": backend,
          "dtype": "float32", "rules": {rule: hyperparameters(rule, {})}}
sizes = sizes_of(net)
rule = build(rule, config, sizes[-1], seed=0)
x = rule.net.ops.asarray(np.ones((100, sizes[0]), np.float32))
rule.net.ops.take(rule.step, x, rule.net.ops.asarray(np.zeros(100, np.int64)))
"""


def jobs(group, options):
    """(name, seconds it will take, roughly) of each row."""
    return [(named(rule, options), 2 if options["small"] else 20) for rule in RULES]


def named(rule, options):
    """As it stands in a table."""
    return f"{rule} {SMALL if options['small'] else LEE} tanh, batch 100, Adam"


def first_step(rule, net, backend, cache, scipy="hidden"):
    """Seconds from starting a process to the end of its first step."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)        # Python keeps what it has compiled, too
    start = perf_counter()
    subprocess.run([sys.executable, "-c", CODE, rule, net, backend, scipy], check=True,
                   env=environment)
    return perf_counter() - start


def measure(group, number, options):
    """One row; dict, see `benchmarks.tables`."""
    rule, net = RULES[number], SMALL if options["small"] else LEE
    warm = 1 if options["small"] else WARM
    with tempfile.TemporaryDirectory() as cache:
        times = {"numba, cold": [first_step(rule, net, "numba", cache)],
                 "numba, warm": [first_step(rule, net, "numba", cache) for _ in range(warm)],
                 "warm, with SciPy": [first_step(rule, net, "numba", cache, "seen")
                                      for _ in range(warm)],
                 "numpy": [first_step(rule, net, "numpy", cache) for _ in range(warm)]}
    return {"group": group, "what": named(rule, options), "times": times, "left_out": {},
            "others": None}
