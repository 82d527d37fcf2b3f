"""A step of a rule, recorded, fused, and replayed as one launch.

    ops = Recorder(operations)      has the same operations, and is handed on like them
    ops.take(rule.step, x, y)       rule.step(x, y): the first time as it is, the second time
                                    recorded, from then on replayed

Recording runs the rule's own Python once.  Every operation allocates what it makes, and its works
are written down instead of launched; `fuse` puts together what needs no array between, `schedule`
finds an order in which many layers share a launch.  On a GPU the launches are captured as a CUDA
graph, on buffers that stay; a replay costs the host one call, whatever the number of layers.

What changes from step to step lies in device memory: the batch, the optimisers' scale, and every
counter (`clock`).  A last kernel moves the counters on, so that many steps can follow each other
without the host.  Nothing is read back, and no Python of the rule is run: what a rule keeps of a
step, an activation or its batch, is not kept anew by a replay, which may write over it.

A rule that does something else than operations (a sum of its own, a value that it looks at) runs as
it always does: `leave` launches what was written down so far.  And before a recording is trusted,
the step that was recorded is taken both ways, op by op and as it will be replayed, and what the two
have made of every array is compared.
"""
import numpy as np

from minicredit.kernels.cuda import work
from minicredit.kernels.cuda.clock import Clock, settings
from minicredit.kernels.cuda.epoch import Epoch, scale
from minicredit.kernels.cuda.fuse import fuse
from minicredit.kernels.cuda.schedule import schedule

PATIENCE = 2                            # failed recordings of a step, before it is left alone
ALLOWED = 0.02                          # of how far an array moves
ARITHMETIC = ("add", "subtract", "multiply")


class Entry:
    """One operation: its name, its arguments, what it gave, and the works that make it."""

    def __init__(self, name, args, result, works):
        self.name, self.args, self.result, self.works = name, args, result, works

    def outputs(self):
        """The arrays that it made."""
        return self.result if isinstance(self.result, tuple) else (self.result,)


class Recorder:
    """The operations of a device, and steps that are replayed.

    Parameters
    ----------
    plain : Operations
    """

    def __init__(self, plain):
        self.plain, self.device = plain, plain.device
        self.seen, self.failures, self.sets, self.why = {}, {}, {}, None
        self.entries, self.busy = [], False
        for name in plain.names:
            setattr(self, name, self.watched(name))
        self.asarray, self.to_numpy = plain.asarray, plain.to_numpy

    def keeps(self, sizes):
        """Whether what a step makes is kept, on a network of layers so wide."""
        return True

    def watched(self, name):
        """The operation `name`, written down while a step is recorded."""
        plain = getattr(self.plain, name)

        def operation(*args):
            return self.did(name, args) if self.busy else plain(*args)

        return operation

    def take(self, learn, x, y):
        """learn(x, y): as it is, recorded, or replayed."""
        key = learn.__func__, id(learn.__self__), x.shape, y.shape
        if self.failures.get(key, 0) >= PATIENCE:
            return learn(x, y)
        step = self.seen.get(key)
        if step is None:                # optimisers make their state in a rule's first step
            self.seen[key] = Unrecorded(learn)
            return learn(x, y)
        if step.is_current():
            return step.replay(x, y)
        if step.launches and not step.used:         # a setting changes at every step
            self.failures[key] = self.failures.get(key, 0) + 1
        step = self.seen[key] = Step(self.device, learn, x, y)
        return self.record(key, step)

    def epoch(self, learn, split, order, batch, scales, tell=None, first=0, end=None):
        """One pass over a data set that is kept on the device, or some steps of it.

        Parameters
        ----------
        learn : one of a rule's `passes`
        split : has x (n, features) and y (n,) in the host's memory
        order : int64 array (n,)
        batch : int
        scales : sequence of float
            The scale of the rule's optimisers at each step.
        tell : function of the number of steps that are done, or None
        first, end : int
            The steps to take: those from `first` to before `end`.

        Yields
        ------
        step : int
        loss : array of the host, each example's; None from a pass that has no loss
        """
        order = order[:None if end is None else end * batch]
        number, steps = first, -(-len(order) // batch)
        while number < steps:
            rows = order[number * batch:(number + 1) * batch]
            run = self.resident(learn, split, batch) if len(rows) == batch else None
            if run:
                losses = run.over(order, scales, number, tell)
                for loss in () if losses is None else np.split(losses, len(losses) // batch):
                    yield number, loss
                    number += 1
                number = len(order) // batch
                continue
            scale(learn.__self__, scales[number])
            x, y = self.asarray(split.x[rows]), self.asarray(split.y[rows])
            loss = self.take(learn, x, y)
            yield number, None if loss is None else self.to_numpy(loss)
            number += 1
            if tell:
                tell(number)

    def resident(self, learn, split, batch):
        """A recorded step's passes over a split, if it is recorded; else None."""
        if split.n < batch:
            return None
        shape, labels = (batch, split.x.shape[1]), (batch, *split.y.shape[1:])
        step = self.seen.get((learn.__func__, id(learn.__self__), shape, labels))
        if step is None or not step.launches or not step.is_current():
            return None
        step.used = True
        if id(split.x) not in step.passes:
            step.passes[id(split.x)] = Epoch(self.device, step, *self.kept(split))
        return step.passes[id(split.x)]

    def kept(self, split):
        """x and y of a split on the device, where they stay."""
        if id(split.x) not in self.sets:
            self.sets[id(split.x)] = split, self.asarray(split.x), self.asarray(split.y)
        return self.sets[id(split.x)][1:]

    def record(self, key, step):
        """A step, written down."""
        step.clock.start()
        self.entries, self.busy = [], True
        self.device.recorder, self.device.kept = self, []
        try:
            step.result = step.learn(step.x, step.y)
            complete = self.busy
        except BaseException:
            self.leave("it was stopped")
            self.seen[key] = Unrecorded(step.learn)
            raise
        finally:
            regular = step.clock.stop()
            self.busy, self.device.recorder, self.device.kept = False, None, None
        if complete and regular:
            step.compile(self.entries)
            return step.finished()
        self.failures[key] = self.failures.get(key, 0) + 1
        self.seen[key] = Unrecorded(step.learn)
        if complete:
            self.why = "a counter did not only grow"
            self.carry_out()
        return step.finished()

    def did(self, name, args):
        """One operation of a step, written down."""
        device = self.device
        device.kept, before = [], device.kept
        if name in ARITHMETIC:
            device.recorder = None
            result = device.arithmetic(name, *args)
            device.recorder = self
        else:
            result = getattr(self.plain, name)(*args)
        works, device.kept = device.kept, before
        if result is not None or name not in ARITHMETIC:
            self.entries.append(Entry(name, args, result, works))
        return result

    def leave(self, why):
        """The rest of this step as it is; what was written down is carried out first."""
        if self.busy:
            self.busy, self.device.recorder, self.device.kept = False, None, None
            self.why = why
            self.carry_out()

    def carry_out(self):
        """What is written down, operation by operation."""
        for entry in self.entries:
            work.run(self.device, entry.works)
        self.entries = []


class Unrecorded:
    """A step that was taken once; keeps the rule, whose id stands for it."""

    launches = ()

    def __init__(self, learn):
        self.learn = learn

    def is_current(self):
        """There is nothing to replay."""
        return False


class Step:
    """A recorded step of a rule.

    Parameters
    ----------
    device : Device
    learn : one of the rule's `passes`
    x, y : arrays
        A batch; the step keeps buffers of its own in these shapes.
    """

    def __init__(self, device, learn, x, y):
        self.device, self.learn, self.rule = device, learn, learn.__self__
        self.x, self.y = device.copy(x), device.copy(y)
        self.clock, self.settings = Clock(device, self.rule, len(x)), settings(self.rule)
        self.launches, self.result, self.passes, self.used = [], None, {}, False

    def is_current(self):
        """Whether the rule is still as it was recorded."""
        return settings(self.rule) == self.settings and self.clock.agrees()

    def compile(self, entries):
        """From operations to launches; takes the step, both ways, and compares."""
        works = [one for entry in entries for one in entry.works]
        made = {id(a): a for entry in entries for a in entry.outputs() if a is not None}
        state = list({id(a): a for one in works for a in one.writes if id(a) not in made}.values())
        fused = fuse(entries, self.result)
        self.launches = [*schedule(fused), [self.clock.tick()]]
        self.kept = made, state                 # the launches know addresses, no more
        before = [self.device.copy(a) for a in state]
        for entry in entries:               # not all at once: neighbours would not wait
            work.run(self.device, entry.works)
        want = [self.device.to_numpy(a) for a in state]
        start = [self.device.to_numpy(a) for a in before]
        for a, old in zip(state, before):
            self.device.overwrite(a, old)
        self.device.poison(made.values())
        self.run()
        self.clock.taken()
        compare(start, want, [self.device.to_numpy(a) for a in state], type(self.rule).__name__)
        self.graph = self.device.capture(self.run)

    def run(self):
        """All launches, one after the other."""
        for group in self.launches:
            if group[0].blocks:
                work.launch(self.device, group)

    def replay(self, x, y):
        """The step on another batch."""
        self.used = True
        self.device.overwrite(self.x, x)
        self.device.overwrite(self.y, y)
        self.clock.tell()
        self.graph.launch()
        self.clock.forward()
        return self.finished()

    def finished(self):
        """What the step returns: a copy, because the next one will write there."""
        return None if self.result is None else self.device.copy(self.result)


def compare(before, want, got, rule):
    """Refuse a recording that does something else than the rule.

    Raises
    ------
    RuntimeError
        If an array moved otherwise: by more than rounding, which an optimiser that divides by small
        numbers may enlarge, so that single entries say little.
    """
    for start, right, left in zip(before, want, got):
        moved = np.linalg.norm((right - start).astype(np.float64))
        size = np.linalg.norm(right.astype(np.float64))
        apart = np.linalg.norm((left - right).astype(np.float64))
        if not apart <= ALLOWED * moved + 64 * np.finfo(np.float32).eps * size \
                and np.isfinite(moved):
            raise RuntimeError(f"{rule}: a recorded step moved an array of shape {right.shape} by "
                               f"{apart:.3g} otherwise than the rule, which moved it by "
                               f"{moved:.3g}")
