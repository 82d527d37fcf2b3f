"""Ctrl-C and kill: a step that is under way is finished first.

    with Signals() as signals:
        with signals.waiting():         a step, or a checkpoint: what arrives is noted
            ...
        signals.heed()                  stop now, if something has been noted

Outside of `waiting` a signal stops at once, because nothing would be lost.  A second one always
does.
"""
import signal
import threading
from contextlib import contextmanager

HEEDED = signal.SIGINT, signal.SIGTERM


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop.

    Parameters
    ----------
    number : int
        Of the signal; the exit code is 128 more.
    """

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


class Signals:
    """See this module; watches in the main thread alone, where Python allows it."""

    def __init__(self):
        self.came, self.patient, self.before = None, False, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self.arrived) for number in HEEDED}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def arrived(self, number, _):
        """Called by Python between two of its instructions."""
        again, self.came = self.came is not None, number
        if again or not self.patient:
            raise Stopped(number)

    @contextmanager
    def waiting(self):
        """What arrives while the block runs is noted; see `heed`."""
        patient, self.patient = self.patient, True
        try:
            yield
        finally:
            self.patient = patient

    def heed(self):
        """Stop, if a signal has been noted."""
        if self.came is not None:
            raise Stopped(self.came)
