"""On a GPU: instructions are what the emulator takes them for, kernels and replayed steps right.

    pytest -m gpu --require-gpu                 everything that a GPU can be asked, in every file
    compute-sanitizer --tool memcheck python -m pytest -m gpu --require-gpu --bare-memory \\
        tests/test_gpu.py -k small              and racecheck, initcheck, synccheck

What is not marked gpu runs on the emulated device too, or there alone.
"""
from pathlib import Path

import numpy as np
import pytest
from conftest import FLOOR, TIMES, assert_close, batches, course, poison, rule_of, same

from minicredit import data, training
from minicredit.errors import UserError
from minicredit.kernels import load
from minicredit.kernels.cuda.trials import TRIALS, Bench

CONFORMANCE = Path(__file__).with_name("conformance.cu")
SIZES = [(1, 1, 1), (33, 18, 21), (100, 240, 240), (128, 10, 257), (300, 65, 129)]      # m, n, k
SMALL = SIZES[1]
BACKENDS = ["emulated", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture
def gpu(request):
    """The GPU."""
    return poison(load("cuda").device, request.config)


def launch(device, kernel, defines, grid, block, *args):
    """One launch of an instruction's kernel."""
    device.launch(CONFORMANCE, kernel, (("real", "float"), *defines), grid, block, list(args))


# Instructions -------------------------------------------------------------------------------------

def to_tf32(x):
    """The bits of x rounded to ten of mantissa, nearest, ties away from zero."""
    bits = x.view(np.uint32)
    return np.where(np.isfinite(x), (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000), bits)


def test_small_numbers_are_rounded_to_tf32(device):
    x = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    x[:6] = 0, -0.0, 1 + 2.0**-11, -1 - 2.0**-11, 1 + 2.0**-11 - 2.0**-23, 1 + 3 * 2.0**-11
    x[6:8] = np.inf, -np.inf
    out = device.empty(2000, np.uint32)
    launch(device, "rounded", (("PIECE", 4),), 16, 128, device.asarray(x), out, len(x))
    assert same(device.to_numpy(out), to_tf32(x))


def test_a_small_tensor_core_product_is_the_product(device):
    A, B, C = (np.random.default_rng(n).standard_normal(size).astype(np.float32)
               for n, size in enumerate([(5, 16, 8), (5, 8, 8), (5, 16, 8)]))
    there = [device.asarray(to_tf32(M).view(np.float32).copy()) for M in (A, B)]
    D = device.empty((5, 16, 8), np.float32)
    launch(device, "product", (("PIECE", 4),), 5, 32, *there, device.asarray(C), D)
    A, B = (device.to_numpy(M).astype(np.float64) for M in there)
    assert_close(device.to_numpy(D), C + A @ B, 9, np.abs(C) + np.abs(A) @ np.abs(B))


@pytest.mark.parametrize("size, some", [(4, 0), (4, 4), (8, 0), (8, 4), (8, 8), (16, 0), (16, 4),
                                        (16, 12), (16, 16)])
def test_small_pieces_are_copied_while_a_thread_goes_on(device, size, some):
    x = np.random.default_rng(0).integers(1, 255, 64 * size).astype(np.uint8)
    out = device.empty(64 * size, np.uint8)
    launch(device, "copied", (("PIECE", size),), 1, 32, device.asarray(x), out, some)
    want = x.copy().reshape(2, 32, size)
    want[1, :, some:] = 0
    assert same(device.to_numpy(out), want.ravel())


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
