"""How much memory a rule needs: the bytes alive at once at the worst moment of its first steps.

Weights, feedback and optimiser state, activities, temporaries, as Python and NumPy allocate them;
the images are not among them.  It is measured in a process of its own, whose hash seed is fixed,
and rounded up to whole units of 64 KiB, because the last few hundred bytes, Python's own, differ
from run to run.  The images there are blank: memory does not depend on what they show.
"""
import gc
import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np

UNIT = 2**16


def peaks(config, features, K):
    """Peak memory of every rule of a configuration; dict of bytes.

    Parameters
    ----------
    config : dict, as `minicredit.compare` takes it
    features, K : int
        Inputs and classes.
    """
    question = json.dumps({"config": config, "features": features, "K": K})
    answer = subprocess.run([sys.executable, "-m", "minicredit.memory"], input=question, text=True,
                            stdout=subprocess.PIPE, check=True,
                            env={**os.environ, "PYTHONHASHSEED": "0"})
    return json.loads(answer.stdout)


def peak(name, config, features, K):
    """Peak memory of the rule `name`, in this process; bytes."""
    from minicredit.compare import first_steps
    x = np.zeros((config["batch"], features), config["dtype"])
    y = np.zeros(config["batch"], np.int64)
    first_steps(name, config, K, x, y, 1)               # what is allocated once and kept, is there
    gc.collect()
    tracemalloc.start()
    try:
        first_steps(name, config, K, x, y, 1)
        return -(-tracemalloc.get_traced_memory()[1] // UNIT) * UNIT
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps({name: peak(name, **asked) for name in asked["config"]["rules"]}))
