"""How much memory a rule needs: predicted before anything is allocated, then measured.

Both count the bytes alive at once at the worst moment of a rule's first steps: weights, feedback
and optimiser state, activities, temporaries, and what it took to draw the weights; the images are
not among them.

Predicted: the network and the rule are built and taught on `minicredit.kernels.shapes`, whose
arrays have a size and no numbers, in less than a second and next to no memory.  That is what the
NumPy reference allocates, and an upper bound for backends that fuse its operations; of one that
records a step, and keeps all that the step makes, all of that is counted.  The instruments look at
more images at once than a step does, so a whole run may need more: this is what a machine must
have, and what is refused beforehand.

Measured: as Python and NumPy allocate, in a process of its own, whose hash seed is fixed, and
rounded up to whole units of 64 KiB, because the last few hundred bytes, Python's own, differ from
run to run.  The images there are blank: memory does not depend on what they show.
"""
import gc
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minicredit.errors import UserError
from minicredit.kernels import load, recording, shapes

UNIT = 2**16
SAVED = 3                       # times its own size: what a rule needs while it becomes a file
LARGE = 2**30                   # bytes: beside more, what Python and NumPy keep does not count
CGROUPS = {"": ("max", "current"), "memory/": ("limit_in_bytes", "usage_in_bytes")}     # v2, v1


class Need(NamedTuple):
    """Bytes alive at once, predicted.

    steps : while a rule is built and takes its first steps; what `peaks` measures
    run : in a whole run, with its instruments
    """

    steps: int
    run: int


# Predicted ----------------------------------------------------------------------------------------

def needs(config, data):
    """The memory that every rule of a configuration will need; dict of `Need`.

    Parameters
    ----------
    config : dict, as `minicredit.compare` takes it
    data : Dataset

    Raises
    ------
    UserError
        If a rule cannot be had with this network or these options.
    """
    return {name: need(name, config, data) for name in config["rules"]}


def need(name, config, data):
    """The memory that the rule `name` will need; `Need`."""
    from minicredit.compare import build, steps
    from minicredit.measure import angle_to_backprop
    from minicredit.measure.angles import AT_ONCE
    from minicredit.network import forward
    from minicredit.state import size as size_of_state
    from minicredit.training import WATCHED
    ops, meter = shapes.metered()
    x, y = blank(ops, config, data, min(config["batch"], data.train.n))
    pictures = meter.reset()
    rule = build(name, {**config, "backend": ops}, data.K, seed=0)
    real = recording(load(config["backend"]))
    meter.keep(hasattr(real, "keeps") and real.keeps(rule.net.sizes))
    steps(rule, x, y)
    meter.keep(False)
    learning = meter.peak - pictures
    x, y = blank(ops, config, data, min(WATCHED, data.validation.n))
    angle_to_backprop(rule, x, y)
    n = min(AT_ONCE, max(split.n for split in (data.train, data.validation, data.test)))
    x, *waiting = [blank(ops, config, data, n)[0]           # kept: decoded while x is looked at
                   for _ in range(1 + getattr(data.train, "ahead", 0))]
    forward(rule.net, x)
    return Need(learning, max(learning, meter.peak, SAVED * size_of_state(rule)))


def blank(ops, config, data, n):
    """A batch of n images that show nothing: x (n, features) and y (n,)."""
    x = np.broadcast_to(np.zeros((), config["dtype"]), (n, int(np.prod(data.shape))))
    return ops.asarray(x), ops.asarray(np.broadcast_to(np.zeros((), np.int64), n))


def refuse_above(most, config, needs):
    """Refuse a rule that needs more memory than there is.

    Parameters
    ----------
    most : int or None
        Bytes; None where nobody knows.
    config : dict, as `minicredit.compare` takes it
    needs : dict of `Need`

    Raises
    ------
    UserError
        Names the rule, both sizes, and what would help.
    """
    for name, need in needs.items():
        if most is not None and need.run > most:
            given, help = config["rules"][name], ["a smaller --net or image"]
            help += ["a smaller --batch"] * (config["batch"] > 1)
            help += ["--dtype float32"] * (config["dtype"] == "float64")
            help += ["optimizer=sgd"] * (not str(given.get("optimizer", "sgd")).startswith("sgd"))
            raise UserError(f"{name}: wanted {size(need.run)} of memory ({need.run:,} bytes), got "
                            f"{size(most)} ({most:,} bytes); what helps: {', '.join(help)}")


def available():
    """Memory that this machine, or its container, can still give; bytes, or None if unknown."""
    known = []
    for line in lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            known.append(1024 * int(line.split()[1]))
    for folder, names in CGROUPS.items():
        limit, usage, stat = (lines(f"/sys/fs/cgroup/{folder}memory.{name}")
                              for name in (*names, "stat"))
        if limit and usage and limit[0].isdecimal():
            cached = sum(int(line.split()[1]) for line in stat      # given back when it is wanted
                         if line.startswith(("inactive_file ", "active_file ")))
            known.append(max(0, int(limit[0]) - int(usage[0]) + cached))
    return min(known, default=None)


def lines(path):
    """The lines of a file; none where there is no such file."""
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def size(n_bytes):
    """3 * 2**30 -> "3.0 GiB"."""
    unit = 2**30 if n_bytes >= 2**30 else 2**20
    return f"{n_bytes / unit:.1f} {'GiB' if unit == 2**30 else 'MiB'}"


# Measured -----------------------------------------------------------------------------------------

def peaks(config, features, K, needs):
    """Peak memory of every rule of a configuration; dict of bytes.

    Parameters
    ----------
    config : dict, as `minicredit.compare` takes it
    features, K : int
        Inputs and classes.
    needs : dict of `Need`
        What was predicted.
    """
    gc.collect()            # a rule that this process has timed would stay beside those measured
    cold = [name for name, need in needs.items() if need.steps > LARGE]
    question = json.dumps({"config": config, "features": features, "K": K, "cold": cold})
    answer = subprocess.run([sys.executable, "-m", "minicredit.memory"], input=question, text=True,
                            stdout=subprocess.PIPE, check=True,
                            env={**os.environ, "PYTHONHASHSEED": "0"})
    return json.loads(answer.stdout)


def peak(name, config, features, K, warm=True):
    """Peak memory of the rule `name`, in this process; bytes.

    `warm`: take the first steps once before, so that what is allocated once and kept, is there.
    """
    x = np.zeros((config["batch"], features), config["dtype"])
    y = np.zeros(config["batch"], np.int64)
    if warm:
        first_steps(name, config, K, x, y)
    gc.collect()
    tracemalloc.start()
    try:
        first_steps(name, config, K, x, y)
        return -(-tracemalloc.get_traced_memory()[1] // UNIT) * UNIT
    finally:
        tracemalloc.stop()


def first_steps(name, config, K, x, y):
    """Build a rule and take its first step of each pass."""
    from minicredit.compare import build, steps
    rule = build(name, config, K, seed=0)
    steps(rule, rule.net.ops.asarray(x), rule.net.ops.asarray(y))


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    cold = asked.pop("cold", [])
    print(json.dumps({name: peak(name, **asked, warm=name not in cold)
                      for name in asked["config"]["rules"]}))
