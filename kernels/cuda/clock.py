"""What changes in a rule from step to step: its counters, and the scale of its optimisers.

    rule.t, optimizer.t[name]       int; grow by the same in every step
    optimizer.scale                 float; whoever trains sets it between steps, one for all of
                                    `rule.optimizers`
    steps, examples                 int; how many there were: where an epoch stands

While a step is recorded they stand in the rule as `Offset` and `Factor` (see `numbers`), so that
the kernels learn where in device memory to look.  After that the device's numbers move on by
themselves with every replay, `tell` copies what somebody changed on the host, and `forward` counts
on the host what the device has done.
"""
import numpy as np

from minicredit.kernels.cuda.numbers import Factor, Offset
from minicredit.kernels.cuda.work import Work


def optimizers(rule):
    """The optimisers of a rule, whether or not a schedule knows them."""
    return [part for part in vars(rule).values() if hasattr(part, "descend")]


def counters(rule):
    """Where the ints are: (dict, key)."""
    places = [(vars(rule), "t")] if isinstance(getattr(rule, "t", None), int) else []
    return places + [(optimizer.t, name) for optimizer in optimizers(rule)
                     for name in getattr(optimizer, "t", ())]


def settings(rule):
    """What a recorded step takes for granted: every other number, and which arrays there are."""
    given = []
    for part in (rule, *optimizers(rule)):
        given += [value for name, value in vars(part).items()
                  if isinstance(value, (int, float, str)) and name not in ("t", "scale")]
    arrays = (*rule.net.parameters().values(), *rule.arrays.values())
    return given, [id(array) for array in arrays]


def plain(number):
    """An ordinary int or float."""
    return number.plain() if hasattr(number, "plain") else number


class Clock:
    """The counters and scales of one rule, on the host and on the device.

    Parameters
    ----------
    device : Device
    rule : any rule
    N : int
        Examples of a step.

    Attributes
    ----------
    counts : int64 array of the device: steps, examples, then the counters of `ints`
    scales : float64 array of the device: one for all of `rule.optimizers`, then one for each other
    """

    def __init__(self, device, rule, N):
        self.device, self.own = device, {"steps": 0, "examples": 0}
        self.ints = [(self.own, "steps"), (self.own, "examples"), *counters(rule)]
        self.floats, self.cells = [], []
        for one in optimizers(rule):
            scheduled = any(one is other for other in rule.optimizers)
            self.floats.append((vars(one), "scale"))
            self.cells.append(0 if scheduled else max(self.cells, default=0) + 1)
        n, m = len(self.ints), max(self.cells, default=0) + 1
        self.counts, self.scales = device.zeros(n, np.int64), device.zeros(m, np.float64)
        self.at = [self.counts[i:i + 1] for i in range(n)]
        self.at_scale = [self.scales[i:i + 1] for i in range(m)]
        self.there, self.there_scale = [0] * n, [0.0] * m       # what the device has
        self.grow = [1, N] + [0] * (n - 2)

    def agrees(self):
        """Whether the optimisers that share a scale have the same."""
        shared = [place[key] for (place, key), cell in zip(self.floats, self.cells) if not cell]
        return len(set(shared)) <= 1

    def tell(self):
        """The host's numbers to the device, where they differ from what it has."""
        for i, (place, key) in enumerate(self.ints):
            if place[key] != self.there[i]:
                self.there[i] = int(place[key])
                self.at[i].fill(self.there[i])
        for cell, (place, key) in zip(self.cells, self.floats):
            if place[key] != self.there_scale[cell]:
                self.there_scale[cell] = float(place[key])
                self.at_scale[cell].fill(self.there_scale[cell])

    def start(self):
        """Put the device's numbers into the rule."""
        self.tell()
        for i, (place, key) in enumerate(self.ints):
            place[key] = Offset(place[key], self.at[i])
        for cell, (place, key) in zip(self.cells, self.floats):
            place[key] = Factor(place[key], self.at_scale[cell])

    def stop(self):
        """Ordinary numbers again; how much each counter grew is known now.

        Returns
        -------
        bool: whether the counters did nothing but grow
        """
        regular = True
        for i, (place, key) in enumerate(self.ints):
            regular = regular and isinstance(place[key], Offset)
            if i > 1:
                self.grow[i] = getattr(place[key], "offset", 0)
            place[key] = plain(place[key])
        for place, key in self.floats:
            regular = regular and isinstance(place[key], Factor)
            place[key] = plain(place[key])
        return regular

    def tick(self, table=None, length=0):
        """The work that moves the device's counters on, behind everything else of a step.

        Parameters
        ----------
        table : float64 array of the device, or None
            The scale of `rule.optimizers` at every step, to be looked up.
        length : int
            Of the table.
        """
        by = self.device.asarray(np.array(self.grow, np.int64))
        problem = {"counters": self.counts, "by": by, "counts": len(self.grow), "table": table,
                   "value": None if table is None else self.scales, "length": length}
        return Work("tick", (), problem, 1, 1, [by], [self.counts, self.scales],
                    np.dtype(np.float32))

    def advanced(self, steps=1):
        """The device's counters have moved on by so many steps."""
        for i, grow in enumerate(self.grow):
            self.there[i] += steps * grow

    def taken(self):
        """The rule took the step itself, and so moved its own counters."""
        self.advanced()
        for key, grow in zip(self.own, self.grow):
            self.own[key] += grow

    def forward(self, steps=1):
        """The device has taken so many steps; the host counts along."""
        self.advanced(steps)
        for (place, key), grow in zip(self.ints, self.grow):
            place[key] += steps * grow
