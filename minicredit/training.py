"""Training: epochs of batches, in an order that is a function of the seed.

An epoch runs each of the rule's `passes` once over the training images; a rule that alternates has
two, one for its inverses and one for its forward maps.  Batches are cut from a permutation keyed by
(seed, DATA, pass, epoch).  A schedule multiplies every learning rate:

    constant    1
    linear      falls from 1 to 0.02
    cosine      (1 + cos(pi s)) / 2, s = share of the steps done
"""
import math
from time import perf_counter

import numpy as np

from minicredit.errors import UserError
from minicredit.keys import DATA
from minicredit.kernels import reference
from minicredit.measure import angle_to_backprop, evaluate

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
    data : Dataset, or anything with splits `train`, `validation`, `test` of x and y
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
    ops, watched = rule.net.ops, [array[:WATCHED] for array in data.validation]
    total = epochs * len(rule.passes) * -(-len(data.train.y) // batch)
    done = 0
    for epoch in range(1, epochs + 1):
        start = perf_counter()
        for number, learn in enumerate(rule.passes):
            for rows in batches(len(data.train.y), batch, (seed, DATA, number, epoch)):
                for optimizer in rule.optimizers:
                    optimizer.scale = decayed(decay, done / total)
                x, y = (ops.asarray(array[rows]) for array in data.train)
                check(learn(x, y), rule, epoch, done)
                done += 1
                if tell:
                    tell(done / total)
        seconds = perf_counter() - start
        yield {"epoch": epoch, **report(rule, data), "seconds": seconds,
               "angle_to_backprop": angle_to_backprop(rule, *map(ops.asarray, watched))}


def report(rule, data):
    """Loss and errors on the three splits; errors in percent."""
    train_loss, train_error = evaluate(rule.net, *data.train)
    return {"train_loss": train_loss, "train_error": train_error,
            "validation_error": evaluate(rule.net, *data.validation)[1],
            "test_error": evaluate(rule.net, *data.test)[1]}


def check(loss, rule, epoch, step):
    """Stop at the first loss that is not a number; a pass of inverses alone has none to check."""
    if loss is not None and not np.isfinite(rule.net.ops.to_numpy(loss)).all():
        raise Diverged(f"{type(rule).__name__}: the loss is not finite in epoch {epoch}, step "
                       f"{step}; a smaller eta may help")
