"""A pass over examples that lie on the device: recorded steps, one behind the other.

    gather      the batch: rows order[examples], order[examples + 1], ... of the data set
    the step    as it was recorded
    keep        each example's loss, to be read when the pass is over
    tick        steps and examples move on; the scale of the next step comes from a table

Several such steps are captured as one graph.  The host launches it, and has nothing else to do.
"""
import numpy as np

from minicredit.kernels.cuda import work
from minicredit.kernels.cuda.numbers import Offset
from minicredit.kernels.cuda.work import Work

STEPS = 20                              # in one graph
ROWS = 4                                # rows of a block of gather.cu
THREADS = 128                           # of a block of keep.cu


class Epoch:
    """Passes of one recorded step over one data set.

    Parameters
    ----------
    device : Device
    step : Step, recorded
    x : array (n, features) of the device
    y : int64 array (n,) of the device
    steps : int
        How many are captured together.
    """

    def __init__(self, device, step, x, y, steps=STEPS):
        self.device, self.step, self.x, self.y, self.steps = device, step, x, y, steps
        n, N = len(x), len(step.x)
        self.order = device.zeros(n, np.int64)
        self.table = device.zeros(max(n // N, 1), np.float64)
        self.losses = device.zeros(n, x.dtype)
        first = Offset(0, step.clock.at[1])
        before, after = [self.gather(first)], [step.clock.tick(self.table, len(self.table))]
        if step.result is not None:
            after.insert(0, self.keep(step.result, first))
        self.launches = [before, *step.launches[:-1], *([one] for one in after)]
        for group in (before, *([one] for one in after)):
            work.prepare(device, group)             # nothing may be compiled while it is captured
        self.one = device.capture(self.run)
        self.many = device.capture(self.run_many)

    def gather(self, first):
        """The work that fetches a batch."""
        step, features = self.step, self.x.shape[1]
        problem = {"rows": self.x, "labels": self.y, "order": self.order, "first": first,
                   "out": step.x, "y": step.y, "N": len(step.x), "n": features}
        return Work("gather", (), problem, -(-len(step.x) // ROWS), (32, ROWS),
                    [self.x, self.y, self.order], [step.x, step.y])

    def keep(self, loss, first):
        """The work that puts the losses aside."""
        problem = {"loss": loss, "out": self.losses, "first": first, "N": len(loss),
                   "room": len(self.losses)}
        return Work("keep", (), problem, -(-len(loss) // THREADS), THREADS, [loss], [self.losses])

    def run(self):
        """One step."""
        for group in self.launches:
            work.launch(self.device, group)

    def run_many(self):
        """As many as are captured together."""
        for _ in range(self.steps):
            self.run()

    def over(self, order, scales, begin=0, tell=None):
        """The steps of a pass from number `begin` on.

        Parameters
        ----------
        order : int64 array (n,), or shorter, if the pass ends earlier
            The pass takes x[order[0]], x[order[1]], ...
        scales : sequence of float
            The scale of `rule.optimizers` at each step.
        tell : function of the number of steps that are done, or None

        Returns
        -------
        array, the losses of all examples since `begin`, or None
        """
        step, clock, N = self.step, self.step.clock, len(self.step.x)
        total = len(order) // N
        self.device.overwrite(self.order, filled(order, len(self.order), np.int64))
        self.device.overwrite(self.table, filled(scales[:total], len(self.table), np.float64))
        clock.own.update(steps=begin, examples=begin * N)
        scale(step.rule, scales[begin])
        clock.tell()
        done = begin
        while done < total:
            many = self.steps if done + self.steps <= total else 1
            (self.many if many > 1 else self.one).launch()
            clock.forward(many)
            done += many
            if tell:
                self.device.synchronize()
                tell(done)
        scale(step.rule, scales[total - 1])
        clock.there_scale[0] = None                 # the table's last, or what follows it
        if step.result is None:
            return None
        return self.device.to_numpy(self.losses)[begin * N:total * N]


def filled(values, n, dtype):
    """Values, and zeros behind them; array (n,)."""
    array = np.zeros(n, dtype)
    array[:len(values)] = values
    return array


def scale(rule, value):
    """What multiplies the learning rates of a rule."""
    for optimizer in rule.optimizers:
        optimizer.scale = value
