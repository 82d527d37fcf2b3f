"""Operations of a step that become one work, because what lies between them nobody else reads.

    dense_grad, adam (W), adam (b)                  descend         the gradient is never stored
    signed_grad, adam (W), adam (b), keep_signs     signed_descend  in K networks
    signed_pull_back, signed_times_slope            signed_pull_back with a slope
    by_class, signed_times_slope                    one pass        beta is read as it lies
    network_sum, times_slope                        one pass
    pull_back, times_slope                          pull_back with a slope
    dense, dense, difference                        target          both products from one V
    dense, back - goal, times_slope                 reconstruct     back is never stored
    h - h_hat, times_slope                          one pass
    h - (s * e)                                     one pass
    softmax_xent, softmax, p - (s * delta)          one pass over the logits

Each pattern says which operations it replaces, and the last of them is where the new work stands.
So the earlier ones move, and where something in between writes what they read, or touches what they
write, they are left as they are.
"""
from minicredit.kernels.cuda import coherent, dense, losses, optimisers, pointwise

MOVES = (*optimisers.STATES, "sgd", "manhattan")        # optimisers that take a gradient
NOTHING = {"kind": 0, "w": None, "s1": None, "s2": None, "s3": None, "eta": 0.0, "a": 0.0,
           "b": 0.0, "c": 0.0, "t": 0}                  # an Update that moves no array


class Fuser:
    """The operations of a step, and who makes and reads which array.

    Parameters
    ----------
    entries : list of Entry
    result : array, what the step returns, or None
    """

    def __init__(self, entries, result):
        self.entries, self.works = entries, [entry.works for entry in entries]
        self.number = {id(entry): n for n, entry in enumerate(entries)}
        self.maker, self.readers = {}, {}
        for entry in entries:
            for array in entry.outputs():
                if array is not None and id(array) not in map(id, arrays(entry.args)):
                    self.maker[id(array)] = entry
            for array in arrays(entry.args):
                self.readers.setdefault(id(array), []).append(entry)
        self.readers.setdefault(id(result), []).append(None)

    def fused(self):
        """All works, in an order that is right."""
        for entry, works in zip(self.entries, self.works):
            pattern = getattr(self, entry.name, None)
            if pattern is not None and works:
                pattern(entry)
        for entry in self.entries:
            if entry.name in ("dense_grad", "signed_grad"):
                self.gradient(entry)
        return [one for works in self.works for one in works]

    def made(self, array, name, *readers):
        """The operation `name` that made an array, if only `readers` read it; else None."""
        entry = self.maker.get(id(array))
        if entry is None or entry.name != name or len(entry.outputs()) != 1:
            return None
        return entry if self.read_by(array) == {id(reader) for reader in readers} else None

    def read_by(self, array):
        """The ids of the operations that read an array."""
        return {id(reader) for reader in self.readers.get(id(array), ())}

    def replace(self, entries, works):
        """The works of several operations by others, where the last of them stood, if they may."""
        numbers = sorted(map(self.place, entries))
        if not self.movable(numbers):
            return
        for number in numbers:
            self.works[number] = []
        self.works[numbers[-1]] = works

    def movable(self, numbers):
        """Whether operations can all wait for the last of them, given their places in order."""
        others = [n for n in range(numbers[0], numbers[-1]) if n not in numbers]
        return not any(clash(moved, other) for n in numbers for m in others if m > n
                       for moved in self.works[n] for other in self.works[m])

    # The patterns, by the name of the last operation ----------------------------------------------

    def times_slope(self, entry):
        """A slope times what was pulled back, or a difference."""
        e, h, f = entry.args
        if f not in ("tanh", "relu", "linear"):
            return
        pulled = self.made(e, "pull_back", entry)
        if pulled:
            work = dense.pull_back_slope_work(*pulled.args, h, f, entry.result)
            return self.replace([pulled, entry], [work])
        summed = self.made(e, "network_sum", entry)
        if summed:
            work = coherent.network_sum_work(*summed.args, entry.result, h, f)
            return self.replace([summed, entry], [work])
        miss = self.made(e, "subtract", entry)
        if not miss or not all(shaped(x, h) for x in miss.args):
            return
        back, goal = miss.args
        if back is not h:
            return
        given = self.made(back, "dense", miss, entry)
        if given and given.args[3] == f:
            work = dense.reconstruct_work(*given.args[:3], goal, entry.result, f)
            return self.replace([given, miss, entry], [work])
        work = pointwise.each_work(f"{f}_miss", entry.result, back, goal)
        self.replace([miss, entry], [work])

    def signed_times_slope(self, entry):
        """A signed slope times what was pulled back."""
        e, h, sign = entry.args
        pulled = self.made(e, "signed_pull_back", entry)
        if pulled:
            work = coherent.signed_pull_back_work(*pulled.args, entry.result, h, sign)
            self.replace([pulled, entry], [work])

    def by_class(self, entry):
        """A loss's slopes, a class a network, if nothing but signed slopes of them is wanted."""
        beta, = entry.args
        asked = [one for one in self.readers.get(id(entry.result), ())]
        if all(one and one.name == "signed_times_slope" for one in asked):
            self.works[self.place(entry)] = []
            for one in asked:
                _, h, sign = one.args
                work = coherent.signed_slope_work(h, sign, one.result, beta, (1, len(h), 0))
                self.works[self.place(one)] = [work]

    def difference(self, entry):
        """A layer's target, from two products with one V."""
        h, up, down = entry.args
        above, now = self.made(up, "dense", entry), self.made(down, "dense", entry)
        if above and now and same(above.args[1:], now.args[1:]) and above is not now:
            (h_hat, V, c, f), h_above = above.args, now.args[0]
            if f in ("tanh", "relu", "linear"):
                work = dense.target_work(h_hat, h_above, V, c, h, entry.result, f)
                self.replace([above, now, entry], [work])

    def subtract(self, entry):
        """x - s e."""
        x, product = entry.args
        scaled = self.made(product, "multiply", entry) if hasattr(product, "shape") else None
        if scaled and shaped(x, product):
            numbers = [a for a in scaled.args if not hasattr(a, "shape")]
            if len(numbers) == 1:
                e, = arrays(scaled.args)
                work = pointwise.each_work("axpy", entry.result, x, e, s=-1 * numbers[0])
                self.replace([scaled, entry], [work])

    def softmax(self, entry):
        """The probabilities of logits whose loss is known, and a step from them down the loss."""
        asked = [one for one in self.readers[id(entry.args[0])] if one.name == "softmax_xent"]
        if len(asked) != 1 or len(self.works[self.place(asked[0])]) != 1:
            return
        xent, p = asked[0], entry.result
        steps = [one for one in self.readers.get(id(p), ())
                 if one and one.name == "subtract" and self.step_down(one, p, xent.result[1])]
        goal, step = (steps[0].result, self.step_down(steps[0], p, xent.result[1])) \
            if steps else (None, 0.0)
        work = losses.softmax_xent_work(*xent.args, *xent.result, p, goal, step)
        self.works[self.place(entry)] = []
        self.works[self.place(xent)] = [work]           # it needs no more than the loss does
        if steps:
            self.works[self.place(steps[0])] = []
            self.works[self.place(self.maker[id(steps[0].args[1])])] = []

    def step_down(self, entry, p, delta):
        """The s of p - s delta, whose product nobody else reads; None of another difference."""
        x, product = entry.args
        scaled = self.made(product, "multiply", entry) if hasattr(product, "shape") else None
        if x is not p or scaled is None or not any(a is delta for a in scaled.args):
            return None
        return next((a for a in scaled.args if not hasattr(a, "shape")), None)

    def gradient(self, entry):
        """A gradient that only optimisers read; they go into its epilogue, and signs to be kept."""
        dW, db = entry.result
        W, b = self.mover(dW), self.mover(db)
        if W is None or (b is None and id(db) in self.readers):
            return
        movers = [entry, W] if b is None else [entry, W, b]
        updates = [optimisers.update_fields(W.name, W.args),
                   optimisers.update_fields(b.name, b.args) if b else NOTHING]
        if entry.name == "dense_grad":
            return self.replace(movers, [dense.descend_work(*entry.args, *updates)])
        keeper = self.keeper(W, movers)
        sign = keeper.args[1] if keeper else None
        work = coherent.signed_descend_work(*entry.args, *updates, sign)
        self.replace([*movers, keeper] if keeper else movers, [work])

    def keeper(self, W, movers):
        """The `keep_signs` that follows an optimiser, if nothing comes between; else None."""
        later = [one for one in self.entries[self.place(W) + 1:]
                 if one.name == "keep_signs" and one.args[0] is W.args[0]]
        return later[0] if later and self.movable(sorted(map(self.place, [*movers, later[0]]))) \
            else None

    def place(self, entry):
        """Which operation of the step this is."""
        return self.number[id(entry)]

    def mover(self, g):
        """The optimiser that alone reads a gradient, or None."""
        readers = self.readers.get(id(g), [])
        if len(readers) == 1 and readers[0] is not None and readers[0].name in MOVES:
            return readers[0] if readers[0].args[1] is g else None
        return None


def clash(one, other):
    """Whether one work writes what the other reads or writes."""
    reads, writes = ({id(a) for a in one.reads}, {id(a) for a in one.writes})
    return any(id(a) in writes for a in (*other.reads, *other.writes)) \
        or any(id(a) in reads for a in other.writes)


def arrays(args):
    """Those arguments that are arrays."""
    return [a for a in args if hasattr(a, "on_device")]


def same(xs, ys):
    """Whether two lists of arguments are the same arrays and values."""
    return all(x is y or (not hasattr(x, "shape") and x == y) for x, y in zip(xs, ys))


def shaped(x, like):
    """Whether x is an array of the shape and type of another."""
    return hasattr(x, "on_device") and x.shape == like.shape and x.dtype == like.dtype


def fuse(entries, result):
    """The works of a step, put together where nobody needs what lies between.

    Parameters
    ----------
    entries : list of Entry
    result : array, what the step returns, or None

    Returns
    -------
    list of Work, in an order that is right
    """
    return Fuser(entries, result).fused()
