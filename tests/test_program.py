"""A program of a step: in which order, and in which memory, and that nobody can tell."""
import os
import subprocess
import sys
from itertools import groupby

import numpy as np
import pytest
from conftest import batches, rule_of

from minicredit.kernels import load, recording
from minicredit.kernels.cpu import places, tiles
from minicredit.kernels.cpu import program as do
from minicredit.kernels.cpu.order import ALL, ROWS, Instruction, stages
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


class Keeps:
    """A rule that remembers what its first layer said, if asked to."""

    def __init__(self, ops, keeps):
        random = np.random.default_rng(0)
        self.ops, self.keeps, self.kept = ops, keeps, None
        self.W = [ops.asarray(random.standard_normal((8, 8)).astype("float32")) for _ in range(3)]
        self.b = ops.asarray(np.zeros(8, "float32"))

    def step(self, x, y):
        h = [x]
        for W in self.W:
            h.append(self.ops.dense(h[-1], W, self.b, "tanh"))
        if self.keeps:
            self.kept = h[1]
        return self.ops.softmax_xent(h[-1], y)[0]


@pytest.mark.parametrize("keeps", [True, False])
def test_an_array_that_somebody_else_has_stays_where_it_is(keeps):
    ops = recording(load("numba"))
    rule = Keeps(ops, keeps)
    for k in range(3):
        x = np.random.default_rng(k).random((6, 8), np.float32)
        ops.take(rule.step, x, np.arange(6))
        assert not keeps or np.allclose(rule.kept, np.tanh(x @ rule.W[0]), atol=1e-6)
    tape, = ops.tapes.values()
    first = tape.entries[0].result
    assert (id(first) in tape.program.memory) is not keeps
    assert np.isnan(np.array(first)).all() is not np.bool_(keeps)


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
