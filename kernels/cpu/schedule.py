"""From what a step did to the program that does it: instructions, in their order and places.

    fuse    a gradient that only the optimiser reads is made block by block and never kept
    order   see `order`
    place   see `places`
"""
from functools import cache, lru_cache
from sys import getrefcount

import numpy as np
from numba import config

from minicredit.kernels.cpu import networks, optimisers, program as do, tiles
from minicredit.kernels.cpu.addresses import address_of
from minicredit.kernels.cpu.memory import empty
from minicredit.kernels.cpu.order import ALL, GIVEN, ROWS, Instruction, ahead, stages
from minicredit.kernels.cpu.places import shared
from minicredit.kernels.cpu.products import GROUP
from minicredit.kernels.cpu.randomness import NOISY, NORMAL

F = {"linear": do.LINEAR, "tanh": do.TANH, "relu": do.RELU}
SLOPES = {"tanh": do.TANH_SLOPE, "relu": do.RELU_SLOPE}
ERRORS = {"tanh": do.TANH_ERROR, "relu": do.RELU_ERROR}
IN_PLACE = {*optimisers.handlers(float), "keep_signs"}      # operations that make nothing new


class Impossible(Exception):
    """There is no instruction for what a step did."""


def row_shape(array):
    """Rows, and numbers in a row; of several matrices, the rows of all."""
    rows = len(array) if array.ndim < 3 else array.size // max(array.shape[-1], 1)
    return rows, array.size // max(rows, 1)


@lru_cache(64)                                  # most arrays have the same
def rates(name, *numbers):
    """What the optimiser's kernel takes as x, of the numbers that the operation takes."""
    if name == "adam":
        t, eta, beta1, beta2, eps = numbers
        numbers = eta / (1 - beta1**t), beta1, beta2, 1 / (1 - beta2**t), eps
    return np.array(numbers, float)


def written(tape):
    """The arrays that a step makes, and those that it changes."""
    changed = [a for entry in tape.entries if entry.name in IN_PLACE for a in entry.args]
    return [*tape.made(), *(a for a in changed if isinstance(a, np.ndarray))]


def pairs(integers):
    """A table of two columns."""
    return np.array(list(integers), np.int64).reshape(-1, 2)


class Compiler:
    """Turns the entries of a tape into instructions."""

    def __init__(self, tape):
        self.tape, self.code, self.room = tape, [], 1
        self.made = {id(a) for a in tape.made()}
        self.loose = {id(a): a for a in (tape.x, *tape.made()) if a is not tape.result}  # may move
        self.K = 0                              # classes, if the step compares with labels
        self.NR = do.width(np.empty(0, tape.x.dtype))
        self.gradients = {}                     # id of dW or db: the entry that makes it
        self.readers = {}                       # id of an array: how many entries read it
        for entry in tape.entries:
            for i in entry.ids:
                self.readers[i] = self.readers.get(i, 0) + 1

    def instructions(self):
        """All of them, in the order of the tape."""
        tape = self.tape
        for entry in tape.entries:
            getattr(self, entry.name, self.no)(entry)
        if any(self.readers.get(i) for i in self.gradients):
            raise Impossible("a gradient that others than its optimiser read")
        if any(write and key == id(tape.x) for one in self.code for key, _, write in one.accesses):
            raise Impossible("the batch is changed")
        return self.code

    def no(self, entry):
        """There is no instruction for this."""
        raise Impossible(entry.name)

    def once(self, array):
        """Whether an array is read once, by an operation, and is not what the step returns."""
        return id(array) in self.loose and self.readers[id(array)] == 1

    def then(self, *args, **kwargs):
        """One more instruction; its arrays have to be in C order.

        Raises
        ------
        Impossible
        """
        self.code.append(Instruction(*args, **kwargs))
        if not all(a.flags.carray for a in self.code[-1].ints if isinstance(a, np.ndarray)):
            raise Impossible("an array that is not in C order")
        return self.code[-1]

    def agree(self, *pairs):
        """Of each two shapes, that they are one: what they are of is as the kernels believe.

        Where not, the operation itself says in its own words what it wanted.

        Raises
        ------
        Impossible
        """
        if any(one != other for one, other in pairs):
            raise Impossible("shapes that do not agree")

    def product(self, A, B, out, b=None, f=do.LINEAR, transposed=False):
        """out = f(A B + b), or with B^T."""
        (N, n), k = out.shape, A.shape[1]
        ints = [A, B, 0 if b is None else b, out, N, k, n, f, int(transposed), 0, 0]
        biases = [] if b is None else [(b, ALL)]
        self.then(do.PRODUCT, ints, reads=[(A, ROWS), (B, ALL), *biases], writes=[(out, ROWS)])
        self.need((N + GROUP * k) * self.NR)

    def need(self, numbers):
        """A thread's own memory has to hold so many numbers."""
        self.room = max(self.room, numbers)

    def each(self, what, *args, out, s=0.0):
        """One operation, number by number."""
        if any(np.shape(a) != out.shape for a in args) or out.ndim > 2:
            raise Impossible("shapes that differ, or of several networks")
        N, n = row_shape(out)
        places = (*args, *3 * [args[0]])[:3]
        return self.then(do.EACH, [what, N, n, *places, out], [s],
                         reads=[(a, ROWS) for a in args], writes=[(out, ROWS)])

    # The operations, by name ----------------------------------------------------------------------

    def dense(self, entry):
        h, W, b, f = entry.args
        if f not in F:
            raise Impossible(f)
        self.agree((b.shape, W.shape[1:]))
        self.product(h, W, entry.result, b, F[f])

    def pull_back(self, entry):
        delta, W = entry.args
        self.product(delta, W, entry.result, transposed=True)

    def dense_grad(self, entry):
        for i, g in enumerate(entry.result):
            self.gradients[id(g)] = entry, i
            if self.readers.get(id(g), 0) > 1 or g is self.tape.result:
                raise Impossible("a gradient that is read twice, or returned")

    signed_grad = dense_grad

    def optimiser(self, entry):
        """A step of an array: with its gradient, if that is not there yet."""
        w, name = entry.args[0], entry.name
        g = None if name == "leak" else entry.args[1]
        states = [a for a in entry.args[1 if g is None else 2:] if isinstance(a, np.ndarray)]
        self.agree(*((a.shape, w.shape) for a in (*states, *([] if g is None else [g]))))
        places = (optimisers.address(name, w.dtype), *(w, *states, w, w, w)[:4])
        known = self.gradients.pop(id(g), None)
        count = sum(isinstance(a, np.ndarray) for a in entry.args)          # then come numbers
        floats = rates(name, *entry.args[count:])
        changes = [(a, ROWS) for a in (w, *states)]
        if known is None:
            if w.ndim > 2 and id(w) in self.made:
                raise Impossible("activities of several networks, changed in place")
            g = w if g is None else g
            done = self.then(do.UPDATE, [*row_shape(w), g, *places], floats,
                             [(g, ROWS if g.ndim < 3 else ALL)], changes)
        elif known[0].name == "signed_grad":
            done = self.networks_gradient(*known[0].args, w, places, floats, changes)
        else:
            (h, delta), N = known[0].args, len(known[0].args[0])
            if known[1] == 0:
                done = self.then(do.GRADIENT, [h, delta, N, *w.shape, *places], floats,
                                 [(h, ALL), (delta, ALL)], changes)
                panels = tiles.panels(N, w.shape[1], w.reshape(-1))
                self.need(do.BLOCK * (self.NR + w.shape[1]) + panels)
            else:
                self.need(len(w))
                done = self.then(do.BIAS, [delta, N, len(w), *places], floats,
                                 [(delta, ALL)], changes)
        entry.changed = Changed(done, lambda args: rates(name, *args[count:]))

    sgd = momentum = manhattan = rmsprop = rmsprop_centred = adam = leak = optimiser

    # K networks side by side: a thread has its examples of each, and its rows of all matrices

    def signed_dense(self, entry):
        h, W, b, sign = entry.args
        (K, k, n), N, common = W.shape, h.shape[-2], h.ndim == 2
        self.agree((h.shape, (N, k) if common else (K, N, k)), (b.shape, (K, n)),
                   (sign.shape, (n,)))
        ints = [h, W, b, sign, entry.result, N, k, n, K, int(common)]
        self.then(networks.SIGNED, ints, reads=[(h, ROWS), (W, ALL), (b, ALL), (sign, ALL)],
                  writes=[(entry.result, ROWS)])
        self.need((N + k * -(-n // self.NR)) * self.NR + 2 * (networks.LONG + n))

    def signed_pull_back(self, entry):
        delta, W = entry.args
        (K, n_in, n_out), N = W.shape, delta.shape[1]
        self.agree((delta.shape, (K, N, n_out)))
        ints = [delta, W, entry.result, N, n_in, n_out, K]
        self.then(networks.BACK, ints, reads=[(delta, ROWS), (W, ALL)],
                  writes=[(entry.result, ROWS)])
        self.need((N + n_out * -(-n_in // self.NR)) * self.NR)

    def signed_times_slope(self, entry):
        e, h, sign = entry.args
        K, N, n = h.shape
        self.agree((e.shape, (K, N, 1 if e.shape[-1] == 1 else n)), (sign.shape, (n,)))
        self.need(networks.LONG + n + (N + 1) * self.NR)
        self.then(networks.SLOPE, [e, h, sign, entry.result, N, n, K, e.shape[2]],
                  reads=[(e, ROWS), (h, ROWS), (sign, ALL)], writes=[(entry.result, ROWS)])

    def class_sums(self, entry):
        K, N, n = entry.args[0].shape
        self.totals(entry, (N, K, n), (n, N * n, 1), (K, 1))

    def by_class(self, entry):
        N, K = entry.args[0].shape
        self.totals(entry, (N, K, 1), (K, 1, 0), (1, N))

    def network_sum(self, entry):
        K, N, n = entry.args[0].shape
        self.totals(entry, (N, n, K), (n, 1, N * n), (n, 1))

    def totals(self, entry, sizes, strides, out):
        """Sums over an axis."""
        x, = entry.args
        ints = [x, entry.result, *sizes, *strides, *out, x.size]
        self.then(networks.TOTALS, ints, reads=[(x, ROWS)], writes=[(entry.result, ROWS)])

    def keep_signs(self, entry):
        W, sign = entry.args
        self.agree((sign.shape, W.shape[-1:]))
        self.need(networks.LONG + len(sign))
        self.then(networks.KEEP, [W, sign, *row_shape(W)], reads=[(sign, ALL)],
                  writes=[(W, ROWS)])

    def networks_gradient(self, h, delta, w, places, floats, changes):
        """A gradient of K networks and its optimiser: the weights' or the biases'."""
        (K, N, n), common = delta.shape, h.ndim == 2
        if w.ndim == 2:
            self.need(networks.LONG + 2 * n)
            return self.then(networks.BIASES, [delta, N, n, K, *places], floats,
                             [(delta, ALL)], changes)
        self.need(do.BLOCK * (self.NR + n) + tiles.panels(N, n, w.reshape(-1)))
        return self.then(networks.DESCENT, [h, delta, N, w.shape[1], n, K, int(common), *places],
                         floats, [(h, ALL), (delta, ALL)], changes)

    # Number by number, row by row

    def add(self, entry):
        self.each(do.ADD, *entry.args, out=entry.result)

    def subtract(self, entry):
        self.each(do.SUBTRACT, *entry.args, out=entry.result)

    def multiply(self, entry):
        x, y = entry.args
        x, s = (y, x) if np.isscalar(x) else (x, y)
        if not np.isscalar(s):
            raise Impossible("a product of arrays")
        done = self.each(do.SCALE, x, out=entry.result, s=float(s))
        entry.changed = Changed(done, lambda args: next(a for a in args if np.isscalar(a)))

    def difference(self, entry):
        self.each(do.DIFFERENCE, *entry.args, out=entry.result)

    def with_signs(self, entry):
        self.each(do.SIGNS, *entry.args, out=entry.result)

    def times_slope(self, entry):
        e, h, f = entry.args
        last = self.code[-1] if self.code else None
        if f == "linear":
            self.each(do.COPY, e, out=entry.result)
        elif f in SLOPES and last and last.gives(do.SUBTRACT, e) and self.once(e):
            x, y, _ = self.code.pop().ints[GIVEN]
            self.each(ERRORS[f], x, y, h, out=entry.result)
        elif f in SLOPES:
            self.each(SLOPES[f], e, h, out=entry.result)
        else:
            raise Impossible(f)

    def softmax_xent(self, entry):
        (a, y), (loss, delta) = entry.args, entry.result
        self.agree((y.shape, a.shape[:1]))
        if y is not self.tape.y:
            raise Impossible("labels that are not the batch's")
        if self.K not in (0, a.shape[1]):
            raise Impossible("labels for several numbers of classes")
        ints = [a, y, loss, delta, *a.shape]
        self.K = a.shape[1]
        self.then(do.XENT, ints, reads=[(a, ROWS), (y, ROWS)],
                                writes=[(loss, ROWS), (delta, ROWS)])

    def softmax(self, entry):
        a, = entry.args
        self.then(do.SOFTMAX, [a, 0, 0, entry.result, *a.shape],
                  reads=[(a, ROWS)], writes=[(entry.result, ROWS)])

    def join(self, entry):
        if len(entry.args) != 2:
            raise Impossible("more than two parts")
        x, y = entry.args
        out = entry.result
        self.agree((x.shape[:-1], out.shape[:1]), (y.shape[:-1], out.shape[:1]))
        self.then(do.JOIN, [x, y, out, len(out), x.shape[1], y.shape[1]],
                  reads=[(x, ROWS), (y, ROWS)], writes=[(out, ROWS)])

    def normal(self, entry):
        self.noise(entry, NORMAL, entry.result, entry.args[1], 1.0)

    def noisy(self, entry):
        h, sigma, key = entry.args
        self.noise(entry, NOISY, h, key, sigma)

    def noise(self, entry, what, h, key, sigma):
        """Numbers of a key."""
        out = entry.result
        if out.ndim > 2:
            raise Impossible("noise for several networks")
        if isinstance(sigma, np.ndarray):
            raise Impossible("noise whose size may change in its place")
        ints = [what, *row_shape(out), h, out, *words(key)]
        reads = [] if h is out else [(h, ROWS)]
        done = self.then(do.NOISE, ints, [sigma], reads=reads, writes=[(out, ROWS)])
        entry.changed = Renamed(done, what)


def words(key):
    """The counter's upper three words and the key's two."""
    seed, stream, layer, step = key
    return (stream << 16 | layer, step & 0xFFFFFFFF, step >> 32, seed & 0xFFFFFFFF, seed >> 32)


class Changed:
    """Puts an operation's new numbers into the table."""

    def __init__(self, instruction, floats):
        self.instruction, self.floats = instruction, floats

    def __call__(self, entry, args):
        """Whether they can be put there."""
        self.row[:] = self.floats(args)
        entry.args = args
        return True

    def place(self, code, floats, row):
        """Once the table is there."""
        self.row = floats[row, :len(self.instruction.floats)]


class Renamed(Changed):
    """Puts a new key and sigma into the table."""

    def __init__(self, instruction, what):
        self.instruction, self.what = instruction, what

    def __call__(self, entry, args):
        if self.what == NOISY:
            _, sigma, key = args
        else:
            (shape, key, dtype), sigma = args, 1.0
            if (shape, dtype) != (entry.args[0], entry.args[2]):
                return False
        self.row[:], self.sigma[0] = words(key), sigma
        entry.args = args
        return True

    def place(self, code, floats, row):
        """Once the table is there."""
        self.row, self.sigma = code[row, 6:11], floats[row]


@cache
def function(op, dtype):
    """The address of an instruction's function, compiled when a program first wants it."""
    return address_of({**do.handlers(dtype), **networks.handlers(dtype)}[op], 6)


class Program:
    """Tables, ready to run."""

    def __init__(self, compiler, tape):
        found = stages(compiler.instructions())
        for stage in found:
            ahead(stage)
        self.memory = shared(found, compiler.loose)
        instructions = [one for stage in found for one in stage]
        self.waits = np.cumsum([0, *map(len, found)])
        self.code = np.zeros((len(instructions), do.INTS), np.int64)
        self.floats = np.zeros((len(instructions), do.FLOATS))
        for row, one in enumerate(instructions):
            self.code[row, :1 + len(one.ints)] = one.op, *map(self.address, one.ints)
            self.floats[row, :len(one.floats)] = one.floats
        for entry in tape.entries:
            if entry.changed is not None:
                entry.changed.place(self.code, self.floats,
                                    instructions.index(entry.changed.instruction))
        self.reads_x = pairs((row, 1 + place) for row, one in enumerate(instructions)
                             for place, x in enumerate(one.ints) if x is tape.x)
        self.stays = pairs((a.ctypes.data, a.ctypes.data + a.nbytes)        # all in C order
                           for a in written(tape) if id(a) not in compiler.loose)
        self.watched = [tape.x, tape.y, *tape.pairs(), *tape.made()]
        self.ids = set(map(id, self.watched))
        self.K = compiler.K
        self.labels, dtype = tape.y if self.K else np.empty(0, np.int64), tape.x.dtype
        self.scratch = empty((config.NUMBA_NUM_THREADS, compiler.room), dtype)
        for row in self.code:
            row[do.WHO], row[do.TILE] = function(row[0], dtype), tiles.address(dtype)

    def remember(self, tape):
        """How many hold each of what is watched, as long as nobody keeps it; which is returned."""
        self.usual, self.returned = self.holders(), self.given(tape.result)

    def kept(self, tape):
        """Whether somebody has got to know one, or a view of it: who returns it now has it, too."""
        return self.holders() != self.usual or self.given(tape.result) != self.returned

    def given(self, result):
        """What a step returns, if it is watched."""
        return id(result) if id(result) in self.ids else None

    def holders(self):
        """How many hold each of it."""
        return list(map(getrefcount, self.watched))

    def address(self, x):
        """An integer as it is; of an array its memory, or that which it shares."""
        return self.memory.get(id(x), x).ctypes.data if isinstance(x, np.ndarray) else x

    def run(self, x, y):
        """The step, on another batch; its labels are on the tape.

        Raises
        ------
        IndexError
            If there is a label that there is not; nothing is learnt then.
        """
        writable = x.flags.writeable                    # if not it would be another type
        x = np.ascontiguousarray(x) if writable else np.array(x, order="C")
        said = do.run(x.reshape(-1), self.labels, self.K, self.reads_x, self.stays, self.waits,
                      self.code, self.floats, self.scratch, self.scratch.shape[1])
        if said == do.NO_SUCH_LABEL:
            raise IndexError(f"softmax_xent: wanted labels in 0..{self.K - 1}; got {y.min()} to "
                             f"{y.max()}")
        if said == do.WRITTEN_OVER:
            self.run(x.copy(), y)


def instructed(name, result=None, widest=0):
    """Whether there is an instruction for an operation, and what it gives is not too wide."""
    arrays = result if isinstance(result, tuple) else () if result is None else (result,)
    return hasattr(Compiler, name) and all(a.shape[-1] <= widest
                                           for a in arrays if a.ndim > 1 and a.size)


def compiled(tape):
    """The program of a tape; None if there is none for what it does."""
    types = {a.dtype for entry in tape.entries for a in (*entry.args, *entry.outputs())
             if isinstance(a, np.ndarray) and a.ndim and a is not tape.y}
    if len(types) != 1:
        return None
    try:
        return Program(Compiler(tape), tape)
    except Impossible:
        return None
