"""The system calls of a checkpoint: which there are, and each of them failing, by strace.

test_checkpoint.py fails calls of Python; here it is seen that these are all there are.  Set
MINICREDIT_STRACE to have the kernel's answers themselves replaced, which takes a minute.
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runs import scratch
from test_checkpoint import equal, sample

from minicredit import checkpoint

HERE = Path(__file__).parent
SAVE = """
import os, sys
from pathlib import Path
from test_checkpoint import sample
from minicredit import checkpoint
folder = Path(sys.argv[1])
old = checkpoint.paths(folder)[0]
checkpoint.packed(sample(3))                    # what is imported, is imported before
os.access("/here it begins", 0)
try:
    checkpoint.save(folder, sample(3), old)
except OSError as error:
    print(error.errno)
os.access("/here it ends", 0)
"""
FAILED_IN_PYTHON = {"openat", "write", "fsync", "close", "rename", "unlink"}
LOOKING = {"newfstatat", "fstat", "stat", "lstat", "statx", "getdents64", "lseek", "fcntl", "ioctl"}
MEMORY = {"mmap", "munmap", "brk", "madvise", "futex", "getpid", "rt_sigprocmask", "mprotect",
          "sched_yield", "mremap"}

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")


def traced(folder, *options):
    """A third checkpoint, saved under strace; every system call, and what was said."""
    log = folder.with_name(folder.name + ".log")
    env = {**os.environ, "PYTHONPATH": f"{HERE.parent}:{HERE}", "PYTHONHASHSEED": "0",
           "PYTHONDONTWRITEBYTECODE": "1"}
    run = ["strace", "-o", str(log), *options, sys.executable, "-c", SAVE, str(folder)]
    done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=60)
    if "ptrace" in done.stderr and not log.exists():
        pytest.skip(f"strace may not: {done.stderr.splitlines()[0]}")
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines, done


def two(folder):
    """A folder with two checkpoints."""
    old = checkpoint.save(folder, sample(1))
    checkpoint.save(folder, sample(2), old)
    return folder


def calls(lines):
    """[(name, its number among all of that name)] of the calls of the save."""
    names = [match[1] if (match := re.match(r"(\w+)\(", line)) else "" for line in lines]
    begin, end = (next(i for i, line in enumerate(lines) if f"/here it {word}" in line)
                  for word in ("begins", "ends"))
    return [(names[i], names[:i + 1].count(names[i])) for i in range(begin + 1, end) if names[i]]


def test_the_calls_that_are_failed_in_python_are_all_that_there_are():
    with scratch() as folder:
        lines, done = traced(two(folder))
        assert done.returncode == 0, done.stderr
        found = {name for name, _ in calls(lines)}
        assert FAILED_IN_PYTHON <= found <= FAILED_IN_PYTHON | LOOKING | MEMORY
        assert checkpoint.newest(folder, 1000, None)[0].done == 3


@pytest.mark.skipif("MINICREDIT_STRACE" not in os.environ, reason="takes a minute")
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EINTR"])
def test_after_any_system_call_that_fails_there_is_a_checkpoint_that_can_be_loaded(error):
    with scratch() as folder:
        lines, _ = traced(two(folder))
    failed = 0
    for name, number in calls(lines):
        if name in MEMORY:
            continue
        with scratch() as folder:
            rule = f"inject={name}:error={error}:when={number}"
            _, done = traced(two(folder), "-e", f"trace={name}", "-e", rule)
            assert done.returncode == 0, done.stderr[-2000:]
            failed += bool(done.stdout)
            warnings = []
            held, _ = checkpoint.newest(folder, 1000, warnings.append)
            assert equal(held, sample(held.done)) and held.done in (2, 3) and not warnings
            print(f"{name} {number} {error}: {'refused' if done.stdout else 'went on'}, "
                  f"step {held.done} can be loaded")
    assert failed >= 3
