"""How kernels are compiled: when they are first called, which takes seconds, and kept on disk.

So the first time on a machine somebody waits, and is told why, in one line on stderr.

A processor of 512 bits is to use them all.  For Intel's the compiler takes 256 by itself, because
the first of them slowed down with more.
"""
import sys

import llvmlite.binding
from numba import config
from numba.core import event


class Announcer(event.Listener):
    """Tells of the first compilation of a process."""

    def __init__(self):
        self.told = False

    def on_start(self, event):
        """A kernel that is not in the cache."""
        if not self.told:
            self.told = True
            print("minicredit: compiling kernels, once: they are kept for the next time",
                  file=sys.stderr, flush=True)

    def on_end(self, event):
        """Nothing to say."""


event.register("numba:compile", Announcer())


def features():
    """What the processor has, by name; a dict, empty on a system that does not tell."""
    try:
        return llvmlite.binding.get_host_cpu_features()
    except RuntimeError:
        return {}


def take_whole_vectors():
    """Tell the compiler, unless the user has told it what the processor has."""
    has = features()
    if has.get("avx512f") and config.CPU_NAME is None and config.CPU_FEATURES is None:
        config.CPU_FEATURES = f"{has.flatten()},-prefer-256-bit"


take_whole_vectors()
