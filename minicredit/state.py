"""Everything that a rule keeps from one step to the next: its arrays, and its numbers.

They are found, not listed, so that a rule that keeps something new cannot be forgotten: whatever
can be reached from the rule through attributes, lists and dictionaries is its state, each array
once.  Arrays have the names of the network and of the rule where they have one:

    W[1] b[1]                   of the network
    V[2] B[2] M[2] Wz           of the rule
    optimizer.state[W[1]][0]    anything else: how to get there from the rule
    t   optimizer.t[W[1]]   optimizer.scale     numbers

The backend and the methods of the rule are the way it works, not what it keeps.
"""
from types import ModuleType

import numpy as np

from minicredit.errors import UserError
from minicredit.kernels import reference
from minicredit.keys import WARM_UP

SETTLED = 6                     # steps after which a recorder has made up its mind about a rule


def kept(rule):
    """Every array and every number of a rule and its network.

    Returns
    -------
    arrays : dict; name -> the array itself, of the backend
    numbers : dict; name -> (holder, key), where holder[key] is the number
    """
    arrays, numbers, seen = {**rule.net.parameters(), **rule.arrays}, {}, set()
    seen.update(map(id, arrays.values()))
    waiting = [(name, vars(rule), name, value) for name, value in vars(rule).items()]
    while waiting:
        name, holder, key, value = waiting.pop(0)           # the shortest way first
        if isinstance(value, (bool, int, float, np.generic)):
            if not isinstance(holder, tuple):
                numbers[name] = holder, key
        elif id(value) not in seen and not skipped(key, value):
            seen.add(id(value))
            if hasattr(value, "dtype") and hasattr(value, "shape"):
                arrays[name] = value
            else:
                waiting += inside(name, value)
    return arrays, numbers


def skipped(key, value):
    """Whether something is no state: how a rule works, or text."""
    return key in ("ops", "passes") or callable(value) or isinstance(value, (str, ModuleType))


def inside(name, value):
    """What a container or an object holds; list of (name, holder, key, value)."""
    if isinstance(value, dict):
        return [(f"{name}[{key}]", value, key, one) for key, one in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"{name}[{i}]", value, i, one) for i, one in enumerate(value)]
    held = getattr(value, "__dict__", {})
    return [(f"{name}.{key}", held, key, one) for key, one in held.items()]


def on_host(rule):
    """All arrays on the host, the rule's own where they are there, and all numbers; two dicts."""
    arrays, numbers = kept(rule)
    to_numpy = rule.net.ops.to_numpy
    return ({name: to_numpy(array) for name, array in arrays.items()},
            {name: plain(holder[key]) for name, (holder, key) in numbers.items()})


def copied(rule):
    """Copies of all arrays on the host, and all numbers; two dicts by name."""
    arrays, numbers = on_host(rule)
    return {name: np.array(array) for name, array in arrays.items()}, numbers


def plain(number):
    """A number in Python's own type."""
    return number.item() if isinstance(number, np.generic) else number


def restore(rule, arrays, numbers, missing=None):
    """Put arrays and numbers back where `copied` found them, in place.

    Parameters
    ----------
    arrays, numbers : dict
    missing : 0 or None
        What becomes of state that is not among them; None: it is refused.

    Raises
    ------
    UserError
        If they are of another network or rule; says what differs.
    """
    there, places = kept(rule)
    if missing is None:
        refuse_other(there, places, arrays, numbers)
    for name, array in there.items():
        array[...] = rule.net.ops.asarray(arrays[name]) if name in arrays else missing
    for name, (holder, key) in places.items():
        holder[key] = numbers.get(name, missing)


def refuse_other(there, places, arrays, numbers):
    """Refuse a state whose names, shapes or types are not the rule's."""
    for kind, now, then in (("array", there, arrays), ("number", places, numbers)):
        if odd := sorted(set(now) ^ set(then)):
            where = "the file has not" if odd[0] in now else "the file alone has"
            raise UserError(f"of another network or rule: {where} the {kind} {odd[0]}")
    for name, array in there.items():
        want, got = f"{array.dtype} {tuple(array.shape)}", arrays[name]
        if f"{got.dtype} {got.shape}" != want:
            raise UserError(f"of another network: {name} is {got.dtype} {got.shape} in the file, "
                            f"{want} now")


def size(rule):
    """The bytes of all arrays."""
    return sum(array.dtype.itemsize * array.size for array in kept(rule)[0].values())


def warm_up(rule, split, batch):
    """Steps whose effects are undone: what a rule makes in its first step is there afterwards.

    And a backend that records steps has then recorded them, so that the first step of a run is
    computed as all the others are, wherever the run begins.
    """
    ops, arrays, numbers = rule.net.ops, *copied(rule)
    for N in {min(batch, split.n), split.n % batch} - {0}:
        x = reference.uniform((N, rule.net.sizes[0]), (0, WARM_UP, 0, 0), str(rule.net.dtype))
        x, y = ops.asarray(x), ops.asarray(split.y[:N])
        for learn in rule.passes:
            for _ in range(SETTLED if hasattr(ops, "keeps") else 1):
                ops.take(learn, x, y)
    restore(rule, arrays, numbers, missing=0)
