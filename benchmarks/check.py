"""No contender is timed before it did what the equations say.

Truth is our NumPy reference in float64.  It and every contender take the same STEPS steps, from the
same weights, on the same batch, with the same noise.  What an array changed by is compared, not the
array, in which a wrong update would drown; as the norm of what is wrong over the norm of what is
right.  The reference in float32 is off too, by rounding alone.  A contender may be off by TIMES as
much, FLOOR if that is more, and never MOST.

Rounding is not always small: Adam turns that of an entry near zero into a whole step the other way,
and a rectifier near its edge opens for one library and not for another.  That happens to one batch
and not to the next, and a mistake to all, so a contender that fails gets BATCHES to try.  Where an
error cancels to nothing in all batches (a unit whose weights to ten classes have one sign, under
uniform sign symmetry, hears the sum of p - y), Adam divides rounding by rounding, so a FEW entries
of an array that hardly change are not looked at.
"""
import numpy as np

from benchmarks.tasks import ETA, INVERSE, Ours, problem

STEPS = 3                       # the second and third show what an optimiser remembers
TIMES, FLOOR, MOST = 12, 2e-5, 0.01
BATCHES = 3
FEW, HARDLY = 0.02, 1e-3        # a share of an array; of what its most changed entry changes by
SLOW = 1e-3                     # of the learning rate, where two steps start from nearly one place
FRESH = 0.05                    # share by which two updates differ, at least, if noise is redrawn


class Wrong(ArithmeticError):
    """A contender does something else than the reference; the message says where."""


def course(contender, start, steps=STEPS):
    """The losses over some steps, and what each array changed by; dict.

    Who takes several steps at once (`at_once`) tells no losses.
    """
    at_once, losses = getattr(contender, "at_once", 1), []
    for _ in range(steps // at_once):
        loss = contender.step()
        losses += [float(loss.mean())] if at_once == 1 else []      # at once: some write it again
    told = {"loss": np.array(losses)} if at_once == 1 else {}
    arrays = contender.arrays()
    changed = {name: np.asarray(array, "float64") - start[name] for name, array in arrays.items()}
    return {**told, **changed}


def judged(change):
    """The entries of an array by which a contender is judged, of what is right; a mask."""
    seen = abs(change) > HARDLY * abs(change).max(initial=0)
    return seen if (~seen).sum() <= FEW * seen.size else np.ones_like(seen)


def off(got, want):
    """The largest relative error of a course, and where; infinite if something is not a number."""
    errors = {}
    for name in got:
        seen = judged(want[name])
        most = 2 * abs(want[name]).max(initial=0)   # as far as rounding over rounding goes
        if not (abs(got[name][~seen]) <= most).all():       # nor does a NaN pass
            errors[name] = np.inf
            continue
        wrong = np.linalg.norm((got[name] - want[name])[seen])
        right = np.linalg.norm(want[name][seen])
        error = wrong / right if right else wrong and np.inf
        errors[name] = float(error) if np.isfinite(error) else np.inf
    where = max(errors, key=errors.get)
    return errors[where], where


class Truth:
    """The course that is right, and how far off it a contender may be.

    Parameters
    ----------
    problem : benchmarks.tasks.Problem
        With the noise of so many steps.
    steps : int
    """

    def __init__(self, problem, steps=STEPS):
        self.problem, self.steps = problem, steps
        self.course = course(Ours(problem, "numpy", "float64"), problem.start, steps)
        self.rounding, _ = off(course(Ours(problem, "numpy"), problem.start, steps), self.course)
        self.allowed = min(max(TIMES * self.rounding, FLOOR), MOST)
        self.learns = {name for name, change in self.course.items() if change.any()}

    def check(self, contender):
        """How far off a contender is.

        Raises
        ------
        Wrong
            If that is more than rounding, or an array that learns is missing.
        """
        got = course(contender, self.problem.start, self.steps)
        missing = self.learns - set(got) - {"loss"}
        if missing:
            raise Wrong(f"does not have {', '.join(sorted(missing))}")
        error, where = off(got, self.course)
        if error > self.allowed:
            raise Wrong(f"{where} is off by {error:.2g} of what it should change by; rounding "
                        f"explains {self.allowed:.2g}")
        return error


class Judge:
    """Checks contenders for one task, on one batch, or several if it has to."""

    def __init__(self, task, steps=STEPS, eta=None):
        self.task, self.steps, self.eta, self.truths = task, steps, eta, []

    def truth(self, n):
        """The truth about batch n."""
        while len(self.truths) <= n:
            own = problem(self.task, self.steps, self.eta, seed=len(self.truths))
            self.truths.append(Truth(own, self.steps))
        return self.truths[n]

    def check(self, make):
        """How far off the contender is that `make` builds from a problem.

        Raises
        ------
        Wrong
        """
        for n in range(BATCHES):
            try:
                truth = self.truth(n)
                error = truth.check(make(truth.problem))
                break
            except Wrong:
                if n == BATCHES - 1:
                    raise
        draws_noise(make, self.task)
        return error


def draws_noise(make, task):
    """Refuse a contender that does not draw new noise in every step, once it draws its own.

    Two updates of the inverses from nearly the same weights differ by what the noise did.

    Raises
    ------
    Wrong
    """
    if task.rule not in INVERSE:
        return
    contender = make(problem(task, eta=SLOW * ETA[task.optimizer]))
    found = [contender.arrays()]
    for _ in range(2):
        contender.step()
        found.append(contender.arrays())
    before, first, second = (np.concatenate([arrays[name].ravel() for name in sorted(arrays)
                                             if name[0] == "V"]) for arrays in found)
    first, second = first - before, second - first
    if not np.linalg.norm(second - first) > FRESH * np.linalg.norm(first):
        raise Wrong("the inverses learn without fresh noise")
