"""One process on the GPU: prepares contenders, then times one each time it is asked.

    python -m benchmarks.gpu_worker     JSON, a line each: questions on stdin, answers on stdout

    {"prepare": [row, ...], "part", "library", "options", "seconds"}
                        an answer a row: errors, left_out, names
    {"time": [row, name], "seconds", "id"}
                        {"seconds": of a step}, or {"failed"}; and the id
    {"measure": part, "options"}
                        an answer a row, from a part that does all by itself; then {"done": true}

Every library has a process of its own, so no two meet, one that hangs or dies takes only its own
rows with it, and all compile at the same time, before anything is timed.  `benchmarks.gpu` asks.
"""
import json
import os
import sys
import traceback
from importlib import import_module
from time import perf_counter

SAYS = "benchmarks: "           # begins the lines that are ours, whatever libraries print
PARTS = {"steps": "gpu_steps", "epochs": "gpu_epochs", "products": "gpu_products",
         "images": "gpu_images"}
SHARE = 0.15                    # of a burst, that wakes the GPU and does not count


def environment(device):
    """Of such a process: float32 products in float32, memory as it is needed; dict."""
    return {**os.environ, "JAX_PLATFORMS": "cuda" if device == "cuda" else "cpu",
            "JAX_DEFAULT_MATMUL_PRECISION": "highest", "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "NVIDIA_TF32_OVERRIDE": "0", "TORCHINDUCTOR_COMPILE_THREADS": "4",
            "OMP_NUM_THREADS": "4" if device == "cuda" else "1",
            **({} if device == "cuda" else {"CUDA_VISIBLE_DEVICES": ""})}


def say(**what):
    """A line for whoever started this."""
    print(SAYS + json.dumps(what), flush=True)


class Clock:
    """Times a contender.

    Parameters
    ----------
    begin, finish : functions
        Begin some steps; wait until all that was begun is done.
    at_once : int
        How many steps are begun.
    """

    def __init__(self, begin, finish, at_once):
        self.begin, self.finish, self.at_once, self.one = begin, finish, at_once, None

    def burst(self, seconds):
        """Seconds a step, over as many as fill the burst."""
        if self.one is None:
            self.calls(1)
            self.one = self.calls(1)
        self.calls(int(SHARE * seconds / self.one))
        n = max(1, int(seconds / self.one))
        self.one = self.calls(n) / n
        return self.one / self.at_once

    def calls(self, n):
        """How long n calls take, from the first to the end of the last; seconds."""
        self.finish()
        start = perf_counter()
        for _ in range(n):
            self.begin()
        self.finish()
        return perf_counter() - start


def prepare(asked, clocks):
    """Contenders of some rows, as long as there is time; they are kept in `clocks`, in place."""
    module, start = import_module(f"benchmarks.{PARTS[asked['part']]}"), perf_counter()
    for row in asked["prepare"]:
        ready, said = {}, {"left_out": {asked["library"]: "there was no time left to prepare it"}}
        try:
            if perf_counter() - start < asked["seconds"]:
                ready, said = module.prepare(asked["library"], row, asked["options"])
            clocks.update({(row, name): Clock(*how) for name, how in ready.items()})
        except Exception as failed:
            traceback.print_exc()
            ready, said = {}, {"left_out": {asked["library"]: f"FAILED: {described(failed)}"}}
        say(row=row, names=list(ready), **said)


def described(failed):
    """What went wrong, in a line."""
    return f"{type(failed).__name__}: {failed}".splitlines()[0][:200]


def measure(asked):
    """All of a part that does everything by itself."""
    module = import_module(f"benchmarks.{PARTS[asked['measure']]}")
    for row in module.measure(asked["options"]):
        say(row=row)
    say(done=True, title=module.TITLE)


def main():
    """Answer until there are no more questions."""
    clocks = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if "prepare" in asked:
            prepare(asked, clocks)
        elif "measure" in asked:
            measure(asked)
        else:
            row, name = asked["time"]
            try:
                said = {"seconds": clocks[row, name].burst(asked["seconds"])}
            except Exception as failed:
                traceback.print_exc()
                said = {"failed": described(failed)}
            say(id=asked["id"], **said)


if __name__ == "__main__":
    main()
