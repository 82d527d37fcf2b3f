"""Training: epochs of batches, in an order that is a function of the seed.

An epoch runs each of the rule's `passes` once over the training images; a rule that alternates has
two, one for its inverses and one for its forward maps.  Batches are cut from a permutation keyed by
(seed, DATA, pass, epoch).  A schedule multiplies every learning rate:

    constant    1
    linear      falls from 1 to 0.02
    cosine      (1 + cos(pi s)) / 2, s = share of the steps done
"""
import math
from functools import partial
from time import perf_counter

import numpy as np

from minicredit.data import Split
from minicredit.errors import UserError
from minicredit.keys import DATA
from minicredit.kernels import reference
from minicredit.measure import angle_to_backprop, evaluate_split

DECAYS = ("constant", "linear", "cosine")
WATCHED = 256                   # validation images on which the angle to backprop is measured


class Diverged(ArithmeticError):
    """A loss was not finite; the message says where."""


def decayed(decay, s):
    """What the learning rates are multiplied by when a share s in [0, 1) of the steps is done."""
    if decay == "cosine":
        return (1 + math.cos(math.pi * s)) / 2
    return 1 - 0.98 * s if decay == "linear" else 1.0


def batches(n, batch, key):
    """Index arrays that cover 0..n-1 once, in random order; the last one may be shorter."""
    order = reference.permutation(n, key)
    return [order[start:start + batch] for start in range(0, n, batch)]


def epochs(rule, data, epochs, batch=128, decay="constant", seed=0, tell=None):
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

    Yields
    ------
    dict
        epoch (1, 2, ...), train_loss (nats), train_error, validation_error, test_error (percent),
        seconds (of training alone), angle_to_backprop (degrees, layers 1..L).

    Raises
    ------
    Diverged
        If an example's loss is not finite.
    """
    if decay not in DECAYS:
        raise UserError(f"decay: wanted one of {', '.join(DECAYS)}; got {decay!r}")
    ops, n = rule.net.ops, data.train.n
    watched, = data.validation.read([np.arange(min(WATCHED, data.validation.n))])
    steps = -(-n // batch)
    total, done = epochs * len(rule.passes) * steps, 0
    for epoch in range(1, epochs + 1):
        start = perf_counter()
        for number, learn in enumerate(rule.passes):
            key = (seed, DATA, number, epoch)
            scales = [decayed(decay, (done + step) / total) for step in range(steps)]
            share = partial(told, tell, done, total) if tell else None
            for step, loss in one_pass(rule, learn, data.train, batch, key, scales, share):
                check(loss, rule, epoch, done + step)
            done += steps
        seconds = perf_counter() - start
        yield {"epoch": epoch, **report(rule, data), "seconds": seconds,
               "angle_to_backprop": angle_to_backprop(rule, *map(ops.asarray, watched))}


def one_pass(rule, learn, split, batch, key, scales, tell):
    """One of a rule's passes over all examples, in the order that the key gives.

    Yields
    ------
    step : int, the first of those whose losses these are
    loss : array of the host, or None from a pass that has no loss
    """
    ops = rule.net.ops
    if hasattr(ops, "epoch") and isinstance(split, Split):      # it keeps them on the device
        yield from ops.epoch(learn, split, reference.permutation(split.n, key), batch, scales, tell)
        return
    for step, (x, y) in enumerate(split.read(batches(split.n, batch, key), key)):
        for optimizer in rule.optimizers:
            optimizer.scale = scales[step]
        loss = ops.take(learn, ops.asarray(x), ops.asarray(y))
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
