"""+ - * of a device's arrays: what a rule writes between operations, as an operation.

    h - target_step * e         is carried out by each.cu, and written down by who records a step

`Arithmetic` is mixed into a device's array class, before the class that it is made of (numpy's or
CuPy's ndarray).  What has no kernel (shapes that differ, an array of the host, integers) goes on to
that class, and so does everything that is no sum and no product; who records is told of it first.
"""


def elementwise(name):
    """The operator `name` of two operands: a kernel's if there is one."""
    plain = f"__{name}__"
    reflected = name[0] == "r" and name != "r"
    operation = {"add": "add", "sub": "subtract", "mul": "multiply"}[name.removeprefix("r")]

    def operator(self, other):
        x, y = (other, self) if reflected else (self, other)
        result = self.owner.arithmetic(operation, x, y)
        if result is None:
            self.owner.foreign(operation)
            result = self.owner.own(getattr(super(Arithmetic, self), plain)(other))
        return result

    operator.__name__ = plain
    return operator


def watched(name):
    """The method `name` of the class below; who records a step is told first."""

    def method(self, *args, **kwargs):
        self.owner.foreign(name)
        return self.owner.own(getattr(super(Arithmetic, self), name)(*args, **kwargs))

    method.__name__ = name
    return method


class Arithmetic:
    """See this module."""

    on_device = True
    owner = None

    __add__, __radd__ = elementwise("add"), elementwise("radd")
    __sub__, __rsub__ = elementwise("sub"), elementwise("rsub")
    __mul__, __rmul__ = elementwise("mul"), elementwise("rmul")

    @property
    def T(self):
        """The transpose: a view, which no kernel reads."""
        self.owner.foreign("T")
        return self.owner.own(super().T)

    def __neg__(self):
        return -1 * self

    def __truediv__(self, other):
        if isinstance(other, (int, float)):
            return self * (1 / other)
        self.owner.foreign("divide")
        return self.owner.own(super().__truediv__(other))


for name in ("__getitem__", "__setitem__", "__iter__", "__iadd__", "__isub__", "__imul__",
             "__itruediv__", "__matmul__", "__pow__", "__gt__", "__lt__", "__ge__", "__le__",
             "__eq__", "__ne__", "__abs__", "__and__", "__or__", "__invert__", "__bool__",
             "__float__", "__int__", "__array_ufunc__", "__array_function__", "sum", "prod", "max",
             "min", "mean", "argmax", "argmin", "any", "all", "copy", "astype", "reshape", "ravel",
             "flatten", "squeeze", "transpose", "swapaxes", "repeat", "take", "sort", "clip", "dot",
             "fill", "get", "item", "tolist"):
    setattr(Arithmetic, name, watched(name))
