"""A recorded step is the step: the same numbers, whoever computes them, whatever happens."""
import numpy as np
import pytest
from conftest import batch as any_batch
from conftest import FLOOR, TIMES, batches, build, course, rule_of, same
from numba import get_num_threads, set_num_threads

from minicredit import coherent, data
from minicredit.kernels import cpu, load, recording
from minicredit.kernels.cpu import recorder
from minicredit.measure import evaluate
from minicredit.rules import RULES

PLAYED = sorted(set(RULES) - {"brsf", "weight-mirror"})                 # those are not recorded


def arrays(rule):
    """Every array of a rule and its network, as NumPy has it."""
    found = {**rule.net.parameters(), **rule.arrays}
    return {key: np.array(a) for key, a in found.items()}


def test_a_run_of_every_rule_is_numpys_at_every_one_of_100_steps(name):
    truth, narrow, ours = (rule_of(name, *how) for how in
                           (("numpy", "float64"), ("numpy",), ("numba",)))
    want, rounded, got = (course(rule, 100) for rule in (truth, narrow, ours))
    allowed = TIMES * np.maximum.accumulate(np.abs(rounded - want)) + FLOOR
    assert (np.abs(got - want) <= allowed).all(), np.abs(got - want).max()
    assert bool(ours.net.ops.tapes) == (name in PLAYED)
    test = data.load("digits").test
    errors = [evaluate(rule.net, test.x.astype(rule.net.dtype), test.y).error
              for rule in (truth, ours)]
    assert abs(errors[0] - errors[1]) <= 100 / test.n + 1e-9            # one image


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "manhattan", "rmsprop",
                                       "rmsprop-centred", "adam"])
def test_every_optimiser_of_a_recorded_step_is_the_operation_of_its_name(optimizer):
    rules = [rule_of("dtp", backend, optimizer=optimizer, optimizer_inverse=optimizer,
                     schedule="parallel") for backend in ("numpy", "numba")]
    start = arrays(rules[0])
    for x, y in batches(3):
        for rule in rules:
            rule.net.ops.take(rule.step, x, y)
    assert rules[1].net.ops.tapes
    want, got = map(arrays, rules)
    for key, array in want.items():
        changed = np.linalg.norm(array - start[key])
        assert changed > 0 and np.linalg.norm(got[key] - array) < 1e-3 * changed, key


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("optimizer, sizes", [
    ("sgd", (64, 24, 16, 2)), ("momentum", (64, 33, 17, 3)), ("adam", (64, 70, 26, 5, 2)),
    ("rmsprop", (64, 300, 2))])
def test_networks_side_by_side_of_any_width_are_numpys(sizes, shared, optimizer):
    found = []
    for backend, dtype in (("numpy", "float64"), ("numpy", "float32"), ("numba", "float32")):
        ops = recording(load(backend))
        net = coherent.create((sizes[0], *[40] * shared, *sizes[1:]), classes=10, dtype=dtype,
                              backend=ops, shared=shared)
        rule = RULES["kickback"](net, eta=0.01, optimizer=optimizer)
        losses = course(rule, 8, batch=37)
        found.append({**arrays(rule), "losses": losses})
    assert ops.tapes
    want, narrow, got = found
    for key, array in want.items():
        allowed = TIMES * np.linalg.norm(narrow[key] - array) + FLOOR * np.linalg.norm(array)
        assert np.linalg.norm(got[key] - array) <= allowed, key


def test_a_weight_of_the_wrong_sign_is_nothing_after_a_recorded_step():
    rule = rule_of("kickback", "numba", eta="0.1")
    course(rule, 5)
    assert rule.net.ops.tapes and coherent.coherent_share(rule.net) == 1
    assert any((W == 0).any() for W in rule.net.W[2:])


@pytest.mark.parametrize("rule_name", ["bp", "dtp", "ao-sdtp", "kickback"])
def test_one_thread_and_all_give_the_same_bits(rule_name):
    threads, found = get_num_threads(), []
    for n in (1, threads):
        set_num_threads(n)
        try:
            rule = rule_of(rule_name, "numba")
            course(rule, 6, batch=37)
            assert rule.net.ops.tapes
            found.append(arrays(rule))
        finally:
            set_num_threads(threads)
    assert threads > 1 or pytest.skip("there is one processor")
    assert all(same(found[0][key], found[1][key]) for key in found[0])


def test_a_shorter_last_batch_has_a_recording_of_its_own():
    rules = [rule_of("bp", backend, optimizer="sgd") for backend in ("numpy", "numba")]
    for rule in rules:
        for batch in (50, 7, 50, 7, 50, 1, 1):
            (x, y), = batches(1, batch)
            rule.net.ops.take(rule.step, x, y)
    want, got = map(arrays, rules)
    assert len(rules[1].net.ops.tapes) == 3
    assert all(np.allclose(got[key], want[key], rtol=1e-4, atol=1e-6) for key in want)


class Moody:
    """A rule that does something else in the steps that `moods` tells."""

    def __init__(self, ops, moods):
        self.ops, self.moods, self.t = ops, moods, 0
        self.w = ops.asarray(np.ones((4, 4), np.float32))
        self.b = ops.asarray(np.zeros(4, np.float32))

    def step(self, x, y):
        ops, mood, self.t = self.ops, self.moods[self.t], self.t + 1
        h = ops.dense(x, self.w, self.b, "tanh")
        ops.sgd(self.b, h[0] * 1 if mood == "slice" else self.b, 0.1 * self.t)
        if mood == "stop":
            raise KeyboardInterrupt
        if mood == "twice":
            h = ops.dense(h, self.w, self.b, "tanh")
        loss, delta = ops.softmax_xent(h, y)
        if mood == "early":
            return loss
        dW, db = ops.dense_grad(x, delta)
        ops.sgd(self.w, dW * 3.0 if mood == "scaled" else dW, 0.5)
        ops.sgd(self.b, db, 0.5)
        return loss


@pytest.mark.parametrize("first", ["", "mood"])
@pytest.mark.parametrize("mood", ["twice", "stop", "slice", "early", "scaled"])
def test_a_step_that_does_something_else_than_was_recorded_is_still_that_step(mood, first):
    moods, results = ["", "", mood, "", mood, "", "", mood, mood, mood, "", ""], []
    moods[0] = moods[1] = mood if first else ""
    x, y = np.random.default_rng(0).random((6, 4), np.float32), np.arange(6) % 4
    for ops in (load("numpy"), recording(load("numba"))):
        rule, losses = Moody(ops, moods), []
        for _ in moods:
            try:
                losses.append(ops.take(rule.step, x, y))
            except KeyboardInterrupt:
                losses.append(None)
        results.append((losses, rule.w, rule.b))
    (want, w, b), (got, w2, b2) = results
    assert all(np.allclose(u, v, atol=1e-6) for u, v in zip(got, want) if v is not None)
    assert np.allclose(w2, w, atol=1e-6) and np.allclose(b2, b, atol=1e-6)


@pytest.mark.parametrize("name", ["bp", "dtp", "ao-sdtp", "kolen-pollack", "kickback"])
def test_while_a_step_is_recorded_no_operation_is_compiled(name, monkeypatch):
    """What would be computed twice would be compiled twice, and somebody waits for it."""
    def never(*_):
        raise AssertionError("computed, not promised")
    for operation in recorder.NAMES:
        if operation not in ("asarray", "to_numpy"):
            monkeypatch.setattr(cpu, operation, never)
    rule, want = rule_of(name, "numba"), rule_of(name, "numpy")
    (x, y), = batches(1)
    losses = [one.net.ops.take(one.step, x, y) for one in (rule, want)]
    assert rule.net.ops.tapes and np.allclose(*losses, rtol=1e-4)


def test_what_a_step_returned_is_not_written_over_by_the_next():
    rule = rule_of("bp", "numba")
    found = [(loss, loss.copy()) for loss in (rule.net.ops.take(rule.step, x, y)
                                              for x, y in batches(4))]
    assert all(same(loss, kept) for loss, kept in found)
    assert not same(found[2][0], found[3][0])


def test_a_label_that_there_is_not_is_refused():
    rule = rule_of("bp", "numba")
    for x, y in batches(3):
        rule.net.ops.take(rule.step, x, y)
    for label in (10, -11):
        with pytest.raises(IndexError):
            rule.net.ops.take(rule.step, x, np.full_like(y, label))
    assert np.isfinite(rule.net.ops.take(rule.step, x, y)).all()


@pytest.mark.parametrize("name, given", [("dtp", {"schedule": "parallel"}), ("kickback", {})])
def test_nothing_hides_a_number_that_is_none(name, given):
    rule = rule_of(name, "numba", **given)
    for x, y in batches(3):
        rule.net.ops.take(rule.step, x, y)
    rule.net.W[1][..., 0, 0] = np.nan
    assert rule.net.ops.tapes and np.isnan(rule.net.ops.take(rule.step, x, y)).any()
    assert np.isnan(rule.net.W[1]).any() and np.isnan(rule.net.W[2]).any()


def test_wide_layers_are_left_to_the_operations():
    rule = rule_of("bp", "numba", net="64-700-10")
    for x, y in batches(3):
        rule.net.ops.take(rule.step, x, y)
    assert not rule.net.ops.tapes and rule.net.ops.tape is None     # nothing of it is kept


def test_a_recorder_is_no_more_than_the_backend_outside_a_step():
    ops, x = recording(load("numba")), np.ones((3, 2), np.float32)
    assert type(ops.times_slope(x, x, "relu")) is np.ndarray
    rule = build("bp")
    assert load("numpy").take(rule.step, *any_batch(rule.net)).shape == (7,)
