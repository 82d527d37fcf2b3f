"""On a GPU every kernel is right, every time, and so is every replayed step and a run of each rule.

    pytest -m gpu --require-gpu                 everything that a GPU can be asked, in every file
    compute-sanitizer --tool memcheck python -m pytest -m gpu --require-gpu --bare-memory \\
        tests/test_gpu.py tests/test_cuda_instructions.py -k "small or instructions"

and the same with the tools racecheck, initcheck and synccheck.
"""
import numpy as np
import pytest
from conftest import FLOOR, TIMES, assert_close, batches, course, poison, rule_of, same

from minicredit import data, training
from minicredit.errors import UserError
from minicredit.kernels import load
from minicredit.kernels.cuda.trials import TRIALS, Bench

SIZES = [(1, 1, 1), (33, 18, 21), (100, 240, 240), (128, 10, 257), (300, 65, 129)]      # m, n, k
SMALL = SIZES[1]
BACKENDS = ["emulated", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture
def gpu(request):
    """The GPU."""
    return poison(load("cuda").device, request.config)


# Kernels ------------------------------------------------------------------------------------------

def right(device, kernel, sizes, dtype, seed):
    """What a kernel gives is what the reference gives; rounding as for a sum of all terms."""
    got, want = TRIALS[kernel](Bench(device, dtype, seed), *sizes)
    terms = 8 + sizes[2] + sizes[0] * sizes[1] * (kernel in ("mean_rows", "sum_parts"))
    for one, other in zip(got, want(), strict=True):
        one = device.to_numpy(one)
        if one.dtype.kind == "f":
            assert_close(one, other, terms, 1 + np.abs(other).max(initial=0))
        else:
            assert (one == other).all()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", TRIALS)
def test_every_kernel_is_right_on_a_small_problem(gpu, kernel, dtype):
    right(gpu, kernel, SMALL, dtype, seed=1)


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kernel", TRIALS)
def test_every_kernel_is_right_on_fresh_numbers_of_every_size(gpu, kernel, sizes):
    for seed in range(3):
        right(gpu, kernel, sizes, "float32", seed=(sum(sizes), seed))


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", TRIALS)
def test_a_kernel_gives_the_same_bits_every_time(gpu, kernel):
    first, *others = ([gpu.to_numpy(x) for x in TRIALS[kernel](Bench(gpu), 100, 65, 240)[0]]
                      for _ in range(5))
    assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
               for other in others for a, b in zip(first, other))


# Steps --------------------------------------------------------------------------------------------

def of_the_host(rule):
    """Every array of a rule and its network, copied to the host."""
    found = {**rule.net.parameters(), **rule.arrays}
    return {key: np.array(rule.net.ops.to_numpy(a)) for key, a in found.items()}


def taken(rule, plainly, steps):
    """Every array after some steps, operation by operation or recorded and replayed."""
    for x, y in batches(steps):
        x, y = rule.net.ops.asarray(x), rule.net.ops.asarray(y)
        for learn in rule.passes:
            learn(x, y) if plainly else rule.net.ops.take(learn, x, y)
    return of_the_host(rule)


def replayed_as_taken(name, backend, net, optimizer):
    """Five steps, operation by operation and recorded, move every array the same way."""
    given = {"optimizer": optimizer, **({"optimizer_inverse": optimizer} if name in (
        "tp", "dtp", "sdtp", "ao-sdtp") else {})}
    try:
        rules = [rule_of(name, backend, net=net, **given) for _ in range(2)]
    except UserError as refused:
        pytest.skip(str(refused))
    start = of_the_host(rules[0])
    want, got = taken(rules[0], True, 5), taken(rules[1], False, 5)
    for key in want:
        changed = np.linalg.norm(want[key] - start[key])
        assert np.linalg.norm(got[key] - want[key]) <= 1e-3 * changed, key


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_small_step_that_is_replayed_is_the_step(backend, name, optimizer):
    replayed_as_taken(name, backend, "64-12-11-10", optimizer)


@pytest.mark.gpu
@pytest.mark.parametrize("net", ["8x8x1-lc3x5s2-lc3x7s1-12-10", "8x8x1-conv3x5s2-conv3x7s1-12-10",
                                 "64-12-2xres12-10", "64-240-240-10", "64-1024-10"])
def test_a_step_of_any_network_that_is_replayed_is_the_step(name, net):
    replayed_as_taken(name, "cuda", net, "sgd")


@pytest.mark.gpu
def test_a_run_of_every_rule_on_a_gpu_is_numpys_at_every_one_of_100_steps(name):
    truth, narrow, ours = (rule_of(name, *how) for how in
                           (("numpy", "float64"), ("numpy",), ("cuda",)))
    want, rounded, got = (course(rule, 100) for rule in (truth, narrow, ours))
    allowed = TIMES * np.maximum.accumulate(np.abs(rounded - want)) + FLOOR
    assert (np.abs(got - want) <= allowed).all(), np.abs(got - want).max()


def trained(rule, digits, epochs, monkeypatch):
    """Each step's mean loss in some epochs, and what was measured after each."""
    losses = []
    monkeypatch.setattr(training, "check", lambda loss, *_: losses.append(
        None if loss is None else float(loss.mean())))
    told = list(training.epochs(rule, digits, epochs, batch=50, decay="linear"))
    return np.array([loss for loss in losses if loss is not None]), told


def subset(n):
    """The first n digits of each split."""
    digits = data.load("digits")
    return digits if n is None else type(digits)(
        **{**vars(digits), **{split: getattr(digits, split).first(n)
                              for split in ("train", "validation", "test")}})


@pytest.mark.parametrize("backend, n, epochs", [
    ("emulated", 220, 1), pytest.param("cuda", None, 3, marks=pytest.mark.gpu)])
def test_epochs_of_every_rule_are_numpys(name, backend, n, epochs, monkeypatch):
    digits, rules = subset(n), [rule_of(name, *how, net="64-24-20-10") for how in
                                (("numpy", "float64"), ("numpy",), (backend,))]
    (want, truth), (rounded, _), (got, told) = (trained(rule, digits, epochs, monkeypatch)
                                                for rule in rules)
    allowed = TIMES * np.maximum.accumulate(np.abs(rounded - want)) + FLOOR
    assert len(got) == len(want) and (np.abs(got - want) <= allowed)[:100].all()
    for one, other in zip(told, truth):
        assert abs(one["train_loss"] - other["train_loss"]) <= 0.02 * other["train_loss"]


@pytest.mark.gpu
def test_two_runs_on_a_gpu_give_the_same_bits(name):
    first, second = (taken(rule_of(name, "cuda"), False, 8) for _ in range(2))
    assert all(same(first[key], second[key]) for key in first)
