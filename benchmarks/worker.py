"""One process for one number of threads: measures rows, and says each on a line of its own.

    python -m benchmarks.worker         the question, JSON, comes on stdin

Libraries read how many threads to start when they are imported, so the number is in the environment
that this process is started with (`environment`), and it is bound to as many processors before it
imports any of them.
"""
import json
import os
import sys
import traceback
from importlib import import_module

WITH_THREADS = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"
SAYS = "benchmarks: "           # begins the lines that are ours, whatever libraries print
MODULES = {"dtp": "steps", "bp": "steps", "fa": "steps", "targets": "steps", "lc": "layers",
           "start": "start", "rules": "rules", "ladder": "ladder"}


def environment(threads):
    """The environment of a process with so many threads; dict."""
    found = {**os.environ, **dict.fromkeys(WITH_THREADS, str(threads)), "JAX_PLATFORMS": "cpu",
             "CUDA_VISIBLE_DEVICES": ""}
    if threads == 1:
        found["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return found


def bind(threads):
    """Stay on as many processors as there are threads: JAX starts one for each that it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def say(**what):
    """A line for whoever started this."""
    print(SAYS + json.dumps(what), flush=True)


def measured(group, number, options):
    """One row; if it fails, a row that says so, because those after it may not."""
    module = import_module(f"benchmarks.{MODULES[group]}")
    name = module.jobs(group, options)[number][0]
    say(start=name)
    try:
        row = module.measure(group, number, options)
    except Exception as failed:
        traceback.print_exc()
        return {"group": group, "what": name, "times": {}, "others": None,
                "left_out": {"all": f"FAILED: {type(failed).__name__}: {failed}"[:200]}}
    from benchmarks.machine import changed_threads
    row["left_out"].update(changed_threads(options["threads"]))
    return row


def main():
    """Measure what is asked for."""
    asked = json.load(sys.stdin)
    bind(asked["options"]["threads"])
    from benchmarks.machine import versions             # the libraries come with these
    for group, number in asked["jobs"]:
        row = measured(group, number, asked["options"])
        say(row={**row, "threads": asked["options"]["threads"]})
    say(versions=versions())


if __name__ == "__main__":
    main()
