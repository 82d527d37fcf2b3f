"""What is asked of a device: one problem of one kernel, and many of them in one launch.

    Work        one problem: the kernel, what it is compiled with, the fields of its struct
    run         works in order; neighbours that want the same kernel share a launch
    require     what a kernel may be given: it gets a bare pointer and believes the rest

A kernel that is handed a group of problems finds out which is its block's, see group.cuh.  So a
layer's gradient is a launch by itself in a debugger, and all layers' are one in a recorded step.
"""
from dataclasses import dataclass

import numpy as np

MOST = 16                               # problems in a group: they travel as a launch's arguments
REAL = {"float32": "float", "float64": "double"}


@dataclass
class Work:
    """One problem of one kernel.

    Attributes
    ----------
    kernel : str
        The name of the file without .cu, which is the kernel's; or "file:kernel".
    variant : tuple of (define, value)
        What it is compiled with, besides `real`.
    problem : dict
        The fields of its struct: arrays, and numbers.
    blocks : int
        How many blocks it takes; with none there is nothing to do.
    threads : int or tuple
        Of a block.
    reads, writes : lists of arrays
    dtype : dtype
        What `real` is; that of the first array if it is not given.
    """

    kernel: str
    variant: tuple
    problem: dict
    blocks: int
    threads: object
    reads: list
    writes: list
    dtype: object = None

    def __post_init__(self):
        if self.dtype is None:
            arrays = [*self.writes, *self.reads]
            self.dtype = next(a.dtype for a in arrays if a.dtype.name in REAL)

    @property
    def key(self):
        """Works with the same key can share a launch."""
        return self.kernel, self.variant, self.threads, self.dtype


@dataclass
class Group:
    """The argument of a launch that serves several problems.

    Attributes
    ----------
    problems : list of dict, 16 at most
    blocks : list of int, those of each
    """

    problems: list
    blocks: list


def grouped(works):
    """Lists of neighbours that share a launch; works without blocks are left out."""
    groups = []
    for work in works:
        if not work.blocks:
            continue
        if groups and groups[-1][0].key == work.key and len(groups[-1]) < MOST:
            groups[-1].append(work)
        else:
            groups.append([work])
    return groups


def run(device, works):
    """Carry out works, in order.  Those next to each other with the same key do not wait."""
    for group in grouped(works):
        launch(device, group)


def launch(device, group):
    """One launch for works with the same key."""
    blocks = [work.blocks for work in group]
    device.launch(*compiled(group[0]), (sum(blocks),), group[0].threads,
                  [Group([work.problem for work in group], blocks)])


def prepare(device, group):
    """Compile what `launch` needs, and launch nothing."""
    device.prepare(*compiled(group[0]))


def compiled(one):
    """What a work's kernel is compiled from: file, kernel, defines."""
    file, _, kernel = one.kernel.partition(":")
    return file, kernel or file, (("real", REAL[one.dtype.name]), *one.variant)


def require(name, x, shape, dtype):
    """Refuse what a kernel would misread.

    Raises
    ------
    ValueError
        If `x` is no array of a device, has another shape or dtype, or is a view whose numbers do
        not follow each other in memory (x.T, x[:, ::2]).
    """
    if not hasattr(x, "on_device"):
        raise ValueError(f"{name}: wanted an array on the device, as `asarray` gives it; got "
                         f"{type(x).__module__}.{type(x).__name__}")
    if x.shape != tuple(shape) or x.dtype != dtype:
        raise ValueError(f"{name}: wanted {np.dtype(dtype)} {tuple(shape)}; got {x.dtype} "
                         f"{x.shape}")
    if not x.flags.c_contiguous:
        raise ValueError(f"{name}: wanted an array in C order, got a view with strides "
                         f"{x.strides}; copy it first")
