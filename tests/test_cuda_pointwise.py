"""The kernels beside the products, entry by entry and row by row, against the reference."""
import warnings

import numpy as np
import pytest
from conftest import assert_close, same

from minicredit.kernels import reference
from minicredit.kernels.cuda import coherent, losses, optimisers, pointwise, randomness
from minicredit.kernels.cuda.numbers import Factor, Offset
from minicredit.kernels.cuda.work import Work

DTYPES = "float32", "float64"
SHAPES = [(1, 1), (7, 31), (5, 32), (3, 33), (2, 300), (131, 2), (1, 1031)]
KEY = 1234567890123, 2, 3, 2**63 + 4567890123456            # no half of seed and step is empty
SLOPES = "linear", "tanh", "relu", "softmax"


def numbers(dtype, *shape, seed=0):
    """Standard normal, as rounded to dtype."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def there(device, args):
    """The same arguments, arrays on the device."""
    return [device.asarray(a) if isinstance(a, np.ndarray) else a for a in args]


def wide(args):
    """The same arguments, floats in float64."""
    return [a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
            for a in args]


def agrees(device, operation, args, terms=1, scale=None):
    """What an operation gives on the device is what the reference gives in float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)     # means over no examples
        want = getattr(reference, operation.__name__)(*wide(args))
    got = operation(device, *there(device, args))
    pairs = zip(got, want) if isinstance(want, tuple) else [(got, want)]
    for one, other in pairs:
        assert one.dtype == args[0].dtype
        assert_close(device.to_numpy(one), other, terms, scale)


# Entry by entry -----------------------------------------------------------------------------------

@pytest.mark.parametrize("f", SLOPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_error_times_a_slope(device, dtype, shape, f):
    e, h = numbers(dtype, *shape), np.tanh(numbers(dtype, *shape, seed=1))
    h = np.maximum(h, 0) if f == "relu" else h
    agrees(device, pointwise.times_slope, (e, h, f), shape[1] if f == "softmax" else 2,
           1 + np.abs(e).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_difference_a_join_and_signs(device, dtype, shape):
    h, up, down = (numbers(dtype, *shape, seed=s) for s in range(3))
    agrees(device, pointwise.difference, (h, up, down), 2, 4)
    for count in (1, 2, 3, 4, 5, 9):
        agrees(device, pointwise.join, (h, up[:, :1].copy(), down, down, h, h, up, up, h)[:count])
    agrees(device, pointwise.with_signs, (h, up))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_difference_of_equal_answers_changes_no_bit(device, dtype):
    h, up = numbers(dtype, 7, 33), 1e8 * numbers(dtype, 7, 33, seed=1)
    got = pointwise.difference(device, *there(device, (h, up, up.copy())))
    assert same(device.to_numpy(got), h)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_and_products_that_a_rule_writes_itself(device, dtype):
    x, y = (numbers(dtype, 5, 33, seed=s) for s in range(2))
    a, b = there(device, (x, y))
    for got, want in ((a + b, x + y), (a - b, x - y), (a * b, x * y), (a + 2, x + 2),
                      (2 + a, 2 + x), (a - 0.5, x - dtype_of(x)(0.5)), (1 - a, 1 - x),
                      (3 * a, 3 * x), (a * 3, x * 3), (-a, -x), (a - 0.3 * b, x - 0.3 * y)):
        assert got.dtype == dtype
        assert_close(device.to_numpy(got), want, scale=6)


def dtype_of(x):
    """What makes a number of an array's type."""
    return x.dtype.type


def test_what_has_no_kernel_is_left_to_the_array(device):
    a, b = there(device, (numbers("float32", 3, 4), numbers("float64", 3, 4)))
    y, = there(device, (np.arange(3),))
    for x, z in ((a, b), (a, np.float64(2)), (y, y), (y, 2), (a, a[:1]), (a.T, a.T)):
        assert pointwise.add(device, x, z) is None
        assert pointwise.subtract(device, x, z) is None
        assert pointwise.multiply(device, x, z) is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("f, slope", [("linear", 1), ("tanh", "1 - h * h"), ("relu", "h > 0")])
def test_a_miss_times_a_slope_is_one_pass(device, dtype, f, slope):
    h, h_hat = (np.tanh(numbers(dtype, 7, 33, seed=s)) for s in range(2))
    got = pointwise.each(device, f"{f}_miss", *there(device, (h, h_hat)))
    want = (h - h_hat) * eval(str(slope), {"h": h})         # as the reference writes them
    assert_close(device.to_numpy(got), want, 2, 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_scale_in_device_memory_is_read_there(device, dtype):
    x, y = there(device, (numbers(dtype, 5, 33), numbers(dtype, 5, 33, seed=1)))
    at = device.asarray(np.array([0.25]))
    s = -2.0 * Factor(0.25, at)
    got = pointwise.each(device, "axpy", x, y, s=s)
    at.fill(0.5)
    later = pointwise.each(device, "axpy", x, y, s=s)
    x, y = (device.to_numpy(a) for a in (x, y))
    assert_close(device.to_numpy(got), x - 0.5 * y, scale=6)
    assert_close(device.to_numpy(later), x - y, scale=6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_that_begins_anywhere_is_read_where_it_begins(device, dtype):
    x, y = numbers(dtype, 1030), numbers(dtype, 1030, seed=1)
    a, b = there(device, (x, y))
    assert same(device.to_numpy(a[1:] + b[1:]), x[1:] + y[1:])
    optimisers.sgd(device, a[3:], b[3:], 0.5)
    assert_close(device.to_numpy(a), np.concatenate([x[:3], x[3:] - dtype_of(x)(0.5) * y[3:]]))


# Losses -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_and_its_loss(device, dtype, shape, scale):
    a, (N, K) = (scale * numbers(dtype, *shape)).astype(dtype), shape
    a[-1, -1] += 2000                               # exp overflows unless the largest is taken
    agrees(device, losses.softmax, (a,), K, 1)
    agrees(device, losses.softmax_xent, (a, (7 * np.arange(N) - 1) % K), K,
           1 + np.abs(a - a.max(axis=1, keepdims=True)).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_squared_error(device, dtype, shape):
    a, y = numbers(dtype, *shape), numbers(dtype, *shape, seed=1)
    agrees(device, losses.squared_error, (a, y), shape[1])


@pytest.mark.parametrize("shape", [(5, 10), (2, 300), (1, 1031)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_and_a_step_down_the_loss_come_in_the_same_pass(device, dtype, shape):
    a, (N, K) = numbers(dtype, *shape), shape
    y = np.arange(N) % K
    on, labels = there(device, (a, y))
    delta, p, goal = (device.empty(shape, np.dtype(dtype)) for _ in range(3))
    loss = device.empty(N, np.dtype(dtype))
    device.run([losses.softmax_xent_work(on, labels, loss, delta, p, goal, 0.3)])
    want = reference.softmax(a.astype(np.float64))
    assert_close(device.to_numpy(p), want, K, 1)
    assert_close(device.to_numpy(goal), want - 0.3 * (want - np.eye(K)[y]), K, 1)


def test_a_nan_stays_in_its_row_and_fills_it(device):
    a, y = numbers("float32", 5, 40), np.arange(5)
    a[2, 17] = np.nan
    for got in (losses.softmax(device, *there(device, (a,))),
                *losses.softmax_xent(device, *there(device, (a, y)))):
        bad = np.isnan(device.to_numpy(got)).reshape(5, -1)
        assert bad[2].all() and not np.delete(bad, 2, axis=0).any()


def test_the_loss_of_a_label_that_there_is_not_is_nan(device):
    a, y = numbers("float32", 3, 5), np.array([5, -1, 4])
    loss, _ = losses.softmax_xent(device, *there(device, (a, y)))
    assert np.isnan(device.to_numpy(loss)).tolist() == [True, True, False]


def test_a_nan_error_is_seen_through_a_shut_rectifier(device):
    e, h = np.full((1, 3), np.nan, "float32"), np.array([[0, -1, 2]], "float32")
    assert np.isnan(device.to_numpy(pointwise.times_slope(device, *there(device, (e, h)),
                                                          "relu"))).all()
    assert np.isnan(device.to_numpy(pointwise.each(device, "relu_miss",
                                                   *there(device, (h, e))))).all()


def test_a_nan_has_a_nan_for_a_sign(device):
    M, W = np.ones(3, "float32"), np.array([np.nan, -0.0, -2], "float32")
    got = device.to_numpy(pointwise.with_signs(device, *there(device, (M, W))))
    assert np.isnan(got[0]) and got[1:].tolist() == [0, -1]


# Randomness ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 511, 512, 513, 5003])
def test_random_integers_are_the_references(device, n):
    got = device.to_numpy(randomness.philox(device, n, KEY))
    assert same(got, reference.philox(n, KEY))
    for dtype in DTYPES:
        u = device.to_numpy(randomness.uniform(device, (n,), KEY, dtype))
        assert same(u, reference.uniform((n,), KEY, dtype))
    order = device.to_numpy(randomness.permutation(device, n, KEY))
    assert same(order, reference.permutation(n, KEY))


@pytest.mark.parametrize("shape", [(), 7, (5,), (3, 5), (2, 3, 7), (4, 0)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_random_numbers_come_in_every_shape(device, dtype, shape):
    u = device.to_numpy(randomness.uniform(device, shape, KEY, dtype))
    assert same(u, reference.uniform(shape, KEY, dtype))
    z = device.to_numpy(randomness.normal(device, shape, KEY, dtype))
    assert_close(z, reference.normal(shape, KEY, np.float64), 2, 4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_is_added_to_an_array(device, dtype, shape):
    agrees(device, randomness.noisy, (numbers(dtype, *shape), 0.3, KEY), 2, 4)


def test_a_step_in_device_memory_draws_the_same(device):
    at = device.asarray(np.array([40]))
    key = *KEY[:3], Offset(40, at) + 2
    for n, t in ((513, 42), (7, 42)):
        got = device.to_numpy(randomness.philox(device, n, key))
        assert same(got, reference.philox(n, (*KEY[:3], t)))


# Optimisers ---------------------------------------------------------------------------------------

SETTINGS = {"sgd": (0.1,), "momentum": (0.1, 0.9), "manhattan": (0.1,),
            "rmsprop": (0.1, 0.9, 1e-8), "rmsprop_centred": (0.1, 0.95, 0.9, 1e-3),
            "adam": (0.1, 0.9, 0.999, 1e-8)}


def arguments(name, dtype, n):
    """Weights, and the optimiser's state before its first step."""
    return numbers(dtype, n, seed=9), [np.zeros(n, dtype)
                                       for _ in range(optimisers.STATES.get(name, 0))]


def settings(name, t):
    """What comes behind the state."""
    return ((t,) if name == "adam" else ()) + SETTINGS[name]


@pytest.mark.parametrize("n", [1, 31, 512, 1031])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SETTINGS)
def test_fifty_steps_of_an_optimiser_are_the_references(device, name, dtype, n):
    w, state = arguments(name, dtype, n)
    moved = there(device, [w.copy(), *(s.copy() for s in state)])
    for t in range(1, 51):
        g = numbers(dtype, n, seed=t)
        getattr(reference, name)(w, g, *state, *settings(name, t))
        getattr(optimisers, name)(device, moved[0], device.asarray(g), *moved[1:],
                                  *settings(name, t))
    for got, want in zip(moved, [w, *state]):
        assert_close(device.to_numpy(got), want, 50)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_leak(device, dtype):
    w = numbers(dtype, 1031)
    got = device.asarray(w.copy())
    optimisers.leak(device, got, 0.1)
    reference.leak(w, 0.1)
    assert_close(device.to_numpy(got), w)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_nan_gradient_reaches_its_weight_and_no_other(device, name):
    w, state = arguments(name, "float32", 33)
    g = numbers("float32", 33)
    g[5] = np.nan
    moved = device.asarray(w)
    getattr(optimisers, name)(device, moved, *there(device, (g, *state)), *settings(name, 1))
    assert np.flatnonzero(np.isnan(device.to_numpy(moved))).tolist() == [5]


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_arrays_move_in_one_launch_each_in_its_own_way(device, dtype):
    calls = []
    for i, name in enumerate([*SETTINGS] * 3):              # 18 of them: more than a launch takes
        w, state = arguments(name, dtype, 100 * i + 1)
        calls.append((name, [w, numbers(dtype, len(w), seed=i), *state, *settings(name, i + 1)]))
    on_device = [(name, there(device, args)) for name, args in calls]
    device.run([optimisers.update_work(name, args) for name, args in on_device])
    for (name, args), (_, got) in zip(calls, on_device):
        getattr(reference, name)(*args)
        assert_close(device.to_numpy(got[0]), args[0], 8)


def test_a_rate_and_a_counter_in_device_memory_are_read_there(device):
    w, state = arguments("adam", "float64", 33)
    scale, count = device.asarray(np.array([0.5])), device.asarray(np.array([6]))
    got = there(device, [w.copy(), *(s.copy() for s in state)])
    g = numbers("float64", 33)
    optimisers.adam(device, got[0], device.asarray(g), *got[1:], Offset(6, count) + 1,
                    0.1 * Factor(0.5, scale), 0.9, 0.999, 1e-8)
    reference.adam(w, g, *state, 7, 0.05, 0.9, 0.999, 1e-8)
    assert_close(device.to_numpy(got[0]), w, 4)


# Coherent networks --------------------------------------------------------------------------------

@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("N, n_in, n_out", [(1, 1, 1), (7, 5, 3), (31, 32, 33), (2, 3, 67),
                                            (131, 2, 3), (33, 70, 31)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_coherent_networks(device, dtype, N, n_in, n_out, common):
    K, sign = 3, np.where(np.arange(n_out) % 2, -1, 1).astype(dtype)
    h, W = numbers(dtype, K, N, n_in), numbers(dtype, K, n_in, n_out)
    b, delta = numbers(dtype, K, n_out), numbers(dtype, K, N, n_out, seed=1)
    h = h[0].copy() if common else h
    agrees(device, coherent.signed_dense, (h, W, b, sign), n_in + 1, 20)
    agrees(device, coherent.signed_pull_back, (delta, W), n_out, 20)
    agrees(device, coherent.influence, (delta, W), n_out, 20)
    agrees(device, coherent.signed_grad, (h, delta), N + 1, 20)
    gates = np.maximum(sign * delta, 0)
    agrees(device, coherent.signed_slope, (gates, sign))
    for e in (b[:, None, :] + delta, delta[:, :, :1].copy()):
        agrees(device, coherent.signed_times_slope, (e, gates, sign), 2, 10)
    agrees(device, coherent.class_sums, (delta,), n_out, 10)
    agrees(device, coherent.by_class, (W[0],))
    agrees(device, coherent.network_sum, (delta,), K, 10)
    got, = there(device, (W,))
    coherent.keep_signs(device, got, device.asarray(sign))
    assert same(device.to_numpy(got), np.where(sign * W > 0, W, 0).astype(dtype))


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("N, n_in, n_out", [(1, 1, 1), (7, 5, 3), (33, 70, 31), (2, 3, 67)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_coherent_network_goes_down_its_own_gradient(device, dtype, N, n_in, n_out, common,
                                                          kept):
    K, sign = 3, np.where(np.arange(n_out) % 2, -1, 1).astype(dtype)
    h, delta = numbers(dtype, K, N, n_in), numbers(dtype, K, N, n_out, seed=1)
    h = h[0].copy() if common else h
    W, b, u = numbers(dtype, K, n_in, n_out), numbers(dtype, K, n_out), numbers(dtype, K, n_out)
    h_, delta_, sign_, *moved = there(device, (h, delta, sign, W, b, u))
    updates = (optimisers.update_fields("sgd", (moved[0], None, 0.5)),
               optimisers.update_fields("momentum", (*moved[1:2], None, moved[2], 0.5, 0.9)))
    device.run([coherent.signed_descend_work(h_, delta_, *updates, sign_ if kept else None)])
    h, delta, sign, W, b, u = wide((h, delta, sign, W, b, u))
    dW, db = reference.signed_grad(h, delta)
    reference.sgd(W, dW, 0.5)
    reference.momentum(b, db, u, 0.5, 0.9)
    if kept:
        reference.keep_signs(W, sign)
    for got, want in zip(moved, (W, b, u)):
        assert_close(device.to_numpy(got), want, N + 2, 20)


@pytest.mark.parametrize("N, n_in, n_out", [(1, 1, 1), (7, 5, 3), (33, 70, 31), (2, 3, 67)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_are_taken_in_the_pass_of_a_product_or_a_sum(device, dtype, N, n_in, n_out):
    K, sign = 3, np.where(np.arange(n_in) % 2, -1, 1).astype(dtype)
    delta, W = numbers(dtype, K, N, n_out), numbers(dtype, K, n_in, n_out)
    h, beta = np.maximum(numbers(dtype, K, N, n_in), 0), numbers(dtype, N, K)
    e, told, heard = (device.empty(shape, dtype) for shape in (h.shape, h.shape, h.shape[1:]))
    delta_, W_, h_, sign_, e_, beta_, below_ = there(device, (delta, W, h, sign, h - 1, beta, h[0]))
    device.run([coherent.signed_pull_back_work(delta_, W_, e, h_, sign_)])
    device.run([coherent.signed_slope_work(h_, sign_, told, beta_, (1, K, 0))])
    device.run([coherent.network_sum_work(e_, heard, below_, "relu")])
    delta, W, h, sign, beta = wide((delta, W, h, sign, beta))
    pulled = reference.signed_pull_back(delta, W)
    assert_close(device.to_numpy(e), reference.signed_times_slope(pulled, h, sign), n_out, 20)
    beta = reference.by_class(beta)
    assert_close(device.to_numpy(told), reference.signed_times_slope(beta, h, sign), 2, 20)
    assert_close(device.to_numpy(heard),
                 reference.times_slope(reference.network_sum(h - 1), h[0], "relu"), K, 20)


# Data sets and clocks that lie on the device ------------------------------------------------------

@pytest.mark.parametrize("n", [1, 31, 64, 784])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_batch_is_gathered_from_where_the_counter_stands(device, dtype, n):
    rows, labels, order = numbers(dtype, 23, n), np.arange(23) * 3, np.arange(23)[::-1].copy()
    x, y = device.empty((5, n), np.dtype(dtype)), device.empty((5,), np.dtype("int64"))
    data = there(device, (rows, labels, order))
    first = Offset(6, device.asarray(np.array([6]))) + 1
    problem = {**dict(zip(("rows", "labels", "order"), data)), "first": first, "out": x, "y": y,
               "N": 5, "n": n}
    device.run([Work("gather", (), problem, 2, (32, 4), data, [x, y])])
    assert same(device.to_numpy(x), rows[order[7:12]])
    assert same(device.to_numpy(y), labels[order[7:12]])


def test_counters_move_on_and_the_scale_is_looked_up_until_the_table_ends(device):
    counters, by = there(device, (np.array([0, 10, 20]), np.array([1, 128, 2])))
    table, scale = there(device, (np.array([1.0, 0.5, 0.25]), np.array([1.0])))
    problem = {"counters": counters, "by": by, "table": table, "value": scale, "counts": 3,
               "length": 3}
    seen = []
    for _ in range(4):
        device.run([Work("tick", (), problem, 1, 1, [by], [counters, scale], np.dtype("f4"))])
        seen.append(float(device.to_numpy(scale)[0]))
    assert seen == [0.5, 0.25, 0.25, 0.25]
    assert device.to_numpy(counters).tolist() == [4, 522, 28]


# Every operation ----------------------------------------------------------------------------------

def calls(dtype="float64", N=3, n=4):
    """One call of every operation here that takes arrays: {operation: arguments}."""
    a, b, y = numbers(dtype, N, n), numbers(dtype, N, n, seed=1), np.arange(N) % n
    hs, Ws, bs = numbers(dtype, 2, N, 4), numbers(dtype, 2, 4, 3), numbers(dtype, 2, 3)
    deltas, sign = numbers(dtype, 2, N, 3), np.ones(3, dtype)
    return {pointwise.times_slope: (a, b, "tanh"), pointwise.difference: (a, b, a + b),
            pointwise.join: (a, b), pointwise.with_signs: (a, b), losses.softmax: (a,),
            losses.softmax_xent: (a, y), losses.squared_error: (a, b),
            randomness.noisy: (a, 0.1, KEY), coherent.signed_dense: (hs, Ws, bs, sign),
            coherent.signed_slope: (deltas, sign), coherent.signed_pull_back: (deltas, Ws),
            coherent.signed_grad: (hs, deltas), coherent.influence: (deltas, Ws),
            coherent.signed_times_slope: (deltas, deltas, sign), coherent.class_sums: (hs,),
            coherent.by_class: (a,), coherent.network_sum: (hs,), coherent.keep_signs: (Ws, sign),
            optimisers.sgd: (a, b, 0.1), optimisers.momentum: (a, b, a + b, 0.1, 0.9)}


FLAT = [operation for operation in calls() if operation.__module__ != coherent.__name__]


# Threads and memory -------------------------------------------------------------------------------

def emulated(**settings):
    """A device on a CPU."""
    try:
        from minicredit.kernels.cuda.emulator import Device
        return Device(**settings)
    except ImportError as missing:                  # there is no C++ compiler
        pytest.skip(str(missing))


def everything(device):
    """The numbers that every operation here makes of the same arguments."""
    made = []
    for operation, args in calls("float32", N=37).items():
        args = there(device, args)
        got = operation(device, *args)
        got = got if isinstance(got, tuple) else (args[0] if got is None else got,)
        made += map(device.to_numpy, got)
    made.append(device.to_numpy(randomness.normal(device, (1031,), KEY, "float32")))
    return made


@pytest.mark.parametrize("schedule", ["down", "random"])
def test_the_order_of_threads_changes_no_bit(schedule):
    other, usual = emulated(schedule=schedule), emulated()
    for got, want in zip(everything(other), everything(usual)):
        assert same(got, want)


@pytest.fixture
def watched(monkeypatch):
    """A device that looks at accesses as a GPU makes them: g++ would take a pack apart."""
    build = pytest.importorskip("minicredit.kernels.cuda.emulator.build")
    monkeypatch.setattr(build, "CHECKED", (*build.CHECKED, "-fno-tree-sra"))
    return emulated(checked=True)


@pytest.mark.parametrize("operation", FLAT)
def test_a_warp_touches_no_sector_that_it_does_not_want(watched, operation):
    args = there(watched, calls("float32", 64, 64)[operation])
    watched.counted = 0
    operation(watched, *args)
    found = [place for places in watched.accesses.values() for place in places
             if place["space"] == "global"]
    assert found and all(place["cost"] == place["best"] for place in found), found


@pytest.mark.parametrize("first", [1, 2, 3])
def test_sixteen_bytes_are_touched_at_once_only_where_they_may_be(watched, first):
    w, g = there(watched, [numbers("float32", 600, seed=s) for s in range(2)])
    optimisers.sgd(watched, w[first:], g[first:], 0.1)
    optimisers.sgd(watched, w[4:], g[4 - first:-first], 0.1)


# What is refused, and what is empty ---------------------------------------------------------------

ARRAYS = [(operation, i) for operation, args in calls().items() for i, a in enumerate(args)
          if isinstance(a, np.ndarray)]


@pytest.mark.parametrize("operation, i", ARRAYS)
def test_a_view_an_array_of_the_host_and_another_type_are_refused(device, operation, i):
    args = there(device, calls()[operation])
    spread = np.repeat(device.to_numpy(args[i]), 2, axis=-1)
    for wrong in (device.asarray(spread)[..., ::2], device.to_numpy(args[i]),
                  device.asarray(device.to_numpy(args[i]).astype(np.float16))):
        with pytest.raises(ValueError, match="wanted"):
            operation(device, *args[:i], wrong, *args[i + 1:])


@pytest.mark.parametrize("operation", [o for o in calls() if o is not coherent.signed_grad])
def test_no_rows_give_no_rows(device, operation):
    args = calls(N=0)[operation]
    got = operation(device, *there(device, args))
    want = getattr(reference, operation.__name__)(*args) if got is not None else ()
    for one, other in zip(got if isinstance(got, tuple) else (got,),
                          want if isinstance(want, tuple) else (want,)):
        assert one is None or one.shape == other.shape


def test_a_mean_over_no_examples_is_nan(device):
    for got in coherent.signed_grad(device, *there(device, calls(N=0)[coherent.signed_grad])):
        assert np.isnan(device.to_numpy(got)).all()
