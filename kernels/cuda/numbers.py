"""Numbers that change from step to step and, when a step is replayed, live in device memory.

    Factor(2.0, at=scale)       a float: 2.0 times the double at `scale`
    Offset(3, at=counter)       an int: 3 more than the int64 at `counter`

A kernel takes its learning rates and step counters as the pair, see group.cuh, and an ordinary
number as a pair without a place.  Here both are also the number itself, at its present value, so
that a rule works with them as with any other: `scale * eta` is a Factor, `t + 1` an Offset.
Whatever else is made of them is an ordinary number.
"""


class Factor(float):
    """factor times what lies at `at`; as a float, the present value.

    Parameters
    ----------
    present : float
        What lies there now.
    at : array (1,) of a device, float64
    factor : float
    """

    def __new__(cls, present, at, factor=1.0):
        self = super().__new__(cls, present * factor)
        self.present, self.at, self.factor = present, at, factor
        return self

    def __mul__(self, other):
        if isinstance(other, (int, float)) and not isinstance(other, Factor):
            return Factor(self.present, self.at, self.factor * other)
        return float(self) * other

    __rmul__ = __mul__


class Offset(int):
    """offset more than what lies at `at`; as an int, the present value.

    Parameters
    ----------
    present : int
        What lies there now.
    at : array (1,) of a device, int64
    offset : int
    """

    def __new__(cls, present, at, offset=0):
        self = super().__new__(cls, present + offset)
        self.present, self.at, self.offset = present, at, offset
        return self

    def __add__(self, other):
        if isinstance(other, int) and not isinstance(other, Offset):
            return Offset(self.present, self.at, self.offset + other)
        return int(self) + other

    __radd__ = __add__
