"""Small runs on the digits that can be stopped, killed and gone on with, for the tests that do so.
"""
import mmap
import os
import random
import signal
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path

from minicredit import checkpoint, data, state
from minicredit.compare import build, versions
from minicredit.keeper import Keeper, described
from minicredit.kernels import load
from minicredit.settings import hyperparameters
from minicredit.signals import Signals, Stopped
from minicredit.training import epochs

CALLS = "open", "write", "fsync", "close", "replace", "unlink", "mkdir"    # that change a disk
EVERY = 3                           # steps between two checkpoints of a run that is killed
MEMORY = Path("/dev/shm")           # a disk whose fsync takes no time, where there is one


def small(n=100):
    """The digits, a few of them."""
    from dataclasses import replace
    whole = data.load("digits")
    return replace(whole, train=whole.train.first(n), validation=whole.validation.first(40),
                   test=whole.test.first(40))


def config(name, backend="numpy", net="64-12-11-10", **given):
    """A run of two epochs."""
    return {"command": "minicredit train", "data": "digits", "net": net, "activation": "tanh",
            "init": "glorot", "backend": backend, "dtype": "float32", "epochs": 2, "batch": 16,
            "decay": "cosine", "seeds": 1, "rules": {name: hyperparameters(name, given)}}


def begun(job, name, folder, steps=None):
    """A rule as a run begins, and the keeper of the run."""
    keeper = Keeper(folder, described(job, versions(), name, 0), Signals(), steps, warn=silent)
    return build(name, job, 10, seed=0), keeper


def silent(text):
    """Nobody is told."""


def run(job, name, folder, images, steps=None, stop=None, tell=None):
    """A run, from where it stands to its end, or to the step `stop`.

    Returns
    -------
    records : list of dict, without their seconds; None if it was stopped
    state : (arrays, numbers)
    """
    rule, keeper = begun(job, name, folder, steps)
    if stop is not None:
        keeper.step = stopping(keeper, stop)
    try:
        records = [dict(record) for record in epochs(
            rule, images, job["epochs"], job["batch"], job["decay"], 0, tell, keeper)]
    except Stopped:
        return None, state.copied(rule)
    for record in records:
        record.pop("seconds")
    return records, state.copied(rule)


def stopping(keeper, stop):
    """A keeper's `step` to which a signal comes in the step before `stop`, or in the piece."""
    plain, piece = keeper.step, keeper.piece

    def step(rule, done, spent, records):
        if done >= stop:
            keeper.signals.came = signal.SIGTERM
        plain(rule, done, spent, records)

    keeper.piece = min(piece, 1)
    return step


def final(folder):
    """The arrays and numbers of the newest checkpoint."""
    held = checkpoint.read(checkpoint.paths(folder)[0], 2**30)
    return held.arrays, held.numbers


def same(one, other):
    """Whether two states agree in every name and every bit."""
    (arrays, numbers), (arrays2, numbers2) = one, other
    return (arrays.keys() == arrays2.keys() and numbers == numbers2
            and all(arrays[name].dtype == arrays2[name].dtype
                    and arrays[name].shape == arrays2[name].shape
                    and arrays[name].tobytes() == arrays2[name].tobytes() for name in arrays))


@contextmanager
def watched(seen):
    """Every call that changes the disk goes through seen(name, plain, args)."""
    plain = {name: getattr(os, name) for name in CALLS}

    def through(name):
        return lambda *args, **kw: seen(name, lambda: plain[name](*args, **kw), args)

    try:
        for name in CALLS:
            setattr(os, name, through(name))
        yield
    finally:
        for name in CALLS:
            setattr(os, name, plain[name])


@contextmanager
def scratch():
    """A folder on the fastest disk there is."""
    where = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        yield Path(folder)


# Killed -------------------------------------------------------------------------------------------

def life(job, name, folder, images, calls, reached):
    """One life of a run, in a process of its own: until it ends, or somebody kills it.

    Parameters
    ----------
    calls : int or None
        It kills itself at that call that changes the disk: before it if even, after it if odd.
    reached : mmap
        Is told the share of the steps that is done.

    Returns
    -------
    int, its process
    """
    child = os.fork()
    if child:
        return child
    try:
        count = iter(range(10**9))

        def seen(called, plain, args):
            now = next(count)
            if calls is not None and now == calls // 2 and calls % 2 == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            result = plain()
            if calls is not None and now == calls // 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        with watched(seen):
            run(job, name, folder, images, EVERY,
                tell=lambda share: struct.pack_into("d", reached, 0, share))
        os._exit(0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)


def killed(job, name, images, kills, seed, longest=0.15):
    """Run and kill, again and again; what was found.

    Every second life is killed at a moment, every other at a call that changes the disk: while a
    checkpoint is being written.

    Returns
    -------
    list of final states, one for each run that came to its end
    """
    draw, ends, count, reached = random.Random(f"{name} {seed}"), [], 0, mmap.mmap(-1, 8)
    total = job["epochs"] * len(begun(job, name, None)[0].passes) * -(-images.train.n // 16)
    while count < kills or not ends:
        with scratch() as folder:
            struct.pack_into("d", reached, 0, 0.0)
            while True:
                calls = draw.randrange(120) if count % 2 else None
                child = life(job, name, folder, images, calls, reached)
                code = waited(child, 60 if calls else longest * draw.random())
                assert code in (0, -signal.SIGKILL), f"{name}: exit code {code}"
                steps = total * struct.unpack("d", reached)[0]
                there = kept_steps(folder)
                assert steps - there <= EVERY, f"{name}: step {steps} was reached, {there} kept"
                if code == 0:
                    break
                count += 1
            ends.append(final(folder))
    return ends


def kept_steps(folder):
    """How many steps are done in the newest checkpoint that is whole; 0 if there is none yet."""
    found = checkpoint.newest(folder, 2**30, silent)
    return found[0].done if found else 0


def waited(child, seconds):
    """The exit code of a process that is killed after so many seconds."""
    import time
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def loads(backend):
    """Whether a backend loads here."""
    try:
        load(backend)
    except ImportError:
        return False
    return True


def main():
    """Kill a run of every rule: python tests/runs.py [KILLS] [BACKEND] [RULES]."""
    import sys
    import time

    from minicredit.rules import RULES
    kills, backend, rules = [*sys.argv[1:], *["200", "numpy", ",".join(RULES)][len(sys.argv) - 1:]]
    images = small()
    for name in rules.split(","):
        start, job = time.monotonic(), config(name, backend)
        with scratch() as folder:
            child = life(job, name, folder, images, None, mmap.mmap(-1, 8))
            alone = waited(child, 300)
            want = final(folder)
        longest = 0.8 * (time.monotonic() - start)
        ends = killed(job, name, images, int(kills), seed=0, longest=longest)
        right = sum(same(want, end) for end in ends)
        print(f"{name:14} {backend}: {kills} kills, {len(ends)} runs came to their end, {right} of "
              f"them bit for bit the uninterrupted one; {time.monotonic() - start:.0f} s"
              + (" FAILED" if alone or right < len(ends) else ""), flush=True)


if __name__ == "__main__":
    main()
