"""Numbers that change from step to step and, when a step is replayed, live in device memory.

    Factor(2.0, at=scale)       a float: 2.0 times the double at `scale`
    Offset(3, at=counter)       an int: 3 more than the int64 at `counter`

A kernel takes its learning rates and step counters as the pair, see group.cuh, and an ordinary
number as a pair without a place.  A rule works with both as with any number: `scale * eta` is a
Factor, `t + 1` an Offset.  What else it makes of them (t % 10, scale < 0.5) is computed from the
present value, which no kernel could follow: the device is told that the step cannot be replayed.
"""
import operator


def watched(operation, reflected=False):
    """An operation on ordinary numbers as a method of a live one; the device is told of it."""

    def method(self, *others):
        self.tell()
        return operation(*others, self.plain()) if reflected else operation(self.plain(), *others)

    return method


class Live:
    """A number that lies on the device: neither int nor float, which C code would read past us.

    Parameters
    ----------
    present : number
        What lies there now.
    at : array (1,) of a device
    """

    __array_ufunc__ = None                          # NumPy's numbers let us answer

    def __init__(self, present, at):
        self.present, self.at = present, at

    def tell(self):
        """This step cannot be replayed."""
        self.at.owner.foreign("a number that was made of a counter or a scale")


for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "rshift"):
    bare = name.strip("_")
    setattr(Live, f"__{bare}__", watched(getattr(operator, name)))
    setattr(Live, f"__r{bare}__", watched(getattr(operator, name), reflected=True))
for name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "abs", "index"):
    setattr(Live, f"__{name}__", watched(getattr(operator, name)))
for name, operation in (("bool", bool), ("int", int), ("float", float), ("hash", hash),
                        ("round", round)):
    setattr(Live, f"__{name}__", watched(operation))


class Factor(Live):
    """factor times the float64 that lies at `at`."""

    def __init__(self, present, at, factor=1.0):
        super().__init__(present, at)
        self.factor = factor

    def plain(self):
        """The present value, as an ordinary float."""
        return self.present * self.factor

    def __mul__(self, other):
        if isinstance(other, (int, float)):
            return Factor(self.present, self.at, self.factor * other)
        self.tell()
        return self.plain() * other

    __rmul__ = __mul__


class Offset(Live):
    """offset more than the int64 that lies at `at`."""

    def __init__(self, present, at, offset=0):
        super().__init__(present, at)
        self.offset = offset

    def plain(self):
        """The present value, as an ordinary int."""
        return self.present + self.offset

    def __add__(self, other):
        if isinstance(other, int):
            return Offset(self.present, self.at, self.offset + other)
        self.tell()
        return self.plain() + other

    __radd__ = __add__
