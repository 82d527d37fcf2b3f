"""A backend that remembers a step, and plays it back as one compiled program.

    ops = Recorder()                has the names of this backend, and is handed on like it
    ops.take(rule.step, x, y)       rule.step(x, y): recorded the first time, played back after that

While a step is recorded every operation is written down: its name, its arguments, and the array
that it hands out, which is of the right shape and promised, not computed.  At the end `program`
computes everything in one call.  To play a step back the rule's own Python runs again: each
operation is compared with what is written down, gets the numbers that changed (learning rates, the
keys of the noise), and hands out the array it handed out before.  So the rule stays what one reads,
there is no second version of it, a step costs Python about a microsecond an operation, and of
everything that could be compiled only the program is.

Where there is no instruction for what a rule does, or it does something else than was written down
(another optimiser state, an array that is new), or anybody keeps an array of it, what was promised
so far is computed at once, operation by operation, and the step goes on in the ordinary way; after
more than PATIENCE such steps a rule is not recorded again.  Wide layers are not recorded in many
threads: each of them copies a whole matrix for a few examples, where `products` cuts matrices, too.

Only operations are promised.  What a rule does by other means, `W *= 0.9`, is done at once, before
what was promised so far; and neither that nor labels that it changes are noticed.
"""
import inspect

import numpy as np
from numba import get_num_threads

from minicredit.kernels import cpu, reference
from minicredit.kernels.cpu.places import kept
from minicredit.kernels.cpu.randomness import Host
from minicredit.kernels.cpu.schedule import IN_PLACE, compiled, instructed

NAMES = [name for name, f in vars(cpu).items() if inspect.isfunction(f) and name != "take"]
ARITHMETIC = {np.add: "add", np.subtract: "subtract", np.multiply: "multiply"}
PATIENCE = 2
WIDEST = 600                    # units of a layer, in any number of threads; or
FEW = 4                         # in so many at most
WIDE = 2048


def widest():
    """Units of the widest layer that is recorded."""
    return WIDE if get_num_threads() <= FEW else WIDEST


class Entry:
    """One operation: its name, its arguments, and what it gave."""

    __slots__ = "name", "args", "result", "ids", "several", "numbers", "changed"

    def __init__(self, name, args, result):
        self.name, self.args, self.result = name, args, result
        arrays = [a for a in args if isinstance(a, np.ndarray)]
        self.ids = [id(a) for a in arrays]
        self.several = all(a.size > 1 for a in arrays)
        self.numbers = [k for k, a in enumerate(args) if not isinstance(a, (np.ndarray, str))]
        self.changed = None             # where the program wants to be told of other numbers

    def is_now(self, args):
        """Whether it is done on the same arrays again; takes over its numbers, in place.

        Tuples compare what is not the same object by its value.  Two arrays of several numbers have
        none, which is an error; but an array of one number has, and may be equal to a number.
        """
        try:
            if self.several and args == self.args:
                for k in self.numbers:
                    if isinstance(args[k], np.ndarray):
                        return False
                return True
        except ValueError:
            return False
        if len(args) != len(self.args):
            return False
        differ = False
        for new, old in zip(args, self.args):
            if new is not old:
                if isinstance(new, np.ndarray) or isinstance(old, np.ndarray):
                    return False
                differ |= new != old
        return not differ or self.changed is not None and self.changed(self, args)

    def outputs(self):
        """The arrays that it made."""
        return self.result if isinstance(self.result, tuple) else (self.result,)


END = Entry("", (), None)               # follows the last


class Recorded(np.ndarray):
    """An array of a step that is recorded: sums and products of it are operations, too.

    Its numbers are only promised, so whoever looks at them, or takes a part or a copy, ends the
    recording: then they are there.  Whoever keeps it does so, too, at the end of the step.  Who
    looks by `np.asarray` or `memoryview` is not noticed, and sees NaN, or an earlier step's.
    """

    recorder = None

    def __array_finalize__(self, parent):
        self.recorder = getattr(parent, "recorder", None)
        self.seen("a part or a copy")

    def seen(self, what):
        """Something other than an operation is done with this."""
        if self.recorder is not None and self.recorder.busy:
            self.recorder.impossible(f"{what} of what is only promised")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        recorder, name = self.recorder, ARITHMETIC.get(ufunc)
        if recorder is not None and recorder.busy and name and method == "__call__" and not kwargs:
            return recorder.arithmetic[name](*inputs)
        plain = [bare(x) for x in inputs]
        if "out" in kwargs:
            kwargs["out"] = tuple(bare(x) for x in kwargs["out"])
        if recorder is not None and recorder.busy:
            recorder.leave("arithmetic that is not recorded")
        return getattr(ufunc, method)(*plain, **kwargs)


def looks(name):
    """The method `name` of an array, which looks at its numbers."""
    plain = getattr(np.ndarray, name)

    def method(self, *args, **kwargs):
        self.seen(name)
        return plain(self, *args, **kwargs)

    return method


for name in ("__getitem__", "__setitem__", "__iter__", "__contains__", "__bool__", "__int__",
             "__float__", "__index__", "__array_function__", "item", "tolist", "tobytes", "argmax",
             "argmin", "argsort", "nonzero", "sort", "fill"):
    setattr(Recorded, name, looks(name))


def bare(x):
    """The same memory, as an ordinary array."""
    return x.view(np.ndarray) if isinstance(x, Recorded) else x


def plainly(name, args, ops=cpu):
    """An operation, carried out."""
    args = [bare(a) for a in args]
    if name in ARITHMETIC.values():
        return getattr(np, name)(*args)
    return getattr(ops, name)(*args)


def lasting(argument):
    """Whether an argument of an operation is an array, or what never changes in its place."""
    try:
        return isinstance(argument, np.ndarray) or hash(argument) is not None
    except TypeError:                                   # a list, or a tuple with a list in it
        return False


def promised(name, args):
    """Arrays like those an operation makes; None where it only changes what there is.

    The reference makes them: nothing has to be compiled for that.  Their numbers are of no use, as
    what they come from may only be promised itself.
    """
    if name in IN_PLACE:
        return None
    with np.errstate(all="ignore"):
        return plainly(name, args, reference)


class Recorder:
    """See this module."""

    def __init__(self):
        self.tapes, self.failures, self.why = {}, {}, None
        self.busy, self.playing, self.tape = False, False, None
        self.following, self.at = (), 0     # of a tape that is played, and what comes next
        self.host = Host()              # draws weights
        for name in NAMES:
            setattr(self, name, self.operation(name))
        self.arithmetic = {name: self.operation(name) for name in ARITHMETIC.values()}

    def keeps(self, sizes):
        """Whether what a step makes is kept, on a network of layers so wide: it may be recorded."""
        return max(sizes[1:]) <= widest()

    def operation(self, name):
        """The operation `name`, watched."""
        def watched(*args):
            if self.playing:
                entry, self.busy = self.following[self.at], False
                try:                    # what is compared may be promised: that is no operation
                    same = entry.name == name and entry.is_now(args)
                finally:
                    self.busy = True
                if same:
                    self.at += 1
                    return entry.result
                self.leave(f"{name} came where something else was recorded")
            return self.did(name, args) if self.busy else plainly(name, args)

        return watched

    def take(self, learn, x, y):
        """learn(x, y): recorded, played back, or as it is; within a step, a part of that."""
        if self.busy:
            return learn(x, y)
        key = learn.__func__, id(learn.__self__), x.shape, y.shape, x.dtype, y.dtype
        if self.failures.get(key, 0) > PATIENCE:
            return learn(x, y)
        tape = self.tapes.get(key)
        if tape is None:
            return self.record(key, learn, x, y)
        return self.play(key, tape, learn, x, y)

    def record(self, key, learn, x, y):
        """learn(x, y), written down."""
        self.tape = tape = Tape(self, x, y)
        self.busy, self.playing = True, False
        try:
            stayed = self.kept_to(tape, learn) and not self.left(kept(tape))
            if stayed:
                self.carry_out(tape, x, y)
        finally:
            self.tape = None
        if tape.program is not None:
            self.tapes[key] = tape
        else:
            again = not stayed and tape.possible
            self.failures[key] = self.failures.get(key, 0) + (1 if again else PATIENCE + 1)
        return finished(tape.result)

    def carry_out(self, tape, x, y):
        """Everything on a new tape: by its program, if there is one."""
        try:
            tape.program = compiled(tape)
        finally:
            if tape.program is None:                # or there was an error, which goes on after it
                self.make_good(len(tape.entries))
        if tape.program is not None:
            tape.following = [*tape.entries, END]
            tape.program.remember(tape)
            tape.program.run(x, y)

    def play(self, key, tape, learn, x, y):
        """learn(x, y), from what is written down."""
        del self.tapes[key]             # until it is sure that nobody keeps what was handed out
        self.tape, tape.source = tape, (x, y)
        tape.y[...] = y
        self.following, self.at = tape.following, 0
        self.busy = self.playing = True
        if self.kept_to(tape, learn) and not self.left(tape.program.kept(tape)):
            self.tapes[key] = tape
            tape.program.run(x, y)
        else:
            self.failures[key] = self.failures.get(key, 0) + 1
        return finished(tape.result)

    def kept_to(self, tape, learn):
        """The step, whose result goes onto the tape; whether all of the step is there."""
        try:
            tape.result = learn(tape.x, tape.y)
            if self.busy and self.done() < len(tape.entries):
                self.leave("it ended early")
        except BaseException:
            if self.busy:
                self.leave("it was stopped")
            raise
        finally:
            stayed, self.busy, self.playing = self.busy, False, False
        return stayed

    def left(self, somebody):
        """Whether the step has to be left at its end, because somebody keeps an array."""
        if somebody:
            self.leave("an array is kept, and the next step would write there")
        return somebody

    def did(self, name, args):
        """One operation of a step, written down."""
        result = promised(name, args) if instructed(name) else None
        if not instructed(name, result, widest()) or not all(map(lasting, args)):
            self.impossible(f"there is no instruction for {name}, or it is too wide, or what it "
                            "is given may change")
            return plainly(name, args)
        if isinstance(result, tuple):
            result = tuple(self.watch(r) for r in result)
        elif result is not None:
            result = self.watch(result)
        self.tape.entries.append(Entry(name, args, result))
        return result

    def watch(self, array):
        """A copy of an array, whose arithmetic is recorded.

        It owns its memory: whoever has a view of it holds it, too.
        """
        copy = Recorded(array.shape, array.dtype)
        bare(copy)[...] = array
        copy.recorder = self
        return copy

    def impossible(self, why):
        """Leave, and if this was to be recorded, never try again."""
        recorded = not self.playing
        self.leave(why)
        if recorded:
            self.tape.possible = False
            self.tape.entries.clear()               # or all of a large step would be kept

    def done(self):
        """How many operations the step has come to."""
        return self.at if self.playing else len(self.tape.entries)

    def leave(self, why):
        """The rest of this step as it is; what was promised is computed first."""
        done = self.done()
        self.busy, self.playing, self.why = False, False, why
        self.make_good(done)

    def make_good(self, done):
        """Compute what was promised, operation by operation."""
        self.tape.source_into()
        for entry in self.tape.entries[:done]:
            results = plainly(entry.name, entry.args)
            for old, new in zip(entry.outputs(), results if isinstance(results, tuple)
                                else (results,)):
                if old is not None:
                    bare(old)[...] = new


def finished(result):
    """What a step returns: of what was promised a copy, because the next one will write there."""
    return bare(result).copy() if isinstance(result, Recorded) else result


class Tape:
    """Everything that a step did, on a batch whose place in memory stays.

    x, y : the batch that the rule sees; the program reads x where it was handed in
    source : the batch that was handed in
    result : what the step returned
    """

    def __init__(self, recorder, x, y):
        whole = np.int64 if np.issubdtype(y.dtype, np.integer) else y.dtype     # labels
        self.entries, self.source, self.result = [], (x, y), None
        self.x, self.y = recorder.watch(x), np.array(y, whole)
        self.program, self.possible = None, True
        self.following = []                         # what is played: the entries, and the end

    def made(self):
        """The arrays that its operations made."""
        return [a for entry in self.entries for a in entry.outputs() if a is not None]

    def pairs(self):
        """What an operation gave that made several."""
        return [entry.result for entry in self.entries if isinstance(entry.result, tuple)]

    def source_into(self):
        """The batch to where the operations find it."""
        bare(self.x)[...], self.y[...] = self.source
