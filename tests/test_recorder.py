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


@pytest.mark.parametrize("change", [lambda y: y.astype(np.int32), lambda y: y - 10])
def test_labels_of_any_kind_of_integer_and_from_the_last_are_labels(change):
    found = []
    for how in (lambda y: y, change):
        rule = rule_of("bp", "numba")
        for x, y in batches(3):
            rule.net.ops.take(rule.step, x, how(y))
        assert rule.net.ops.tapes
        found.append(arrays(rule))
    assert all(same(found[0][key], found[1][key]) for key in found[0])


RESIDUAL = "64-12-res12-res9-10", "64-12-res12-10"
BOTH_WAYS = [(net, name, {}) for net in RESIDUAL for name in ("bp", "fa", "kolen-pollack", "dtp")]
BOTH_WAYS += [(net, name, {"schedule": "parallel"}) for net in (*RESIDUAL, "64-12-9-10")
              for name in ("dtp", "sdtp", "ao-sdtp", "tp")]
BOTH_WAYS += [("64-12-9-10", "kickback", {"coherence": way, "eta": "2"})
              for way in ("clip", "reflect", "off")]


@pytest.mark.parametrize("net, name, given", BOTH_WAYS)
def test_whatever_a_step_looks_at_meanwhile_is_as_it_would_be(net, name, given):
    """Parts, copies and weights that have just been changed: nobody sees what is only promised."""
    optimizers = {option: "sgd" for option in ("optimizer", "optimizer_inverse")
                  if option == "optimizer" or name in ("dtp", "sdtp", "ao-sdtp", "tp")}
    rules = [rule_of(name, backend, "float64", net=net, **optimizers, **given)
             for backend in ("numpy", "numba")]
    for x, y in batches(4):
        for rule in rules:
            for learn in rule.passes:
                rule.net.ops.take(learn, x.astype("float64"), y)
        want, got = map(arrays, rules)
        for key, array in want.items():
            assert np.allclose(got[key], array, rtol=1e-9, atol=1e-12), key


LOOKS = {"part": lambda h: h[:3], "some": lambda h: h[[0, 2]], "one": lambda h: h.item(5),
         "copy": lambda h: h.copy(), "array": lambda h: np.concatenate([h, h]),
         "largest": lambda h: h.argmax(), "list": lambda h: h.tolist(), "sum": lambda h: h.sum(),
         "turned": lambda h: h.T + 0, "yes": lambda h: h[0, 0] > 0 or h.any()}


@pytest.mark.parametrize("look", LOOKS)
def test_whoever_looks_at_a_number_finds_it(look):
    w, b = np.random.default_rng(0).random((5, 4)), np.zeros(4)
    seen, ops = [], recording(load("numba"))

    class Curious:
        """A rule that looks, from the third step on."""

        def step(self, x, y):
            h = ops.dense(x, w, b, "tanh")
            if len(seen) > 1:
                seen.append(np.array(LOOKS[look](h)))
            else:
                seen.append(None)
            return ops.softmax_xent(h, y)[0]

    rule = Curious()
    for k in range(5):
        x = np.random.default_rng(k).random((6, 5))
        ops.take(rule.step, x, np.arange(6) % 4)
        if k > 1:
            assert np.allclose(seen[-1], LOOKS[look](np.tanh(x @ w)))


@pytest.mark.parametrize("what", ["bias", "labels", "gradient", "dtype"])
def test_what_does_not_agree_is_refused_as_it_is_without_a_recording(what):
    x, y, ops = np.ones((6, 5), "float32"), np.zeros(6, int), recording(load("numba"))
    w, b, state = np.ones((5, 4), "float32"), np.zeros(4, "float32"), np.zeros(4, "float32")

    class Odd:
        """A rule that is wrong."""

        def step(self, x, y):
            h = ops.dense(x, w, b[:1] if what == "bias" else b, "tanh")
            _, delta = ops.softmax_xent(h, y[:3] if what == "labels" else y)
            dW, db = ops.dense_grad(x, delta)
            ops.sgd(w, dW[:3] if what == "gradient" else dW, 0.1)
            if what == "dtype":
                ops.momentum(b.astype("float64"), db, state, 0.1, 0.9)

    rule = Odd()
    for _ in range(3):
        with pytest.raises(ValueError):
            ops.take(rule.step, x, y)


def test_an_operation_that_no_instruction_takes_so_is_computed():
    x, y, ops = np.ones((6, 5), "float32"), np.zeros(6, int), recording(load("numba"))
    w, b = np.ones((5, 4), "float32"), np.zeros(4, "float32")

    class Unusual:
        """1 - h."""

        def step(self, x, y):
            h = ops.dense(x, w, b, "tanh")
            ops.sgd(b, ops.dense_grad(x, 1 - h)[1], 0.1)
            return ops.softmax_xent(h, y)[0]

    rule = Unusual()
    for k in range(3):
        loss = ops.take(rule.step, x, y)
    assert not ops.tapes and np.isfinite(loss).all() and (b != 0).all()


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


def test_a_label_that_there_is_not_is_refused_before_anything_is_done():
    rule = rule_of("bp", "numba")
    for x, y in batches(3):
        rule.net.ops.take(rule.step, x, y)
    before = arrays(rule)
    for label in (10, -11):
        with pytest.raises(IndexError):
            rule.net.ops.take(rule.step, x, np.full_like(y, label))
    assert all(same(before[key], array) for key, array in arrays(rule).items())
    assert np.isfinite(rule.net.ops.take(rule.step, x, y)).all()


@pytest.mark.parametrize("name, given", [("dtp", {"schedule": "parallel"}), ("kickback", {})])
def test_nothing_hides_a_number_that_is_none(name, given):
    rule = rule_of(name, "numba", **given)
    for x, y in batches(3):
        rule.net.ops.take(rule.step, x, y)
    rule.net.W[1][..., 0, 0] = np.nan
    assert rule.net.ops.tapes and np.isnan(rule.net.ops.take(rule.step, x, y)).any()
    assert np.isnan(rule.net.W[1]).any() and np.isnan(rule.net.W[2]).any()


@pytest.mark.parametrize("name", ["bp", "dtp"])
@pytest.mark.parametrize("net", ["64-700-515-10", "64-1024-512-1024-10", "64-143-129-256-10"])
def test_layers_of_any_width_are_numpys_in_one_thread_and_in_a_few(name, net):
    """Matrices of several groups of panels, read where they lie or copied, and rows 4 KiB apart."""
    how, found = {"net": net, "schedule": "parallel"} if name == "dtp" else {"net": net}, []
    before = get_num_threads()
    for backend, dtype, threads in (("numpy", "float64", 1), ("numba", "float32", 1),
                                    ("numba", "float32", min(before, recorder.FEW))):
        set_num_threads(threads)
        try:
            rule = rule_of(name, backend, dtype, **how)
            start = arrays(rule)
            for x, y in batches(3, 37):
                rule.net.ops.take(rule.step, x.astype(dtype), y)
            assert backend == "numpy" or rule.net.ops.tapes
            found.append(arrays(rule))
        finally:
            set_num_threads(before)
    want, one, few = found
    for key, array in want.items():
        changed = np.linalg.norm(array - start[key])
        assert changed > 0 and np.linalg.norm(one[key] - array) < 1e-3 * changed, key
        assert same(one[key], few[key]), key


@pytest.mark.parametrize("threads, width, recorded", [
    (2, 700, True), (2, 2100, False), (16, 600, True), (16, 700, False)])
def test_very_wide_layers_and_wide_ones_in_many_threads_are_left_to_the_operations(
        threads, width, recorded, monkeypatch):
    monkeypatch.setattr(recorder, "get_num_threads", lambda: threads)
    rule = rule_of("bp", "numba", net=f"64-{width}-10")
    for x, y in batches(3):
        rule.net.ops.take(rule.step, x, y)
    assert bool(rule.net.ops.tapes) == recorded == rule.net.ops.keeps([64, width, 10])
    assert rule.net.ops.tape is None or recorded                    # nothing of it is kept


def test_a_recorder_is_no_more_than_the_backend_outside_a_step():
    ops, x = recording(load("numba")), np.ones((3, 2), np.float32)
    assert type(ops.times_slope(x, x, "relu")) is np.ndarray
    rule = build("bp")
    assert load("numpy").take(rule.step, *any_batch(rule.net)).shape == (7,)
