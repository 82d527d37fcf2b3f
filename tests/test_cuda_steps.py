"""Whole steps on the CUDA backend, run on a CPU: the rule's numbers, eager, recorded, replayed."""
import numpy as np
import pytest
from hypothesis import given, strategies as st
from test_rules_layers import IMAGE, NAMES, SKIPS, STACKS

from minicredit import Network, coherent, create, data
from minicredit.compare import build as built
from minicredit.kernels import load, recording
from minicredit.kernels.cuda import fuse, graph
from minicredit.kernels.cuda.emulator import Device
from minicredit.kernels.cuda.emulator.reports import KernelError
from minicredit.kernels.cuda.ops import Operations
from minicredit.kernels.cuda.schedule import schedule, waits
from minicredit.kernels.cuda.work import MOST, Work, grouped, run
from minicredit.keys import WEIGHTS
from minicredit.layers import Dense, Residual
from minicredit.rules import RULES
from minicredit.settings import hyperparameters
from minicredit.training import one_pass

RECORDED = sorted(set(RULES) - {"brsf"})
PARALLEL = [name for name in RULES if hasattr(RULES[name], "learn_inverses")]
TIMES, FLOOR = 12, 2e-6         # of float32's own rounding
SIZES = 12, 10, 9, 8, 5


def network(stack, ops, dtype):
    """A stack of tests/test_rules_layers.py on a backend, and four linear units on top."""
    shape, layers = IMAGE, []
    for i, (kind, *how) in enumerate([*STACKS[stack], (Dense, 4)], 1):
        f = "tanh" if i <= len(STACKS[stack]) else "linear"
        where = (int(np.prod(shape)),) if kind in (Dense, Residual) else (shape,)
        layers.append(kind(*where, *how, f, ops, dtype, (0, WEIGHTS, i, 0)))
        shape = getattr(layers[-1], "shape_out", layers[-1].n_out)
    return Network(layers, ops)


def rule_of(name, ops, stack=None, dtype="float32", sizes=SIZES, **options):
    """A rule on a network of its own; inverses and forward maps learn at every step."""
    if name in PARALLEL:
        options.setdefault("schedule", "parallel")
    if stack:
        return RULES[name](network(stack, ops, dtype), **options)
    net = getattr(RULES[name], "create", create)(sizes, f="tanh", dtype=dtype, backend=ops)
    return RULES[name](net, **options)


def course(rule, steps, N=6):
    """Each step's losses, with a learning rate that falls."""
    net, losses = rule.net, []
    for t in range(steps):
        rng = np.random.default_rng(t)
        x = rng.standard_normal((N, net.sizes[0])).astype(net.dtype)
        y = rng.permutation(np.arange(N) % getattr(net, "K", net.sizes[-1]))
        for optimizer in rule.optimizers:
            optimizer.scale = 1 - t / steps
        loss = net.ops.take(rule.passes[-1], net.ops.asarray(x), net.ops.asarray(y))
        losses.append(net.ops.to_numpy(loss))
    return np.array(losses)


def arrays(rule):
    """Every array of a rule and its network, on the host."""
    return {key: rule.net.ops.to_numpy(a)
            for key, a in {**rule.net.parameters(), **rule.arrays}.items()}


def as_numpy(rules, steps):
    """Whether the last of three rules is the reference in float64, as nearly as float32 can be.

    The first two are the reference itself, in float64 and in float32.
    """
    want, narrow, got = (course(rule, steps) for rule in rules)
    allowed = TIMES * np.maximum.accumulate(np.abs(narrow - want).max(axis=1)) + FLOOR
    return (np.abs(got - want).max(axis=1) <= allowed).all()


# Every rule on every kind of layer ----------------------------------------------------------------

@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("name", NAMES)
def test_twenty_steps_of_a_rule_are_the_references_on_every_kind_of_layer(name, stack):
    if name == "weight-mirror" and stack in SKIPS:
        pytest.skip("weight-mirror refuses residual layers")
    numpy, ours = load("numpy"), recording(load("emulated"))
    assert as_numpy([rule_of(name, numpy, stack, "float64"), rule_of(name, numpy, stack),
                     rule_of(name, ours, stack)], 20)


@pytest.mark.parametrize("replayed", [False, True])
@pytest.mark.parametrize("name", sorted(RULES))
def test_twenty_steps_of_a_dense_network_are_the_references(name, replayed):
    numpy, ours = load("numpy"), load("emulated")
    ours = recording(ours) if replayed else ours
    assert as_numpy([rule_of(name, numpy, dtype="float64"), rule_of(name, numpy),
                     rule_of(name, ours)], 20)
    if replayed:
        assert any(step.launches for step in ours.seen.values()) == (name in RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_every_access_of_a_recorded_step_is_allowed(name):
    ops = recording(Operations(Device(checked=True, schedule="random")))
    losses = course(rule_of(name, ops), 4)
    assert np.isfinite(losses).all() and any(step.launches for step in ops.seen.values())


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "manhattan", "rmsprop",
                                       "rmsprop-centred", "adam"])
def test_every_optimiser_is_itself_in_a_recorded_step(optimizer):
    numpy, ours = load("numpy"), recording(load("emulated"))
    options = {"optimizer": optimizer, "optimizer_inverse": optimizer}
    assert as_numpy([rule_of("dtp", numpy, dtype="float64", **options),
                     rule_of("dtp", numpy, **options), rule_of("dtp", ours, **options)], 8)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("options", [{}, {"coherence": "reflect"}, {"coherence": "off"},
                                     {"optimizer": "momentum"}])
def test_kickback_is_the_references_whatever_the_networks_share(options, shared):
    rules = []
    for ops, dtype in ((load("numpy"), "float64"), (load("numpy"), "float32"),
                       (recording(load("emulated")), "float32")):
        net = coherent.create((12, 10, 9, 8, 5), backend=ops, dtype=dtype, shared=shared)
        rules.append(RULES["kickback"](net, **options))
    assert as_numpy(rules, 12)
    recorded = any(step.launches for step in ops.seen.values())
    assert recorded == (options.get("coherence") != "reflect")


# What is recorded ---------------------------------------------------------------------------------

def recorded(name, **options):
    """A rule's recorded step."""
    ops = recording(load("emulated"))
    rule = rule_of(name, ops, **options)
    course(rule, 2)
    step, = (step for step in ops.seen.values() if step.launches)
    return rule, step


@pytest.mark.parametrize("name, kernels", [
    ("bp", ["dense"] * 4 + ["losses:softmax_xent"] + ["pull_back"] * 3 + ["descend", "tick"]),
    ("kickback", ["signed_dense"] * 4 + ["sums", "losses:softmax_xent", "signed_slope",
                                         "signed_pull_back", "signed_descend", "tick"]),
    ("dfa", ["dense"] * 4 + ["losses:softmax_xent", "pull_back", "descend", "tick"]),
    ("dtp", ["dense"] * 4 + ["random:normal", "dense", "losses:softmax_xent", "reconstruct",
                             "pull_back", "descend", "each", "target", "target", "each", "descend",
                             "tick"]),
    ("sdtp", ["dense"] * 3 + ["random:normal", "dense", "losses:softmax", "reconstruct", "descend",
                              "losses:softmax_xent", "target", "target", "target", "each",
                              "descend", "tick"])])
def test_layers_share_launches_and_nothing_is_stored_that_nobody_reads(name, kernels):
    _, step = recorded(name)
    assert [group[0].kernel for group in step.launches] == kernels


def test_a_changed_setting_is_recorded_again():
    numpy, ours = load("numpy"), recording(load("emulated"))
    rules = [rule_of("dtp", ops, optimizer="sgd") for ops in (numpy, ours)]
    for rule in rules:
        for eta in (0.01, 0.02, 0.03, 0.02):
            rule.target_step, rule.optimizer.eta = 10 * eta, eta
            course(rule, 3)
    assert any(step.launches for step in ours.seen.values())
    want, got = map(arrays, rules)
    assert all(np.allclose(got[key], want[key], rtol=1e-4, atol=1e-6) for key in want)


def test_a_shorter_batch_has_a_recording_of_its_own():
    numpy, ours = load("numpy"), recording(load("emulated"))
    rules = [rule_of("bp", ops) for ops in (numpy, ours)]
    for rule in rules:
        for N in (6, 3, 6, 3, 6, 3, 1, 1, 1):
            course(rule, 1, N)
    want, got = map(arrays, rules)
    assert sum(bool(step.launches) for step in ours.seen.values()) == 3
    assert all(np.allclose(got[key], want[key], rtol=1e-4, atol=1e-6) for key in want)


class Moody:
    """A rule that looks at a number, or adds rows, or counts backwards."""

    def __init__(self, ops, mood):
        self.net, self.mood, self.t, self.optimizers, self.arrays = self, mood, 0, [], {}
        self.ops, self.w = ops, ops.asarray(np.ones((4, 4), np.float32))
        self.b = ops.asarray(np.zeros(4, np.float32))

    def parameters(self):
        return {"w": self.w, "b": self.b}

    def step(self, x, y):
        ops = self.ops
        if self.mood == "between":
            return self.between(x)
        h = ops.dense(x, self.w, self.b, "tanh")
        dW, db = ops.dense_grad(x, h)
        if self.mood == "sum":
            db = h.sum(axis=0)
        ops.sgd(self.w, dW, 0.1)
        if self.mood == "look" and float(self.w.get()[0, 0]) > 0:
            ops.sgd(self.b, db, 0.2)
        ops.sgd(self.b, db, 0.1 * self.t)
        self.t = 7 - self.t if self.mood == "backwards" else self.t + 1
        return h


    def between(self, x):
        """Weights change between the halves of what else would be one work."""
        ops = self.ops
        h = ops.dense(x, self.w, self.b, "tanh")
        e, up = ops.pull_back(h, self.w), ops.dense(h, self.w, self.b, "tanh")
        ops.leak(self.w, 0.3)
        delta, down = ops.times_slope(e, x, "tanh"), ops.dense(x, self.w, self.b, "tanh")
        h_hat = ops.difference(h, up, down)
        dW, db = ops.dense_grad(delta, h_hat)
        ops.sgd(self.w, dW, 0.1)
        again = ops.dense(x, self.w, self.b, "relu")
        ops.sgd(self.b, db, 0.1)
        self.t += 1
        return ops.dense(again, self.w, self.b, "linear")


@pytest.mark.parametrize("mood", ["", "sum", "look", "backwards", "between"])
def test_what_cannot_be_recorded_is_carried_out_as_it_is(mood):
    found = []
    for ops in (load("emulated"), recording(load("emulated"))):
        rule = Moody(ops, mood)
        for t in range(6):
            x = np.random.default_rng(t).standard_normal((3, 4)).astype(np.float32)
            h = ops.take(rule.step, ops.asarray(x), ops.asarray(np.zeros(3, int)))
        found.append([ops.to_numpy(a) for a in (rule.w, rule.b, h)])
    assert all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(*found))
    recorded = any(step.launches for step in ops.seen.values())
    assert recorded == (mood == "between")


def test_an_interrupted_recording_leaves_the_rule_usable():
    ops = recording(load("emulated"))
    rule = rule_of("bp", ops)
    course(rule, 1)
    plain, rule.feedback = rule.feedback, None
    with pytest.raises(TypeError):
        course(rule, 1)
    rule.feedback = plain
    assert np.isfinite(course(rule, 3)).all() and type(rule.optimizer.scale) is float
    assert all(type(t) is int for t in rule.optimizer.t.values())


def test_a_recording_that_does_something_else_is_refused(monkeypatch):
    def without_the_last(entries, result):
        return fuse.fuse(entries, result)[:-1]

    monkeypatch.setattr(graph, "fuse", without_the_last)
    with pytest.raises(RuntimeError, match="Backprop: a recorded step moved an array of shape"):
        course(rule_of("bp", recording(load("emulated"))), 2)


# Epochs -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["bp", "dtp", "ao-sdtp", "weight-mirror"])
def test_an_epoch_on_the_device_is_the_epoch(name):
    split = data.load("digits").train.first(230)
    found = []
    for ops in (load("numpy"), recording(load("emulated"))):
        config = {"net": "64-12-11-10", "activation": "tanh", "init": "glorot", "backend": ops,
                  "dtype": "float32", "rules": {name: hyperparameters(name, {})}}
        rule, losses, told = built(name, config, 10, seed=0), [], []
        for epoch in range(2):
            for number, learn in enumerate(rule.passes):
                scales = [1 - 0.01 * step - 0.3 * epoch for step in range(29)]
                losses += one_pass(rule, learn, split, 8, (0, 3, number, epoch), scales,
                                   told.append)
        losses = [(step, loss) for step, loss in losses if loss is not None]
        found.append((arrays(rule), losses, getattr(rule, "t", 0), told[-1],
                      rule.optimizer.t["W[1]"], rule.optimizer.scale))
    (want, before, *counts), (got, after, *ours) = found
    assert counts == ours and [step for step, _ in before] == [step for step, _ in after]
    assert all(np.allclose(a, b, rtol=1e-3, atol=1e-5) for (_, a), (_, b) in zip(before, after))
    assert all(np.allclose(got[key], want[key], rtol=1e-3, atol=1e-4) for key in want)


# The schedule -------------------------------------------------------------------------------------

class Cell:
    """What a work touches, for who only looks at names and types."""

    dtype = np.dtype("float32")


def works_of(accesses):
    """Works with a kernel each of two, that read and write cells."""
    cells = [Cell() for _ in range(5)]
    return [Work(f"kernel {kind}", (), {}, 1, 32, [cells[i] for i in reads],
                 [cells[i] for i in writes], np.dtype("float32"))
            for kind, reads, writes in accesses]


some = st.lists(st.tuples(st.integers(0, 1), st.sets(st.integers(0, 4), max_size=2),
                          st.sets(st.integers(0, 4), min_size=1, max_size=2)), max_size=40)


@given(some)
def test_nobody_runs_before_or_beside_what_he_has_to_wait_for(accesses):
    works = works_of(accesses)
    launches = schedule(works)
    place = {id(one): n for n, group in enumerate(launches) for one in group}
    assert sorted(place) == sorted(map(id, works))
    touch = [({id(a) for a in one.reads}, {id(a) for a in one.writes}) for one in works]
    for j, (reads, writes) in enumerate(touch):
        for i in range(j):
            if writes & (touch[i][0] | touch[i][1]) or reads & touch[i][1]:
                assert place[id(works[i])] < place[id(works[j])]


@given(some)
def test_a_launch_has_one_kernel_and_at_most_sixteen_problems(accesses):
    for group in schedule(works_of(accesses)):
        assert len({one.key for one in group}) == 1 and len(group) <= MOST


def test_the_longest_chain_goes_first_and_the_rest_joins():
    works = works_of([(0, {4}, {0}), (1, {0}, {1}), (0, {4}, {2}), (1, {1}, {1}), (1, {2}, {2})])
    assert [len(group) for group in schedule(works)] == [2, 2, 1]
    assert waits(works)[3] == {1}


def test_neighbours_with_one_kernel_share_a_launch():
    works = works_of([(0, {0}, {1}), (0, {0}, {2}), (1, {0}, {3}), (0, {0}, {4})])
    works[1].blocks = 0
    assert [len(group) for group in grouped(works)] == [1, 1, 1]


def test_works_that_depend_on_each_other_in_one_launch_are_a_race():
    ops = Operations(Device(checked=True))
    rule = rule_of("bp", ops)
    device, net = ops.device, rule.net
    x = ops.asarray(np.ones((6, 12), np.float32))
    device.kept = []
    net.layers[2].forward(net.layers[1].forward(x))
    works, device.kept = device.kept, None
    with pytest.raises(KernelError, match="race"):
        run(device, works)
