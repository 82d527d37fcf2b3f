"""What the device through CuPy and the device on a CPU have in common.

A device allocates, copies and launches.  While a step is recorded, works are kept instead of
launched, and the recorder is told of whatever happens that is no work.
"""
from minicredit.kernels.cuda import pointwise, work


class Device:
    """See this module; `gpu.Device` and `emulator.Device` add memory and launches."""

    def __init__(self):
        self.recorder, self.kept = None, None

    def run(self, works):
        """Carry out works, in order; or keep them, if a step is being recorded."""
        if self.kept is None:
            work.run(self, works)
        else:
            self.kept.extend(works)

    def arithmetic(self, name, x, y):
        """x + y, x - y or x * y by a kernel; None if there is none for these two."""
        if self.recorder is not None:
            return self.recorder.did(name, (x, y))
        return getattr(pointwise, name)(self, x, y)

    def own(self, x):
        """What a method of an array gave; on a device where that may be another class, our own."""
        return x

    def foreign(self, name):
        """Something is about to read or change arrays that is no work of ours."""
        if self.recorder is not None:
            self.recorder.leave(name)
