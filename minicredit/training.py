"""Training: epochs of batches, in an order that is a function of the seed.

An epoch runs each of the rule's `passes` once over the training images; a rule that alternates has
two, one for its inverses and one for its forward maps.  Batches are cut from a permutation keyed by
(seed, DATA, pass, epoch).  A schedule multiplies every learning rate:

    constant    1
    linear      falls from 1 to 0.02
    cosine      (1 + cos(pi s)) / 2, s = share of the steps done

So the number of steps that are done says everything about what comes next, and a run that goes on
from there is the run that was never stopped.
"""
import math
from functools import partial
from time import perf_counter

import numpy as np

from minicredit.data import Split
from minicredit.divergence import explained, first_bad
from minicredit.errors import UserError
from minicredit.keeper import Forgetful
from minicredit.keys import DATA
from minicredit.kernels import reference
from minicredit.measure import angle_to_backprop, evaluate_split
from minicredit.signals import Signals, Stopped

DECAYS = ("constant", "linear", "cosine")
WATCHED = 256                   # validation images on which the angle to backprop is measured


class Diverged(ArithmeticError):
    """A number was not finite; the message says where."""


def decayed(decay, s):
    """What the learning rates are multiplied by when a share s in [0, 1) of the steps is done."""
    if decay == "cosine":
        return (1 + math.cos(math.pi * s)) / 2
    return 1 - 0.98 * s if decay == "linear" else 1.0


def batches(n, batch, key):
    """Index arrays that cover 0..n-1 once, in random order; the last one may be shorter."""
    order = reference.permutation(n, key)
    return [order[start:start + batch] for start in range(0, n, batch)]


class Course:
    """Which batch comes when, and how far each step goes: all that follows from a step's number.

    Parameters
    ----------
    rule : any rule of `minicredit.rules`
    split : what it learns from
    epochs, batch : int
    decay : {"constant", "linear", "cosine"}
    seed : int
    """

    def __init__(self, rule, split, epochs, batch, decay, seed):
        if decay not in DECAYS:
            raise UserError(f"decay: wanted one of {', '.join(DECAYS)}; got {decay!r}")
        self.rule, self.split, self.batch, self.decay, self.seed = rule, split, batch, decay, seed
        self.steps = -(-split.n // batch)                       # of a pass
        self.of_epoch = self.steps * len(rule.passes)
        self.total = epochs * self.of_epoch

    def place(self, done):
        """Epoch (from 1), pass and step of the pass (from 0) that come after so many steps."""
        epoch, rest = divmod(done, self.of_epoch)
        return epoch + 1, *divmod(rest, self.steps)

    def scales(self, begin):
        """The scale of the learning rates at each step of the pass that begins at step `begin`."""
        return [decayed(self.decay, (begin + step) / self.total) for step in range(self.steps)]

    def key(self, done):
        """The key of the order of the pass that step `done` is in."""
        epoch, number, _ = self.place(done)
        return self.seed, DATA, number, epoch

    def scale(self, value):
        """Set what multiplies the rule's learning rates, in place."""
        for optimizer in self.rule.optimizers:
            optimizer.scale = value

    def rest_of_pass(self, done):
        """The pass that step `done` is in: its method, its scales, batches (x, y) from there, and
        how many there were before.
        """
        _, number, first = self.place(done)
        key = self.key(done)
        rows = batches(self.split.n, self.batch, key)[first:]
        return (self.rule.passes[number], self.scales(done - first), self.split.read(rows, key),
                first)

    def epoch(self, done, spent, end, piece, tell=None):
        """Learn, from step `done` to step `end`.

        Yields
        ------
        done : int, steps; the rule is there now
        spent : float, seconds, counted on from what was handed in
        losses : list of (step, loss) of the steps since the last time
        """
        while done < end:
            _, number, first = self.place(done)
            begin, learn = done - first, self.rule.passes[number]
            share = partial(told, tell, begin, self.total) if tell else None
            start = perf_counter()
            for taken, losses in strides(self.rule, learn, self.split, self.batch, self.key(done),
                                         self.scales(begin), share, first, piece):
                spent += perf_counter() - start
                done = begin + taken
                yield done, spent, [(begin + step, loss) for step, loss in losses]
                start = perf_counter()


def epochs(rule, data, epochs, batch=128, decay="constant", seed=0, tell=None, keeper=None):
    """Train for a number of epochs; measure after each.

    Parameters
    ----------
    rule : any rule of `minicredit.rules`; trained in place
    data : Dataset
    epochs, batch : int
    decay : {"constant", "linear", "cosine"}
    seed : int
        Fixes the order of the images.
    tell : function of the share of all steps that is done, called after every step, or None
    keeper : Keeper or None
        Saves the run, and says where it goes on.

    Yields
    ------
    dict
        epoch (1, 2, ...), train_loss (nats), train_error, validation_error, test_error (percent),
        seconds (of training alone), angle_to_backprop (degrees, layers 1..L).

    Raises
    ------
    Diverged
        If a loss, a weight or what they come from is not finite.
    Stopped
        If a signal asked for that; the run is saved.
    NotSaved
        If the run cannot be saved.
    """
    course = Course(rule, data.train, epochs, batch, decay, seed)
    keeper = keeper or Forgetful(Signals())
    watched, = data.validation.read([np.arange(min(WATCHED, data.validation.n))])
    arrays = {**rule.net.parameters(), **rule.arrays}
    done, spent, records = keeper.begin(rule, data.train, batch)
    yield from records
    for epoch in range(len(records) + 1, epochs + 1):
        with keeper.signals.waiting():
            for done, spent, losses in course.epoch(done, spent, epoch * course.of_epoch,
                                                    keeper.piece, tell):
                look(losses, done - 1, arrays, course, keeper)
                keeper.step(rule, done, spent, records)
        try:
            measured = report(rule, data)
            angles = angle_to_backprop(rule, *map(rule.net.ops.asarray, watched))
        except Stopped:
            keeper.stop(rule, done, spent, records)
            raise
        records.append({"epoch": epoch, **measured, "seconds": spent, "angle_to_backprop": angles})
        spent = 0.0
        keeper.epoch(rule, done, spent, records)
        yield records[-1]


def strides(rule, learn, split, batch, key, scales, tell, first, piece):
    """A pass from step `first` on, cut wherever the rule is known to be at the step that is told.

    Yields
    ------
    taken : int, the steps of this pass that are done
    losses : list of (step, loss) as `one_pass` gives them
    """
    if not on_device(rule.net.ops, split):
        for step, loss in one_pass(rule, learn, split, batch, key, scales, tell, first):
            yield step + 1, [(step, loss)]
        return
    steps = -(-split.n // batch)
    for begin in range(first, steps, piece):
        end = min(begin + piece, steps)
        yield end, list(one_pass(rule, learn, split, batch, key, scales, tell, begin, end))


def on_device(ops, split):
    """Whether a backend keeps the examples, and takes many steps at once."""
    return hasattr(ops, "epoch") and isinstance(split, Split)


def one_pass(rule, learn, split, batch, key, scales, tell, first=0, end=None):
    """One of a rule's passes over all examples, in the order that the key gives.

    Parameters
    ----------
    first, end : int
        The steps to take: those from `first` to before `end`.

    Yields
    ------
    step : int, the first of those whose losses these are
    loss : array of the host, or None from a pass that has no loss
    """
    ops = rule.net.ops
    if on_device(ops, split):
        order = reference.permutation(split.n, key)
        yield from ops.epoch(learn, split, order, batch, scales, tell, first, end)
        return
    rows = batches(split.n, batch, key)[first:end]
    for step, (x, y) in enumerate(split.read(rows, key), first):
        for optimizer in rule.optimizers:
            optimizer.scale = scales[step]
        loss = ops.take(learn, ops.asarray(x), ops.asarray(y)) if len(y) else None
        yield step, None if loss is None else ops.to_numpy(loss)
        if tell:
            tell(step + 1)


def told(tell, done, total, steps):
    """Tell which share of all steps is done, with so many of this pass."""
    tell((done + steps) / total)


def report(rule, data):
    """Loss and errors on the three splits, in percent; top-5 too where there are many classes."""
    train = evaluate_split(rule.net, data.train)
    validation, test = (evaluate_split(rule.net, s) for s in (data.validation, data.test))
    measured = {"train_loss": train.loss, "train_error": train.error,
                "validation_error": validation.error, "test_error": test.error}
    return {**measured, "test_error_top5": test.error_top5} if data.K > 10 else measured


def check(loss, rule, epoch, step):
    """Stop at the first loss that is not a number; a pass of inverses alone has none to check."""
    if loss is not None and not np.isfinite(loss).all():
        raise Diverged(f"{type(rule).__name__}: the loss is not finite in epoch {epoch}, step "
                       f"{step}; a smaller eta may help")


def look(losses, step, arrays, course, keeper):
    """Stop at the first loss or weight that is not a number, and say where that came from.

    Parameters
    ----------
    losses : list of (step, loss)
    step : int, the last one that was taken
    arrays : dict, what learns
    """
    rule, bad = course.rule, None
    for at, loss in losses:
        if loss is not None and not np.isfinite(loss).all():
            bad, step = "loss", at
            break
    if bad is None:
        to_numpy = rule.net.ops.to_numpy
        bad = first_bad({name: to_numpy(array) for name, array in arrays.items()})
    if bad is not None:
        raise Diverged(explained(rule, course, bad, step, keeper.last()))
