"""What went wrong first, when numbers stopped being finite.

A run notices by a loss or a weight that is not finite, cheaply, and by then everything is NaN.  So
the steps since the last checkpoint are taken again, and this time looked at: every activity, every
target, every error signal before the step, every weight after it.  Steps are the same whenever they
are taken, so the one that fails is found.
"""
import re

import numpy as np

from minicredit import state
from minicredit.network import forward

KINDS = {"h": "the activity", "h_hat": "the target", "delta": "the error signal",
         "W": "the weights", "b": "the biases", "V": "the weights of the inverse",
         "c": "the biases of the inverse", "B": "the feedback weights",
         "M": "the feedback strengths"}


def finite(array):
    """Whether every entry is; a sum of squares tells most of the time, in one pass."""
    return bool(np.isfinite(np.vdot(array, array)) or np.isfinite(array).all())


def norm(array):
    """The length of an array as one vector; float64, so that it overflows later than its entries.
    """
    return float(np.linalg.norm(np.asarray(array, np.float64)))


def first_bad(named):
    """The first name whose array is not finite, or None."""
    return next((name for name, array in named.items() if not finite(array)), None)


def computed(rule, x, y):
    """{"h[1]": array, ...}: what one batch makes the rule compute, on the host."""
    ops, h = rule.net.ops, forward(rule.net, x)
    told = rule.feedback(h, y)
    found = listed("h", h)
    found["loss"] = told.loss
    found.update(listed("h_hat", told.h_hat or []) | listed("delta", told.delta))
    return {name: ops.to_numpy(array) for name, array in found.items()}


def listed(name, arrays):
    """{"h[1]": array, ...} of a list that counts layers; what is None is left out."""
    return {f"{name}[{i}]": array for i, array in enumerate(arrays) if i and array is not None}


def weights(rule):
    """{"W[1]": array, ...}: what learns, on the host."""
    arrays = {**rule.net.parameters(), **rule.arrays}
    return {name: rule.net.ops.to_numpy(array) for name, array in arrays.items()}


def replayed(rule, course, done, until):
    """Take the steps from `done` to `until` again, in place, and look.

    Returns
    -------
    bad : str or None, the first array that is not finite
    done : int, the step in which that was
    norms : dict, of the last step that was finite
    """
    norms = {name: norm(array) for name, array in weights(rule).items()}
    while done <= until:
        learn, scales, batches, first = course.rest_of_pass(done)
        for step, (x, y) in enumerate(batches, first):
            if not len(y):                                  # every picture of it is damaged
                done += 1
                continue
            course.scale(scales[step])
            x, y = rule.net.ops.asarray(x), rule.net.ops.asarray(y)
            before = computed(rule, x, y)
            if bad := first_bad(before):
                return bad, done, norms
            norms.update({name: norm(array) for name, array in before.items()})
            rule.net.ops.take(learn, x, y)
            after = weights(rule)
            if bad := first_bad(after):
                return bad, done, norms
            norms.update({name: norm(array) for name, array in after.items()})
            done += 1
            if done > until:
                break
    return None, until, norms


def explained(rule, course, noticed, until, last):
    """One line about a run that diverged.

    Parameters
    ----------
    rule : any rule; brought back to `last` and taken to where it failed, in place
    course : Course
    noticed : str
        The array that was seen to be not finite.
    until : int
        The step in which that was.
    last : Checkpoint or None
    """
    bad, done, norms = noticed, until, {}
    if last is not None:
        state.restore(rule, last.arrays, last.numbers)
        with np.errstate(all="ignore"):
            found, at, norms = replayed(rule, course, last.done, until)
        if found:
            bad, done = found, at
    text = f"{type(rule).__name__}: {in_words(bad)} not finite in epoch {course.place(done)[0]}, " \
           f"step {done}"
    if norms:
        told = ", ".join(f"|{name}| {size:.3g}" for name, size in shown(norms, bad).items())
        text += f"; last finite norms: {told}"
    kept = "" if last is None else f"; the checkpoint of step {last.done} is kept"
    return f"{text}{kept}; a smaller eta may help"


def in_words(name):
    """"h_hat[2]" -> "h_hat[2], the target of layer 2, is"."""
    if name == "loss":
        return "the loss is"
    match = re.fullmatch(r"(\w+)\[(\d+)\]", name)
    if not match:
        return f"{name} is"
    kind = KINDS.get(match[1], "an array of the rule")
    plural = "are" if kind.partition(" of ")[0].endswith("s") else "is"
    return f"{name}, {kind} of layer {match[2]}, {plural}"


def shown(norms, bad):
    """The norms worth a place on one line: of the bad array, of the activities and of W."""
    return {name: size for name, size in norms.items()
            if np.isfinite(size)
            and (name == bad or re.fullmatch(r"(h|h_hat|W)\[\d+\]|loss", name))}
