"""A program of a step: in which order, and in which memory, and that nobody can tell."""
import os
import subprocess
import sys
from itertools import groupby, zip_longest

import numpy as np
import pytest
from conftest import batches, rule_of
from numba import get_num_threads

from minicredit.kernels import load, recording
from minicredit.kernels.cpu import places, tiles
from minicredit.kernels.cpu import program as do
from minicredit.kernels.cpu.order import ALL, NEXT, RIGHT, ROWS, Instruction, ahead, stages
from minicredit.kernels.cpu.schedule import Compiler

RULES = [("bp", {}), ("fa", {}), ("dfa", {}), ("kickback", {}), ("kolen-pollack", {}),
         ("dtp", {"schedule": "parallel"}), ("sdtp", {"schedule": "parallel"}),
         ("ao-sdtp", {"schedule": "parallel"}), ("tp", {"schedule": "parallel"})]
NETS = ["64-1-2-3-10", "64-15-16-17-10", "64-31-48-33-10", "64-128-8-240-10"]


def tape_of(name, given, net="64-32-24-32-10"):
    """What one step of a rule is written down as."""
    rule = rule_of(name, "numba", **{**given, **({} if name == "kickback" else {"net": net})})
    for x, y in batches(1):
        rule.net.ops.take(rule.passes[0], x, y)
    tape, = rule.net.ops.tapes.values()
    tape.program = None                             # it holds arrays, too
    for entry in tape.entries:
        entry.changed = None
    return tape


@pytest.mark.parametrize("N", [1, tiles.MR + 1])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name, given", [("bp", {}), ("dtp", {"schedule": "parallel"})])
def test_matrices_of_any_width_are_read_as_they_are(name, given, net, N):
    """Whole vectors or not, from where they lie or from panels."""
    optimizers = {"optimizer": "sgd", **({"optimizer_inverse": "sgd"} if name == "dtp" else {})}
    rules = [rule_of(name, backend, "float64", net=net, **optimizers, **given)
             for backend in ("numpy", "numba")]
    for x, y in batches(3, N):
        for rule in rules:
            rule.net.ops.take(rule.step, x.astype("float64"), y)
    assert rules[1].net.ops.tapes
    for key, array in {**rules[0].net.parameters(), **rules[0].arrays}.items():
        got = {**rules[1].net.parameters(), **rules[1].arrays}[key]
        assert np.allclose(got, array, rtol=1e-9, atol=1e-12), key


# Order --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, given", RULES)
def test_what_needs_another_instruction_comes_after_it(name, given):
    code = Compiler(tape_of(name, given)).instructions()
    found = stages(code)
    where = {id(one): (s, k) for s, stage in enumerate(found) for k, one in enumerate(stage)}
    assert len(where) == len(code) == sum(map(len, found))
    for i, one in enumerate(code):
        touched = {}
        one.touch(touched)
        for other in code[i + 1:]:
            if other.clashes(touched, sharing=False):
                assert where[id(one)] < where[id(other)]
            if other.clashes(touched, sharing=True):
                assert where[id(one)][0] < where[id(other)][0]


def test_products_with_one_matrix_come_one_after_the_other():
    tape = tape_of("dtp", {"schedule": "parallel"})
    for stage in stages(Compiler(tape).instructions()):
        runs = [matrix for matrix, _ in groupby(one.matrix() for one in stage if one.matrix())]
        assert len(runs) == len(set(runs))
    assert sum(len(list(run)) > 1 for stage in stages(Compiler(tape).instructions())
               for _, run in groupby([one.matrix() for one in stage if one.matrix()])) >= 4


def test_a_product_asks_for_the_next_other_matrix_of_its_stage_and_the_last_for_none():
    tape = tape_of("dtp", {"schedule": "parallel"})
    for stage in stages(Compiler(tape).instructions()):
        ahead(stage)
        products = [one for one in stage if one.matrix()]
        for one, after in zip_longest(products, products[1:]):
            B, size = one.ints[NEXT:NEXT + 2]
            if after is None or after.matrix() == one.matrix():
                assert (B, size) == (0, 0)
            else:
                assert B is after.ints[RIGHT] and size == B.nbytes


# Places -------------------------------------------------------------------------------------------

def walk(found, where):
    """Go through the instructions; tell the first thing that is wrong with their memory, if any.

    where : dict; the place of each array that has one, by id
    """
    owner = {}
    for stage in found:
        guests = {}                                 # of a place in this stage: who, and how
        for one in stage:
            for key, how, write in one.accesses:
                if key not in where:
                    continue
                place = where[key]
                guests.setdefault(place, []).append((key, how))
                if not write and owner.get(place) != key:
                    return "somebody else was there"
            owner.update((where[key], key) for key, _, write in one.accesses
                         if write and key in where)
        for who in guests.values():
            if len({key for key, _ in who}) > 1 and any(how != ROWS for _, how in who):
                return "threads meet"
    return None


def compiled(tape):
    """The stages of a tape; the arrays that were moved, and where to."""
    compiler = Compiler(tape)
    found = stages(compiler.instructions())
    memory = places.shared(found, compiler.loose)
    return found, memory, compiler.loose


@pytest.mark.parametrize("name, given", RULES)
def test_an_array_finds_in_its_place_what_was_written_to_it(name, given):
    found, memory, loose = compiled(tape_of(name, given))
    where = {key: array.ctypes.data for key, array in memory.items()}
    assert walk(found, where) is None
    assert len(set(where.values())) < len(where)
    for key, array in memory.items():
        assert array.shape == loose[key].shape and array.ctypes.data % 64 == 0
        assert np.isnan(loose[key].view(np.ndarray)).all()


@pytest.mark.parametrize("fault", [
    lambda life, other: True, lambda life, other: life.begins > other.begins,
    lambda life, other: life.first >= other.first])
def test_the_walk_notices_arrays_that_are_in_each_others_way(fault, monkeypatch):
    monkeypatch.setattr(places.Life, "follows", fault)
    wrong = []
    for name, given in RULES:
        found, memory, _ = compiled(tape_of(name, given))
        wrong.append(walk(found, {key: array.ctypes.data for key, array in memory.items()}))
    assert any(wrong)


@pytest.mark.parametrize("how, later, moved", [
    (ROWS, False, True), (ALL, False, False), (ALL, True, True)])
def test_what_other_threads_read_is_not_written_over_before_all_have_waited(how, later, moved):
    x, a, b = (np.zeros((4, 4)) for _ in range(3))
    first = Instruction(do.EACH, [], writes=[(a, ROWS)])
    read = Instruction(do.EACH, [], reads=[(a, how)], writes=[(x, ROWS)])
    second = Instruction(do.EACH, [], writes=[(b, ROWS)])
    order = [[first], [read], [second]] if later else [[first], [read, second]]
    found = places.shared(order, {id(a): a, id(b): b})
    assert (found[id(a)] is found[id(b)]) is moved


# What others know ---------------------------------------------------------------------------------

class Rule:
    """Two layers, and whatever the step does with what they say."""

    def __init__(self, ops):
        random = np.random.default_rng(0)
        self.ops, self.t, self.kept, self.given = ops, 0, None, None
        self.W = [random.standard_normal((8, 8)) for _ in range(2)]
        self.b = np.zeros(8)

    def layers(self, x):
        self.t += 1
        h = self.ops.dense(x, self.W[0], self.b, "tanh")
        return h, self.ops.dense(h, self.W[1], self.b, "tanh")

    def learn(self, x, h, y):
        loss, delta = self.ops.softmax_xent(h, y)
        self.ops.sgd(self.W[0], self.ops.dense_grad(x, delta)[0], 0.1)
        return loss


class KeepsAlways(Rule):
    """What the first layer said."""

    def step(self, x, y):
        self.kept, g = self.layers(x)
        return self.learn(x, g, y)


class KeepsSometimes(Rule):
    """The same, in every third step."""

    def step(self, x, y):
        h, g = self.layers(x)
        if self.t % 3 == 0:
            self.kept = h
        return self.learn(x, g, y)


class KeepsAll(Rule):
    """What the first layer said in each step."""

    def step(self, x, y):
        h, g = self.layers(x)
        self.kept = [*(self.kept or []), h]
        return self.learn(x, g, y)


class KeepsGradient(Rule):
    """And looks at it later."""

    def step(self, x, y):
        loss, delta = self.ops.softmax_xent(self.layers(x)[1], y)
        self.kept, _ = self.ops.dense_grad(x, delta)
        self.ops.sgd(self.W[0], self.kept, 0.1)
        return loss


class KeepsBoth(Rule):
    """What an operation gave, all of it at once."""

    def step(self, x, y):
        self.kept = self.ops.softmax_xent(self.layers(x)[1], y)
        self.ops.sgd(self.W[0], self.ops.dense_grad(x, self.kept[1])[0], 0.1)
        return self.kept[0]


class KeepsBothSometimes(Rule):
    """In every third step."""

    def step(self, x, y):
        both = self.ops.softmax_xent(self.layers(x)[1], y)
        self.kept = both if self.t % 3 == 0 else None
        self.ops.sgd(self.W[0], self.ops.dense_grad(x, both[1])[0], 0.1)
        return both[0]


class KeepsWhatItReturned(Rule):
    """All but the first time, when it returns it."""

    def step(self, x, y):
        loss = self.learn(x, self.layers(x)[1], y)
        if self.t == 1:
            return loss
        self.kept = [*(self.kept or []), loss]


class LearnsFromTheLast(Rule):
    """From the batch before this one, but for the first."""

    def step(self, x, y):
        last, self.kept = x if self.kept is None else self.kept, x
        return self.learn(last, self.layers(last)[1], y)


class KeepsTheLabels(Rule):
    """And learns from those before these."""

    def step(self, x, y):
        last, self.kept = y if self.kept is None else self.kept, y
        return self.learn(x, self.layers(x)[1], last)


class LooksAtTheLabels(Rule):
    """One out of many, made anew for every batch."""

    def step(self, x, y):
        g = self.layers(x)[1]
        delta = self.ops.times_slope(g - np.eye(8)[y], g, "tanh")
        self.ops.sgd(self.W[0], self.ops.dense_grad(x, delta)[0], 0.1)
        return delta


class KeepsTheBatch(Rule):
    """And looks at it later."""

    def step(self, x, y):
        self.kept = x
        return self.learn(x, self.layers(x)[1], y)


class KeepsAPart(Rule):
    """An operation gives what is a part of an array for the reference; a plain view of that."""

    def step(self, x, y):
        h, g = self.layers(x)
        self.kept = np.asarray(self.ops.by_class(h))
        return self.learn(x, g, y)


class ReturnsNowThis(Rule):
    """Now one array and now another."""

    def step(self, x, y):
        h, g = self.layers(x)
        one, other = self.learn(x, h, y), self.learn(x, g, y)
        return one if self.t % 2 else other


class ReturnsTheLabels(Rule):
    """As they were handed in."""

    def step(self, x, y):
        self.learn(x, self.layers(x)[1], y)
        return y


class ReturnsTheGradient(Rule):
    """Which only its optimiser reads."""

    def step(self, x, y):
        loss, delta = self.ops.softmax_xent(self.layers(x)[1], y)
        dW, _ = self.ops.dense_grad(x, delta)
        self.ops.sgd(self.W[0], dW, 0.1)
        return dW


class Retries(Rule):
    """What it promised in a step that failed is there for the next one."""

    last = None

    def step(self, x, y):
        self.t += 1
        h = self.ops.dense(x, self.W[0], self.b, "tanh")
        last, self.last = (h if self.last is None else self.last), None
        if self.t % 3 == 0:
            self.last = h
            raise KeyError
        return self.learn(x, self.ops.dense(last, self.W[1], self.b, "tanh"), y)


class TakesAStepWithin(Rule):
    """One step within another."""

    def within(self, h, y):
        g = self.ops.dense(h, self.W[1], self.b, "tanh")
        loss, delta = self.ops.softmax_xent(g, y)
        self.ops.sgd(self.W[1], self.ops.dense_grad(h, delta)[0], 0.1)
        return loss

    def step(self, x, y):
        h = self.ops.dense(x, self.W[0], self.b, "tanh")
        self.ops.sgd(self.W[0], self.W[0], 0.1)
        return self.ops.take(self.within, h, y)


class ReturnsTheBatch(Rule):
    """As it was handed in."""

    def step(self, x, y):
        self.learn(x, self.layers(x)[1], y)
        return x


class Answers(Rule):
    """What it says is the next batch."""

    def step(self, x, y):
        h, self.given = self.layers(x)
        return self.learn(x, h, y)


class LearnsFromItself(Rule):
    """Its own weights are the batch, which a program would read while it changes them."""

    def __init__(self, ops):
        super().__init__(ops)
        self.given = self.W[0][2:]

    def step(self, x, y):
        h, g = self.layers(x)
        return self.learn(x, g, y)


class Anneals(Rule):
    """Less and less noise."""

    def step(self, x, y):
        h = self.ops.noisy(self.layers(x)[1], 1 / self.t, (0, 1, 2, self.t))
        return self.learn(x, h, y)


class Grows(Rule):
    """More and more noise."""

    def step(self, x, y):
        g = self.layers(x)[1]
        self.kept = self.ops.normal((6 + self.t, 8), (0, 1, 2, self.t), "float64")
        return self.learn(x, g, y)


class ChangesAMatrix(Rule):
    """In every third step another one, which is equal."""

    def step(self, x, y):
        self.t += 1
        W = self.W[0] if self.t % 3 else self.W[0].copy()
        h = self.ops.dense(x, W, self.b, "tanh")
        loss, delta = self.ops.softmax_xent(h, y)
        self.ops.sgd(W, self.ops.dense_grad(x, delta)[0], 0.1)
        return loss


class ChangesANumber(Rule):
    """The same of a bias of one number: NumPy would compare it by its value."""

    def __init__(self, ops):
        super().__init__(ops)
        self.narrow, self.again = self.W[0][:, :1].copy(), self.W[1][:1].copy()
        self.W = [np.zeros(1)]

    def step(self, x, y):
        self.t += 1
        b = self.W[0] if self.t % 3 else self.W[0].copy()
        h = self.ops.dense(x, self.narrow, b, "tanh")
        loss, delta = self.ops.softmax_xent(self.ops.dense(h, self.again, self.b, "linear"), y)
        e = self.ops.times_slope(self.ops.pull_back(delta, self.again), h, "tanh")
        self.ops.sgd(b, self.ops.dense_grad(x, e)[1], 0.1)
        return loss


class ChangesANumberForAnArray(Rule):
    """Of one number, which is equal, but what comes out has another shape."""

    def step(self, x, y):
        g = self.layers(x)[1]
        half = g * (0.5 if self.t < 3 else np.full((1, 1, 1), 0.5))
        self.kept = np.array(half.shape)
        return self.learn(x, g, y)


class ChangesItsKey(Rule):
    """In its place."""

    key = [0, 1, 2, 0]

    def step(self, x, y):
        g = self.layers(x)[1]
        self.key[3] = self.t
        return self.learn(x, self.ops.noisy(g, 0.5, self.key), y)


class GrowsInItsPlace(Rule):
    """Noise whose shape is a list."""

    def __init__(self, ops):
        super().__init__(ops)
        self.shape = [6, 8]

    def step(self, x, y):
        g = self.layers(x)[1]
        z = self.ops.normal(self.shape, (0, 1, 2, 3), "float64")
        self.kept = np.array(z.shape)
        self.shape[0] += 1
        return self.learn(x, g, y)


class CountsInItsKey(Rule):
    """By an array, in its place."""

    def __init__(self, ops):
        super().__init__(ops)
        self.count = np.array(0)

    def step(self, x, y):
        g = self.layers(x)[1]
        self.count += 1
        return self.learn(x, self.ops.noisy(g, 0.5, (0, 1, 2, self.count)), y)


class LearnsFromNowThis(Rule):
    """From what now one layer said and now another, both only promised."""

    def step(self, x, y):
        h, g = self.layers(x)
        return self.learn(x, g if self.t % 3 else h, y)


class TwoPasses(Rule):
    """The second pass learns from what the first one kept."""

    def first(self, x, y):
        self.kept = [x, self.layers(x)[0]]
        return self.ops.softmax_xent(self.kept[1], y)[0]

    def step(self, x, y):
        return self.learn(*self.kept, y)


@pytest.mark.parametrize("kind", Rule.__subclasses__())
def test_who_keeps_an_array_or_hands_one_in_finds_what_numpy_finds(kind):
    found = []
    for ops in (load("numpy"), recording(load("numba"))):
        rule, seen = kind(ops), []
        for k in range(8):
            x = np.random.default_rng(k).standard_normal((6, 8))
            x = x if rule.given is None else rule.given
            y = (np.arange(6) + k) % 6
            if kind is TwoPasses:
                ops.take(rule.first, x, y)
            try:
                loss = ops.take(rule.step, x, y)
            except KeyError:
                loss = None
            loss = 0 if loss is None else loss
            seen.append([loss, rule.W[0].copy()])
            kept = rule.kept if isinstance(rule.kept, (list, tuple)) else [rule.kept]
            seen[-1] += [np.array(a) for a in kept if a is not None]
        found.append(seen)
    for one, other in zip(*found):
        assert len(one) == len(other)
        assert all(np.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(one, other))


@pytest.mark.parametrize("kind, played", [
    *((kind, True) for kind in (Anneals, ChangesAMatrix, ChangesANumber, ChangesANumberForAnArray,
                                LearnsFromNowThis, LearnsFromItself, KeepsSometimes,
                                TakesAStepWithin)),
    *((kind, False) for kind in (KeepsAlways, KeepsAll, KeepsGradient, KeepsBoth, KeepsAPart,
                                 KeepsTheBatch, KeepsTheLabels, LearnsFromTheLast, Answers,
                                 ReturnsTheBatch, ReturnsTheLabels, ReturnsTheGradient,
                                 ReturnsNowThis, ChangesItsKey))])
def test_a_step_is_played_back_if_nobody_keeps_an_array_of_it(kind, played):
    ops = recording(load("numba"))
    rule = kind(ops)
    for k in range(2):
        ops.take(rule.step, np.random.default_rng(k).standard_normal((6, 8)), np.arange(6))
    assert len(ops.tapes) == played
    for tape in ops.tapes.values():
        first = tape.entries[0].result
        assert id(first) in tape.program.memory and np.isnan(np.array(first)).all()


@pytest.mark.skipif(get_num_threads() < 2, reason="there is one thread")
def test_no_more_threads_work_than_there_is_room_for():
    """Numba may be told of fewer than it has started."""
    ops = recording(load("numba"))
    rule = Anneals(ops)
    for k in range(3):
        ops.take(rule.step, np.random.default_rng(k).standard_normal((6, 8)), np.arange(6))
        program = next(iter(ops.tapes.values())).program
        if k == 0:
            room = np.full((2, program.scratch.shape[1]), 7.0)
            program.scratch = room[:1]
    assert (room[0] != 7).any() and (room[1] == 7).all()


def read_only(x):
    """The same numbers, which nobody may change."""
    x.flags.writeable = False
    return x


@pytest.mark.parametrize("lies", [read_only, np.asfortranarray, lambda x: x.repeat(2, 1)[:, ::2]])
def test_a_batch_may_lie_as_it_likes(lies):
    """A program takes one type of memory, for another would have to be compiled for."""
    found = []
    for ops in (load("numpy"), recording(load("numba"))):
        rule, versions = Anneals(ops), []
        for k in range(5):
            x = np.random.default_rng(k).standard_normal((6, 8))
            found.append(ops.take(rule.step, lies(x) if k else x, np.arange(6)))
            versions.append(len(getattr(do.run, "signatures", ())))
        found.append(rule.W[0])
    assert np.allclose(found[:5], found[6:11]) and np.allclose(found[5], found[11])
    assert len(ops.tapes) == 1 and versions[0] == versions[-1]


def test_noise_for_several_networks_is_not_played_back():
    """Its rows would be cut otherwise than those of the layers."""
    K, N, n, found = 3, 20, 9, []
    for ops in (load("numpy"), recording(load("numba"))):
        random = np.random.default_rng(0)
        W, b, sign = random.standard_normal((K, n, n)), np.zeros((K, n)), np.ones(n)

        class Noisy:
            """K networks with noise between two layers."""

            def step(self, x, y):
                h = ops.noisy(ops.signed_dense(x, W, b, sign), 0.1, (0, 1, 2, 3))
                return ops.network_sum(ops.signed_dense(h, W, b, sign))

        rule = Noisy()
        found.append([ops.take(rule.step, np.random.default_rng(k).random((N, n)), np.zeros(N, int))
                      for k in range(3)])
    assert np.allclose(*found) and not ops.tapes


@pytest.mark.parametrize("other, recorded", [(9, True), (4, False)])
def test_labels_for_several_numbers_of_classes_are_left_to_the_operations(other, recorded):
    """They are looked at once, before a program runs: one of the two could be beyond its row."""
    ops = recording(load("numba"))
    heads = [(np.random.default_rng(n).standard_normal((8, n)), np.zeros(n)) for n in (9, other)]

    class TwoHeads:
        """Two guesses of one label."""

        def step(self, x, y):
            losses = [ops.softmax_xent(ops.dense(x, W, b, "linear"), y)[0] for W, b in heads]
            return losses[0] + losses[1]

    rule, x = TwoHeads(), np.random.default_rng(0).standard_normal((6, 8))
    for _ in range(3):
        ops.take(rule.step, x, np.arange(6) % 4)
    assert bool(ops.tapes) is recorded
    with pytest.raises(IndexError):
        ops.take(rule.step, x, np.full(6, 8 if other == 4 else 9))


@pytest.mark.parametrize("f", ["tanh", "relu"])
@pytest.mark.parametrize("twice", [True, False])
def test_an_error_times_a_slope_is_one_pass_if_nothing_else_reads_the_error(twice, f):
    found = []
    for ops in (load("numpy"), recording(load("numba"))):
        W, V = (np.random.default_rng(k).standard_normal((5, 5)) for k in (1, 2))
        b, c = np.zeros(5), np.zeros(5)

        class Apart:
            """Two layers on one batch, each moved to where the other one is."""

            def step(self, x, y):
                h, g = ops.dense(x, W, b, f), ops.dense(x, V, c, f)
                e = h - g
                ops.sgd(b, ops.dense_grad(x, ops.times_slope(e, h, f))[1], 0.1)
                if twice:
                    ops.sgd(c, ops.dense_grad(x, e)[1], -0.1)

        rule = Apart()
        for k in range(3):
            ops.take(rule.step, np.random.default_rng(k).random((6, 5)), np.zeros(6, int))
        found.append((b, c))
    tape, = ops.tapes.values()
    errors = (tape.program.code[:, :2] == (do.EACH, {"tanh": do.TANH_ERROR,
                                                    "relu": do.RELU_ERROR}[f])).all(axis=1)
    assert errors.sum() == (not twice)
    assert np.allclose(found[0], found[1], rtol=1e-12, atol=1e-15) and found[0][0].any()


# The batch ----------------------------------------------------------------------------------------

def test_a_batch_is_read_where_it_is_and_stays_as_it_is():
    rules = [rule_of("bp", backend, optimizer="sgd") for backend in ("numpy", "numba")]
    for k, (x, y) in enumerate(batches(5)):
        x = np.array(x, order="F") if k == 3 else x
        before = x.copy()
        losses = [rule.net.ops.take(rule.step, x, y) for rule in rules]
        assert np.allclose(*losses, rtol=1e-4) and np.array_equal(x, before)
    assert len(rules[1].net.ops.tapes) == 1


def test_a_step_that_changes_its_batch_is_not_recorded():
    found = []
    for ops in (load("numpy"), recording(load("numba"))):
        w, b = np.ones((5, 4), "float32"), np.zeros(4, "float32")

        class Changes:
            """Moves the batch itself."""

            def step(self, x, y):
                x = x if ops.__class__.__name__ == "Recorder" else x.copy()
                loss, delta = ops.softmax_xent(ops.dense(x, w, b, "tanh"), y)
                ops.sgd(x, ops.pull_back(delta, w), 0.1)
                return ops.softmax_xent(ops.dense(x, w, b, "tanh"), y)[0]

        rule, x = Changes(), np.random.default_rng(0).random((6, 5), np.float32)
        losses = [ops.take(rule.step, x, np.arange(6) % 4) for _ in range(3)]
        assert not getattr(ops, "tapes", {})
        found.append((losses[0], x))
    assert np.allclose(found[0][0], found[1][0], atol=1e-6)


# Threads ------------------------------------------------------------------------------------------

SEES = """
import os
before = dict(os.environ)
import minicredit.kernels.cpu
assert dict(os.environ) == before, set(os.environ) ^ set(before)
print(any("libgomp" in line for line in open("/proc/self/maps")))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
@pytest.mark.parametrize("given", [{}, {"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_openmp_is_told_how_long_to_spin_and_nobody_else_is(given):
    environment = {key: value for key, value in os.environ.items()
                   if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", SEES], env={**environment, **given},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ("False" if given else "True")


# How kernels are compiled -------------------------------------------------------------------------

@pytest.mark.parametrize("name, has, tile", [
    ("znver4", {"avx2", "fma", "avx512f"}, (64, 12, 2)),
    ("emeraldrapids", {"avx2", "fma", "avx512f"}, (64, 6, 4)),
    ("haswell", {"avx2", "fma"}, (32, 6, 2)),
    ("", set(), None)])
def test_a_tile_is_the_processors(name, has, tile, monkeypatch):
    binding = tiles.llvmlite.binding
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: dict.fromkeys(has, True))
    monkeypatch.setattr(binding, "get_host_cpu_name", lambda: name)
    bytes_, rows, vectors = tiles.processor()
    assert (bytes_, rows, vectors) == tile or tile is None and bytes_ == 16
    registers = 32 if bytes_ == 64 or (bytes_, vectors) == (16, 4) else 16
    assert rows * vectors + vectors + 1 <= registers


FEATURES = """
import minicredit.kernels.cpu
from numba.core.registry import cpu_target
print(cpu_target.target_context._internal_codegen._tm_features)
"""


def test_vectors_are_as_long_as_the_processor_has_them_unless_the_user_says():
    environment = {key: value for key, value in os.environ.items() if key[:9] != "NUMBA_CPU"}

    def told(**more):
        return subprocess.run([sys.executable, "-c", FEATURES], env={**environment, **more},
                              capture_output=True, text=True, check=True).stdout.strip().split(",")

    assert ("-prefer-256-bit" in told()) == ("+avx512f" in told())
    assert told(NUMBA_CPU_NAME="generic") == [""]


ONCE = """
import sys
sys.path.insert(0, "tests")
from conftest import batches, rule_of
from minicredit.kernels.cpu import networks, optimisers, program, tiles
name, *given = sys.argv[1:]
rule = rule_of(name, "numba", **dict(pair.split("=") for pair in given))
for x, y in batches(1):
    rule.net.ops.take(rule.passes[0], x, y)
found = (program.stage, program.multiply, program.readable, networks.product, networks.parts,
         tiles.strip, tiles.transpose)
parts = [f for name, f in vars(optimisers).items() if name.endswith("_part")]
print(*(len(f.signatures) for f in found), sum(len(f.signatures) for f in parts), len(parts))
"""


@pytest.mark.parametrize("rule, times", [
    (["dtp", "net=64-32-16-10", "schedule=parallel"], "1 1 1 0 0 1 1 1 7"),
    (["kickback"], "1 0 0 1 1 1 1 1 7")])
def test_what_a_program_calls_is_compiled_once_and_no_more(rule, times, tmp_path):
    """Numbers written out in a call are types of their own: twice the time to compile.  And of the
    optimisers one is compiled."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment.pop("NUMBA_DISABLE_JIT", None)
    done = subprocess.run([sys.executable, "-c", ONCE, *rule], env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == times
