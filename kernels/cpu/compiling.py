"""Kernels are compiled when they are first called, which takes seconds, and kept on disk.

So the first time on a machine somebody waits, and is told why, in one line on stderr.
"""
import sys

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
