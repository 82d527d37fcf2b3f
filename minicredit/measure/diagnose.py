"""Why is it not learning?  One call, an answer in words.

>>> print(diagnose(rule, x, y))

Each check is a function of (rule, x, y) that yields findings; what each calls too much stands at
the top of this file.
"""
from typing import NamedTuple

import numpy as np

from minicredit.coherent import CoherentNetwork, coherent_share, opposite_signs
from minicredit.measure.angles import angle_to_backprop, evaluate
from minicredit.measure.health import activity, not_finite, signal_norms, update_sizes
from minicredit.measure.inverses import inverse_error, inverses_of
from minicredit.measure.targets import target_diversity
from minicredit.network import forward

FATAL, BAD, SUSPECT = 3, 2, 1
QUIETER, LOUDER = 0.01, 100.0           # |delta[i]| / |delta[i+1]|
WIDE, AGAINST = 80.0, 100.0             # degrees to backprop
DEAD, SATURATED = 0.5, 0.5              # share of units; share of |h| > 0.99
COLLAPSED = 1e-6                        # share of the targets' variance that lies within classes
OPPOSITE = 0.05                         # share of units that Kickback tells the wrong direction
TOO_FAR, TOO_SHORT = 0.5, 1e-7          # |dW| / |W| in one step


class Finding(NamedTuple):
    """One thing that is wrong.

    severity : 3 nothing can be learned, 2 bad, 1 suspect
    layer : int, 0 for the input or where no layer is to blame
    number : float, what was measured
    what, remedy : str, what is wrong and what to try
    """

    severity: int
    layer: int
    number: float
    what: str
    remedy: str

    def __str__(self):
        where = f"layer {self.layer}: " if self.layer else ""
        return f"{where}{self.what}. Try: {self.remedy}."


class Diagnosis(list):
    """Findings, worst first; `str` says them in words, one line each.

    `healthy` is True if there are none; `summary` is one line of numbers.
    """

    def __init__(self, findings, summary):
        super().__init__(sorted(findings, key=lambda found: (-found.severity, found.layer)))
        self.summary, self.healthy = summary, not self

    def __str__(self):
        head = [] if self else ["Nothing wrong found."]
        return "\n".join([*head, *map(str, self), self.summary])


def diagnose(rule, x, y):
    """Say in words why a rule is not learning; changes nothing.

    Parameters
    ----------
    rule : any rule of `minicredit.rules`
    x : array (N, sizes[0])
        A batch of some hundred examples, of all classes.
    y : int array (N,), or targets

    Returns
    -------
    Diagnosis
    """
    findings = list(numbers(rule, x, y))
    if findings:                                            # NaN would only be found again
        return Diagnosis(findings, "The other checks wait until all numbers are finite.")
    for check in (signals, directions, units, inverses, targets, coherence, steps):
        findings += check(rule, x, y)
    loss, error, _ = evaluate(rule.net, x, y)
    angles = " ".join(f"{a:.0f}" for a in angle_to_backprop(rule, x, y))
    wrong = "" if np.isnan(error) else f", error {error:.1f} %"
    return Diagnosis(findings, f"On these {len(x)} examples: loss {loss:.3g}{wrong}, angle to "
                               f"backprop {angles} degrees from layer 1 up.")


def numbers(rule, x, y):
    """NaN and infinity."""
    for layer, name, n in not_finite(rule, x, y):
        remedy = "a smaller eta, from new weights: these are lost"
        if name == "x":
            remedy = "looking at the data; nothing after them can be right"
        elif name[0] in "hl":
            remedy = "smaller weights or inputs: the sums no longer fit the dtype"
        elif name[0] == "d":
            remedy = "a smaller eta, or a larger noise and smaller steps if there are inverses"
        what = "number that is" if n == 1 else "numbers that are"
        yield Finding(FATAL, layer, n, f"{name} holds {n} {what} not finite", remedy)


def signals(rule, x, y):
    """The teaching signal fades, grows, or is nothing at all."""
    loud, L = signal_norms(rule, x, y), rule.net.L
    if loud[L] == 0:
        yield Finding(SUSPECT, L, 0.0, "the output's error is exactly 0: there is nothing to learn "
                      "here", "other examples, or be content")
        return
    first = L - 1 if inverses_of(rule) else L               # a target step has its own units
    for i in range(L - 1, 0, -1):
        if loud[i] == 0:
            yield Finding(FATAL, i, 0.0, "hears nothing: its teaching signal is exactly 0",
                          f"looking at layer {i + 1}: are its weights 0, or all its units silent?")
            return
        ratio = loud[i] / loud[i + 1]
        if i < first and ratio < QUIETER:
            yield Finding(BAD, i, ratio, f"the teaching signal fades to {ratio:.1g} of what layer "
                          f"{i + 1} hears", "larger initial weights, fewer saturated units, adam")
        if i < first and ratio > LOUDER:
            yield Finding(BAD, i, ratio, f"the teaching signal is {ratio:.3g} times as loud as in "
                          f"layer {i + 1}", "smaller weights, forward and feedback")


def directions(rule, x, y):
    """The angle to backprop."""
    for i, degrees in enumerate(angle_to_backprop(rule, x, y), 1):
        if degrees > WIDE:
            remedy = ("inverses that have learned more" if inverses_of(rule) else "patience: "
                      "feedback starts at 90, and it or the forward weights turn")
            much = "against" if degrees > AGAINST else "hardly along"
            yield Finding(BAD if degrees > AGAINST else SUSPECT, i, degrees, f"the update points "
                          f"{much} backprop's: {degrees:.0f} degrees (90: no information)", remedy)


def units(rule, x, y):
    """Dead and saturated units."""
    for i, (dead, saturated) in activity(rule.net, x).items():
        if dead > DEAD:
            yield Finding(FATAL if dead == 1 else BAD, i, dead, f"{100 * dead:.0f} % of the units "
                          "are 0 for every example", "new initial weights, and a smaller eta if "
                          "they died in training")
        if saturated > SATURATED:
            yield Finding(BAD, i, saturated, f"{100 * saturated:.0f} % of the activities are "
                          "beyond 0.99: tanh has no slope there", "smaller weights or inputs, and "
                          "a smaller eta if they grew in training")


def inverses(rule, x, y):
    """Inverses that are worse than saying the mean."""
    for i, error in inverse_error(rule, x).items():
        if error > 1:
            yield Finding(BAD, i, error, f"its inverse errs by {error:.3g} times the variance of "
                          f"layer {i - 1}; the mean would err by 1", "training the inverses first, "
                          "a larger eta_inverse, or another sigma")


def targets(rule, x, y):
    """One target for a whole class."""
    if y.ndim == 1:
        for i, found in target_diversity(rule, x, y).items():
            if i < rule.net.L and found.spread < COLLAPSED:
                yield Finding(BAD, i, found.spread, "every example of a class gets the same "
                              "target", "sdtp, which adds a difference, ao-sdtp, or "
                              "first_target=gradient")


def coherence(rule, x, y):
    """Units that Kickback tells the wrong direction."""
    if isinstance(rule.net, CoherentNetwork) and hasattr(rule, "project"):
        shares = opposite_signs(rule.net, forward(rule.net, x), y)
        for i in range(1, rule.net.L):
            if shares[i] > OPPOSITE:
                right = 100 * coherent_share(rule.net)
                yield Finding(BAD, i, shares[i], f"{100 * shares[i]:.0f} % of the active units are "
                              f"told the opposite of backprop; {right:.0f} % of the weights above "
                              "the first layer have their sign", "signs=coherent and "
                              "coherence=clip")


def steps(rule, x, y):
    """Updates that are too large for the weights, or far too small."""
    for i, size in update_sizes(rule, x, y).items():
        if size == float("inf"):
            yield Finding(BAD, i, size, "its weights are all 0", "new initial weights")
        elif size > TOO_FAR:
            yield Finding(BAD, i, size, f"one step moves the weights by {size:.2g} of their length",
                          "a smaller eta, by ten")
        elif 0 < size < TOO_SHORT or rule.optimizer.eta == 0:
            yield Finding(SUSPECT, i, size, f"one step moves the weights by only {size:.1g} of "
                          "their length", "a larger eta, or adam")
