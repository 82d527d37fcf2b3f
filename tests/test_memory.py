"""Memory: what is predicted before anything is allocated is what is measured afterwards."""
import inspect
import random
import time
import tracemalloc

import numpy as np
import pytest

from minicredit import memory
from minicredit.__main__ import main
from minicredit.compare import build
from minicredit.data import Dataset, Split
from minicredit.errors import UserError
from minicredit.kernels import host, load, reference, shapes
from minicredit.memory import Need, need
from minicredit.presets import PRESETS, sizes_of
from minicredit.rules import RULES
from minicredit.settings import hyperparameters
from minicredit.training import epochs

KEY = 0, 0, 0, 0
BUFFERS = 70_000                # bytes: where dtypes mix, NumPy casts some thousand numbers at once
NETS = {"dense": "300-400-500-10", "lc": "24x24x3-lc5x16s2-lc3x16s1-64-10",
        "conv": "32x32x3-conv5x16s1-conv3x32s2-10", "residual": "200-300-2xres300-res400-10"}
IMPOSSIBLE = {("weight-mirror", "residual"), ("kickback", "lc"), ("kickback", "conv"),
              ("kickback", "residual")}
OPTIONS = [("bp", "optimizer=sgd"), ("bp", "optimizer=momentum"), ("bp", "optimizer=manhattan"),
           ("bp", "optimizer=rmsprop"), ("bp", "optimizer=rmsprop-centred"),
           ("dfa", "feedback=seeded"), ("tp", "first_target=gradient"), ("dtp", "bridge=0.5"),
           ("dtp", "first_target=output"), ("dtp", "schedule=parallel"),
           ("dtp", "init_inverse=orthogonal"), ("sdtp", "goal=noisy"), ("ao-sdtp", "n_aux=500"),
           ("kickback", "form=reward"), ("kickback", "shared=true"), ("kickback", "signs=random"),
           ("kickback", "coherence=reflect")]


def configuration(rule, net, batch=64, dtype="float32", **given):
    """What `minicredit compare` would make of it."""
    return {"net": net, "activation": "tanh", "init": "glorot", "dtype": dtype, "batch": batch,
            "backend": "numpy", "decay": "constant", "rules": {rule: hyperparameters(rule, given)}}


def pictures(net, n=64, K=10, dtype="float32"):
    """A data set of n blank images a split, of the size that a network sees."""
    features = sizes_of(net)[0]
    split = Split(np.zeros((n, features), dtype), np.arange(n) % K)
    return Dataset("blank", (features,), K, tuple(map(str, range(K))), "", split, split, split, "")


def bytes_of(deed):
    """The most that `deed` holds at once, as Python and NumPy allocate it."""
    deed()
    tracemalloc.start()
    try:
        deed()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def agree(rule, net, **given):
    """The prediction is within 10 % of the measurement, and at most 3 % below."""
    config = configuration(rule, net, **given)
    data = pictures(net, dtype=config["dtype"])
    predicted = need(rule, config, data).steps
    measured = memory.peak(rule, config, sizes_of(net)[0], data.K)
    assert 0.97 * measured < predicted < 1.10 * measured, f"{predicted:,} for {measured:,}"


# Predicted and measured ---------------------------------------------------------------------------

@pytest.mark.parametrize("kind", NETS)
def test_the_predicted_peak_of_every_rule_is_the_measured_one(name, kind):
    if (name, kind) in IMPOSSIBLE:
        with pytest.raises(UserError):
            need(name, configuration(name, NETS[kind]), pictures(NETS[kind]))
    else:
        agree(name, NETS[kind])


@pytest.mark.parametrize("rule", ["bp", "dtp", "ao-sdtp", "kickback"])
def test_what_a_backend_keeps_of_a_recorded_step_is_within_the_prediction(rule):
    config = {**configuration(rule, "300-3x200-10"), "backend": "numba"}
    predicted = need(rule, config, pictures("300-3x200-10")).steps
    measured = memory.peak(rule, config, 300, 10)
    assert measured < predicted < 8 * measured, f"{predicted:,} for {measured:,}"
    assert measured > need(rule, {**config, "backend": "numpy"}, pictures("300-3x200-10")).steps


@pytest.mark.parametrize("rule, option", OPTIONS)
def test_the_prediction_knows_every_option_that_allocates(rule, option):
    agree(rule, NETS["dense"], **dict([option.split("=")]))


@pytest.mark.parametrize("rule", ["bp", "dtp"])
def test_the_prediction_knows_float64(rule):
    agree(rule, NETS["lc"], dtype="float64")


def test_the_prediction_knows_exact_inverses():
    agree("tp", "300-300-300-10", inverse="exact", first_target="gradient")


@pytest.mark.parametrize("rule, kind", [("fa", "residual"), ("dtp", "lc"), ("kickback", "dense")])
def test_the_predicted_peak_of_a_run_is_that_of_training_and_all_instruments(rule, kind):
    config, data = configuration(rule, NETS[kind]), pictures(NETS[kind], n=600)

    def train():
        list(epochs(build(rule, config, data.K, seed=0), data, 1, config["batch"]))

    predicted, measured = need(rule, config, data), bytes_of(train)
    assert 0.95 * measured < predicted.run < 1.25 * measured, f"{predicted.run:,}, {measured:,}"
    assert predicted.steps < predicted.run


@pytest.mark.parametrize("rule", ["bp", "fa", "dtp", "sdtp"])
def test_the_largest_network_is_predicted_in_seconds_and_from_next_to_nothing(rule):
    net = PRESETS["imagenet-lc"].format(S=224, K=20)
    given = {"schedule": "parallel"} if rule in ("dtp", "sdtp") else {}
    config, start = configuration(rule, net, batch=32, **given), time.process_time()
    tracemalloc.start()
    try:
        data = Dataset("none", (224, 224, 3), 20, (), "", *3 * [Split(np.zeros((9, 0)), range(9))],
                       "")
        predicted = need(rule, config, data)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 5
    assert 3 * 2**30 < predicted.steps < predicted.run < 16 * 2**30


# The arrays without numbers -----------------------------------------------------------------------

def operations():
    """Every kind of operation, with arrays of 0.3 to 5 MB, as (name, arguments)."""
    a, b = np.ones((2, 300, 400), np.float32)
    W, y = np.ones((400, 300), np.float32), np.zeros(300, np.int64)
    K, N = np.ones((4, 300, 200), np.float32), np.ones((4, 100, 300), np.float32)
    bias, sign = np.ones((4, 200), np.float32), np.ones(200, np.float32)
    image, place = np.ones((64, 12 * 12 * 8), np.float32), np.ones((64, 36 * 16), np.float32)
    lc, window = np.ones((36, 72, 16), np.float32), (12, 12, 8, 3, 2, 0, 0, 6, 6)
    two = ("local", lc, np.ones((36, 16))), ("conv", lc[0], np.ones(16))
    yield from [("dense", (a, W, b[0, :300], f)) for f in ("tanh", "relu", "softmax")]
    yield from [("times_slope", (a, b, f)) for f in ("tanh", "relu", "softmax")]
    yield from [("pull_back", (a, W.T.copy())), ("dense_grad", (a, b)), ("difference", (a, a, b)),
                ("join", (a, b)), ("with_signs", (a, b)), ("softmax", (a,)),
                ("softmax_xent", (a, y)), ("squared_error", (a, b)),
                ("signed_dense", (N, K, bias, sign)),
                ("signed_grad", (N, N)), ("influence", (N @ K, K)), ("by_class", (a,)),
                ("signed_times_slope", (N @ K, N @ K, sign)), ("class_sums", (N,)),
                ("signed_times_slope", ((N @ K)[:, :, :1].copy(), N @ K, sign)),
                ("network_sum", (N,)), ("keep_signs", (K, sign))]
    for kind, weights, bias in two:
        yield from [(f"{kind}_dense", (image, weights, bias, "tanh", window)),
                    (f"{kind}_pull_back", (place, weights, window)),
                    (f"{kind}_grad", (image, place, window)),
                    (f"{kind}_transposed_grad", (place, image, window)),
                    (f"{kind}_transposed_pull_back", (image, weights.swapaxes(-1, -2), window))]
    yield from [("local_transposed", (place, lc.swapaxes(1, 2), np.ones((144, 8)), "relu", window)),
                ("uniform", ((400, 500), KEY, "float64")), ("normal", ((400, 501), KEY, "float32")),
                ("sgd", (a, b, 0.1)), ("momentum", (a, b, b, 0.1, 0.9)), ("manhattan", (a, b, 0.1)),
                ("rmsprop", (a, b, b, 0.1, 0.9, 1e-8)), ("leak", (a, 0.1)),
                ("rmsprop_centred", (a, b, b, b, b, 0.1, 0.9, 0.9, 1e-3)),
                ("adam", (a, b, 0 * b, b, 1, 0.1, 0.9, 0.9, 1e-8))]


@pytest.mark.parametrize("operation, given", list(operations()))
def test_an_operation_allocates_what_the_reference_does(operation, given):
    with np.errstate(all="ignore"):
        want = bytes_of(lambda: getattr(reference, operation)(*given))
    ops, meter = shapes.metered()
    given = [ops.asarray(x) if isinstance(x, np.ndarray) else x for x in given]
    start = meter.reset()
    getattr(ops, operation)(*given)
    assert meter.peak - start == pytest.approx(want, rel=0.02, abs=BUFFERS)
    assert meter.now == start


def test_the_arrays_of_an_operation_have_the_shapes_and_dtypes_of_the_reference():
    for operation, given in operations():
        ops, _ = shapes.metered()
        sized = [ops.asarray(x) if isinstance(x, np.ndarray) else x for x in given]
        with np.errstate(all="ignore"):
            want, got = (getattr(o, operation)(*g) for o, g in ((reference, given), (ops, sized)))
        for one, other in zip(*(x if isinstance(x, tuple) else (x,) for x in (want, got))):
            if one is not None:
                assert (one.shape, one.dtype) == (other.shape, other.dtype), operation


def test_it_has_every_operation_of_the_reference():
    ops, _ = shapes.metered()
    for name, function in vars(reference).items():
        if inspect.isfunction(function) and function.__module__ == reference.__name__:
            assert inspect.signature(getattr(ops, name)) == inspect.signature(function)


def test_a_view_has_no_bytes_of_its_own_and_keeps_those_of_what_it_shows():
    ops, meter = shapes.metered()
    a = ops.np.zeros((30, 40), "float32")
    views = [a.T, a[::2, 3:], a.reshape(3, 10, 40), a.reshape(-1), a.swapaxes(0, 1), a[None], a[4]]
    assert meter.now == meter.peak == 4800
    del a
    assert meter.now == 4800
    del views
    assert meter.now == 0 and meter.peak == 4800


def test_a_copy_has_bytes_of_its_own():
    ops, meter = shapes.metered()
    a, rows = ops.np.zeros((30, 40), "float32"), ops.asarray(np.arange(10))
    b = a.T.reshape(1200), a.copy(), a.astype("float64"), a[rows]
    assert meter.now == 4800 + 80 + 4800 + 4800 + 9600 + 1600 and len(b) == 4


def test_a_reshape_is_a_view_where_numpy_has_one():
    draw = random.Random(0)
    seen = {True: 0, False: 0}
    for _ in range(3000):
        x = np.empty([draw.choice([1, 2, 3, 4, 6]) for _ in range(draw.randint(1, 4))])
        x = x.transpose(draw.sample(range(x.ndim), x.ndim))
        x = x[tuple(slice(draw.choice([0, 0, 1]), None, draw.choice([1, 1, 2])) for _ in x.shape)]
        wanted, left = [], x.size
        while left > 1 and draw.random() < 0.8:
            wanted.append(draw.choice([k for k in range(1, left + 1) if left % k == 0]))
            left //= wanted[-1]
        wanted += [left] if x.size else []
        if not x.size:
            continue
        view = np.shares_memory(x.reshape(wanted), x)
        seen[view] += 1
        assert (shapes.seen_as(wanted, x) is not None) == view, (x.shape, x.strides, wanted)
    assert min(seen.values()) > 100


def test_there_are_no_numbers_to_be_had():
    a = shapes.metered()[0].np.zeros((3, 4))
    for ask in (np.asarray, bool, np.median):
        with pytest.raises(TypeError):
            ask(a)
    assert np.isnan(float(a[0, 0]))


def test_initial_weights_are_drawn_by_the_reference_for_all_others():
    assert host(load("numpy")) is reference
    ops, _ = shapes.metered()
    assert host(ops) is ops and load(ops) is ops


# What there is ------------------------------------------------------------------------------------

@pytest.mark.parametrize("command", [["compare", "--rules", "bp,dtp"], ["train", "dtp"]])
def test_a_rule_that_needs_more_than_there_is_is_refused_in_one_line(command, tmp_path, capsys,
                                                                    monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--memory", "38MiB", "--net", "64-800-800-10"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and list(tmp_path.iterdir()) == []
    for word in ("dtp", "memory", "38.0 MiB (39,845,888 bytes)", "--batch", "optimizer=sgd"):
        assert word in err


def test_what_the_machine_has_is_the_limit_where_none_is_given(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 100_000)
    assert main(["train", "bp", "--out", str(tmp_path / "out")]) == 2
    assert "100,000 bytes" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_advice_is_given_where_it_helps_alone():
    config = configuration("bp", "64-10", batch=1, optimizer="sgd")
    with pytest.raises(UserError) as refusal:
        memory.refuse_above(99, config, {"bp": Need(1, 100)})
    assert "100 bytes" in str(refusal.value) and "99 bytes" in str(refusal.value)
    assert not any(word in str(refusal.value) for word in ("--batch", "float32", "sgd"))
    memory.refuse_above(100, config, {"bp": Need(100, 100)})
    memory.refuse_above(None, config, {"bp": Need(2**60, 2**60)})
    with pytest.raises(UserError, match="float32"):
        memory.refuse_above(1, {**config, "dtype": "float64"}, {"bp": Need(2, 2)})


def test_a_container_s_share_counts_without_what_it_keeps_of_files(monkeypatch):
    files = {"/proc/meminfo": ["MemTotal: 9 kB", "MemAvailable:    4000 kB"]}
    monkeypatch.setattr(memory, "lines", lambda path: files.get(path, []))
    assert memory.available() == 4_096_000
    files["/sys/fs/cgroup/memory.max"] = ["max"]
    files["/sys/fs/cgroup/memory.current"] = ["900000"]
    assert memory.available() == 4_096_000
    files["/sys/fs/cgroup/memory.max"] = ["1000000"]
    files["/sys/fs/cgroup/memory.stat"] = ["anon 5", "inactive_file 300000", "active_file 200000"]
    assert memory.available() == 600_000
    files.clear()
    assert memory.available() is None


@pytest.mark.parametrize("n_bytes, text", [(2**30 * 3 // 2, "1.5 GiB"), (2**20 * 40, "40.0 MiB")])
def test_sizes_are_told_in_units_that_people_read(n_bytes, text):
    assert memory.size(n_bytes) == text


def test_the_prediction_is_shown_before_the_runs_and_the_measurement_after(tmp_path, capsys):
    assert main(["train", "bp", "--net", "64-200-10", "--epochs", "1", "--seeds", "1", "--limit",
                 "100", "--out", str(tmp_path)]) == 0
    before, _, after = capsys.readouterr().out.partition("runs, about")
    assert "bp  memory expected: " in before and "MiB to learn" in before
    assert "memory" in after and "MiB" in after


def test_every_rule_is_predicted(name):
    assert RULES[name] and need(name, configuration(name, "64-20-10"), pictures("64-20-10")).run
