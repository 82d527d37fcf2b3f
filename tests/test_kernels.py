"""Every operation against its definition, written as loops in float64."""
import inspect
import sys
import math

import numpy as np
import pytest
from conftest import assert_close, same

from minicredit.kernels import BACKENDS, BackendError, load, reference

DTYPES = "float32", "float64"
CASES = [(1, 1, 1), (7, 5, 3), (2, 3, 67), (131, 2, 3), (3, 4, 4)]      # N, n_in, n_out: 1, prime,
                                                                        # wide, tall, square
KEY = 1234567890123, 2, 3, 4567890123456                    # both halves of seed and step in use


def numbers(dtype, *shape, seed=0):
    """Standard normal, as rounded to dtype."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def call(ops, name, *args):
    """An operation on arrays of this machine, whatever the backend's own arrays are."""
    there = [ops.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
    out = getattr(ops, name)(*there)
    return tuple(ops.to_numpy(o) for o in out) if isinstance(out, tuple) else ops.to_numpy(out)


# The definitions: a loop for every index ----------------------------------------------------------

def product(A, B):
    """AB in float64: sum_j A[n, j] B[j, k]."""
    C = np.zeros((A.shape[0], B.shape[1]))
    for n in range(A.shape[0]):
        for k in range(B.shape[1]):
            C[n, k] = math.fsum(float(A[n, j]) * float(B[j, k]) for j in range(A.shape[1]))
    return C


def softmax_row(a):
    """exp(a_k) / sum exp(a_k), with the largest taken away so that exp stays finite."""
    p = [math.exp(float(v) - float(max(a))) for v in a]
    return [v / math.fsum(p) for v in p]


def nonlinear(a, f):
    """f(a), entry by entry or row by row, in float64."""
    if f == "softmax":
        return np.array([softmax_row(row) for row in a])
    one = {"linear": float, "tanh": math.tanh, "relu": lambda v: v if v > 0 else 0.0}[f]
    return np.array([[one(float(v)) for v in row] for row in a])


@pytest.mark.parametrize("f", ["linear", "tanh", "relu", "softmax"])
@pytest.mark.parametrize("N, n_in, n_out", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_is_f_of_h_W_plus_b(ops, dtype, N, n_in, n_out, f):
    h, W, b = numbers(dtype, N, n_in), numbers(dtype, n_in, n_out), numbers(dtype, n_out)
    a = product(h, W) + b
    added = (product(np.abs(h), np.abs(W)) + np.abs(b)).max(axis=1, keepdims=True)
    assert_close(call(ops, "dense", h, W, b, f), nonlinear(a, f), n_in + 1, 1 + added)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, n_in, n", CASES)
def test_the_slope_of_tanh_is_one_minus_h_squared(ops, N, n_in, n, dtype):
    e, h = numbers(dtype, N, n), np.tanh(numbers(dtype, N, n, seed=1))
    want = [[float(e[i, k]) * (1 - float(h[i, k]) ** 2) for k in range(n)] for i in range(N)]
    assert_close(call(ops, "times_slope", e, h, "tanh"), want, scale=np.abs(e))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_rectifiers_slope_is_one_above_zero_and_nothing_at_zero(ops, dtype):
    e = numbers(dtype, 2, 4)
    h = np.array([[0, 1e-30, 2, 0], [5, -0.0, 0, 1]], dtype)
    assert same(call(ops, "times_slope", e, h, "relu"), np.where(h > 0, e, 0).astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_linear_slope_is_one(ops, dtype):
    e, h = numbers(dtype, 5, 3), numbers(dtype, 5, 3, seed=1)
    assert same(call(ops, "times_slope", e, h, "linear"), e)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, n_in, n", CASES)
def test_the_slope_of_softmax_is_the_product_with_its_jacobian(ops, N, n_in, n, dtype):
    e, h = numbers(dtype, N, n), call(ops, "softmax", numbers(dtype, N, n, seed=1))
    want = np.zeros((N, n))
    for i in range(N):
        p = h[i].astype(np.float64)
        J = np.diag(p) - np.outer(p, p)                     # dp_j / da_k
        want[i] = product(e[i:i + 1], J)[0]
    assert_close(call(ops, "times_slope", e, h, "softmax"), want, n, np.abs(e).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, n_in, n_out", CASES)
def test_pull_back_is_delta_times_W_transposed(ops, N, n_in, n_out, dtype):
    delta, W = numbers(dtype, N, n_out), numbers(dtype, n_in, n_out)
    added = product(np.abs(delta), np.abs(W).T)
    assert_close(call(ops, "pull_back", delta, W), product(delta, W.T), n_out, added)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, n_in, n_out", CASES)
def test_dense_grad_is_the_mean_of_the_outer_products(ops, N, n_in, n_out, dtype):
    h, delta = numbers(dtype, N, n_in), numbers(dtype, N, n_out)
    dW, db = call(ops, "dense_grad", h, delta)
    ones = np.ones((1, N))
    assert_close(dW, product(h.T, delta) / N, N, product(np.abs(h).T, np.abs(delta)) / N)
    assert_close(db, (product(ones, delta) / N)[0], N, (product(ones, np.abs(delta)) / N)[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_difference_is_h_plus_up_minus_down(ops, dtype):
    h, up, down = (numbers(dtype, 7, 5, seed=s) for s in range(3))
    want = [[float(h[n, k]) + (float(up[n, k]) - float(down[n, k])) for k in range(5)]
            for n in range(7)]
    added = np.abs(h) + np.abs(up) + np.abs(down)
    assert_close(call(ops, "difference", h, up, down), want, scale=added)


@pytest.mark.parametrize("dtype", DTYPES)
def test_difference_of_two_equal_answers_is_nothing_at_any_size(ops, dtype):
    h, up = numbers(dtype, 7, 5), 1e8 * numbers(dtype, 7, 5, seed=1)
    assert same(call(ops, "difference", h, up, up.copy()), h)


def test_join_puts_z_after_o(ops):
    o, z = numbers("float32", 3, 2), numbers("float32", 3, 4)
    both = call(ops, "join", o, z)
    assert same(both[:, :2], o) and same(both[:, 2:], z)


def test_with_signs_takes_magnitudes_of_one_and_signs_of_the_other(ops):
    M = np.array([[1, 2, 3], [4, 5, 6]], "float64")
    W = np.array([[-0.1, 0, 7], [1e-300, -3, -0.0]])
    assert same(call(ops, "with_signs", M, W), np.array([[-1, 0, 3], [4, -5, 0]], "float64"))


# Coherent networks --------------------------------------------------------------------------------

def coherent(dtype, N, n_in, n_out, K=3):
    """Arrays for K networks side by side: h, W, b, sign."""
    sign = np.where(np.arange(n_out) % 2, -1, 1).astype(dtype)
    return (numbers(dtype, K, N, n_in), numbers(dtype, K, n_in, n_out), numbers(dtype, K, n_out),
            sign)


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, n_in, n_out", CASES)
def test_signed_dense_is_K_signed_rectifier_layers(ops, N, n_in, n_out, dtype, common):
    h, W, b, sign = coherent(dtype, N, n_in, n_out)
    h = h[0] if common else h
    got = call(ops, "signed_dense", h, W, b, sign)
    for c in range(len(W)):
        own = h if common else h[c]
        added = product(np.abs(own), np.abs(W[c])) + np.abs(b[c])
        assert_close(got[c], sign * nonlinear(product(own, W[c]) + b[c], "relu"), n_in + 1, added)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_signed_slope_is_the_sign_where_the_unit_speaks_and_nothing_at_zero(ops, dtype):
    h, sign = np.array([[[0, -2, 3, 0]]], dtype), np.array([1, -1, 1, -1], dtype)
    assert same(call(ops, "signed_slope", h, sign), np.array([[[0, -1, 1, 0]]], dtype))


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, n_in, n", CASES)
def test_a_signed_slope_times_an_error_of_each_unit_or_of_all(ops, N, n_in, n, dtype, alone):
    h, _, _, sign = coherent(dtype, N, n, n)
    h *= numbers(dtype, 3, N, n, seed=2) > 0                    # some units are silent
    e = numbers(dtype, 3, N, 1 if alone else n, seed=1)
    want = np.zeros(h.shape, dtype)
    for c, i, k in np.ndindex(h.shape):
        if h[c, i, k] != 0:
            want[c, i, k] = sign[k] * e[c, i, 0 if alone else k]
    assert same(call(ops, "signed_times_slope", e, h, sign), want)


@pytest.mark.parametrize("operation", ["signed_pull_back", "influence"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, n_in, n_out", CASES)
def test_each_coherent_network_is_pulled_back_through_its_own_weights(ops, N, n_in, n_out, dtype,
                                                                      operation):
    _, W, _, _ = coherent(dtype, N, n_in, n_out)
    delta = numbers(dtype, 3, N, n_out, seed=5)
    got = call(ops, operation, delta, W)
    for c in range(3):
        added = product(np.abs(delta[c]), np.abs(W[c]).T)
        assert_close(got[c], product(delta[c], W[c].T), n_out, added)


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, n_in, n_out", CASES)
def test_signed_grad_is_the_mean_of_the_outer_products_of_each_network(ops, N, n_in, n_out, dtype,
                                                                       common):
    h = coherent(dtype, N, n_in, n_out)[0]
    h = h[0] if common else h
    delta = numbers(dtype, 3, N, n_out, seed=5)
    dW, db = call(ops, "signed_grad", h, delta)
    for c in range(3):
        own = h if common else h[c]
        added = product(np.abs(own).T, np.abs(delta[c])) / N
        assert_close(dW[c], product(own.T, delta[c]) / N, N, added)
        assert_close(db[c], product(np.ones((1, N)), delta[c])[0] / N, N, np.abs(delta[c]).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, K, n", CASES)
def test_a_class_says_the_sum_of_its_networks_units(ops, N, K, n, dtype):
    h = numbers(dtype, K, N, n)
    want = [[math.fsum(map(float, h[c, i])) for c in range(K)] for i in range(N)]
    assert_close(call(ops, "class_sums", h), want, n, np.abs(h).sum(axis=2).T)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, K, n", CASES)
def test_each_network_gets_the_numbers_of_its_class(ops, N, K, n, dtype):
    beta = numbers(dtype, N, K)
    want = np.zeros((K, N, 1), dtype)
    for i, c in np.ndindex(N, K):
        want[c, i, 0] = beta[i, c]
    assert same(call(ops, "by_class", beta), want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, K, n", CASES)
def test_what_networks_mean_at_one_input_is_added_up(ops, N, K, n, dtype):
    e = numbers(dtype, K, N, n)
    want = [[math.fsum(float(e[c, i, k]) for c in range(K)) for k in range(n)] for i in range(N)]
    assert_close(call(ops, "network_sum", e), want, K, np.abs(e).sum(axis=0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K, n_in, n_out", CASES)
def test_a_weight_of_the_wrong_sign_becomes_nothing(ops, K, n_in, n_out, dtype):
    W = numbers(dtype, K, n_in, n_out)
    sign = np.where(np.arange(n_out) % 2, -1, 1).astype(dtype)
    want = np.zeros(W.shape, dtype)
    for c, j, k in np.ndindex(W.shape):
        if W[c, j, k] > 0 and sign[k] > 0 or W[c, j, k] < 0 and sign[k] < 0:
            want[c, j, k] = W[c, j, k]
    got = ops.asarray(W.copy())
    assert ops.keep_signs(got, ops.asarray(sign)) is None and same(ops.to_numpy(got), want)


# Losses -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, n_in, K", CASES)
def test_softmax_is_its_definition_and_survives_large_logits(ops, N, n_in, K, dtype):
    a = numbers(dtype, N, K)
    a[-1, -1] += 2000                               # exp overflows unless the largest is taken
    assert_close(call(ops, "softmax", a), nonlinear(a, "softmax"), K, 1)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, n_in, K", CASES)
def test_softmax_xent_is_minus_log_p_and_its_slope(ops, N, n_in, K, dtype, scale):
    a = (scale * numbers(dtype, N, K)).astype(dtype)
    a[-1, -1] += 2000
    y = np.arange(N) % K
    loss, delta = call(ops, "softmax_xent", a, y)
    want = np.zeros(N)
    for n in range(N):
        top = float(a[n].max())
        total = math.fsum(math.exp(float(v) - top) for v in a[n])
        want[n] = math.log(total) - (float(a[n, y[n]]) - top)
    spread = np.abs(a - a.max(axis=1, keepdims=True)).max() + 1
    assert_close(loss, want, K, spread)
    assert_close(delta, nonlinear(a, "softmax") - np.eye(K)[y], K, spread)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, n_in, n", CASES)
def test_squared_error_is_half_the_squared_distance_and_its_slope(ops, N, n_in, n, dtype):
    a, y = numbers(dtype, N, n), numbers(dtype, N, n, seed=1)
    loss, delta = call(ops, "squared_error", a, y)
    want = [math.fsum((float(a[i, k]) - float(y[i, k])) ** 2 for k in range(n)) / 2
            for i in range(N)]
    assert_close(loss, want, n)
    assert_close(delta, [[float(a[i, k]) - float(y[i, k]) for k in range(n)] for i in range(N)])


# Randomness ---------------------------------------------------------------------------------------

KNOWN = [       # Random123, kat_vectors, philox4x32 10: counter, key, answer
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


@pytest.mark.parametrize("counter, key, answer", KNOWN)
def test_philox_gives_the_known_answers_of_random123(counter, key, answer):
    assert tuple(int(w) for w in reference.philox_rounds(counter, key)) == answer


def test_a_philox_key_fills_the_counter_as_documented(ops):
    seed, stream, layer, step = KEY
    words = [int(w) for block in (0, 1) for w in reference.philox_rounds(
        (block, stream << 16 | layer, step % 2**32, step // 2**32), (seed % 2**32, seed // 2**32))]
    assert call(ops, "philox", 8, KEY).tolist() == words


def test_philox_is_a_pure_function_of_its_key(ops):
    first = call(ops, "philox", 10, KEY)
    call(ops, "philox", 10, (1, 1, 1, 1))
    assert same(call(ops, "philox", 10, KEY), first)


@pytest.mark.parametrize("other", [(*KEY[:i], KEY[i] + d, *KEY[i + 1:])
                                   for i in range(4) for d in (1, 2**32)[:1 if i in (1, 2) else 2]])
def test_every_part_of_a_key_matters_in_both_its_halves(ops, other):
    assert (call(ops, "philox", 64, KEY) != call(ops, "philox", 64, other)).all()


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 4 * reference.CHUNK - 1, 4 * reference.CHUNK + 1])
def test_the_first_n_of_a_longer_sequence_are_the_same(ops, n):
    longer = call(ops, "philox", 4 * reference.CHUNK + 9, KEY)
    assert same(call(ops, "philox", n, KEY), longer[:n])


def test_the_second_chunk_of_philox_continues_the_counter(ops):
    seed, stream, layer, step = KEY
    words = reference.philox_rounds((reference.CHUNK, stream << 16 | layer, step % 2**32,
                                     step // 2**32), (seed % 2**32, seed // 2**32))
    got = call(ops, "philox", 4 * reference.CHUNK + 4, KEY)[-4:]
    assert got.tolist() == [int(w) for w in words]


def test_uniform_is_identical_in_float32_and_float64(ops):
    single, double = (call(ops, "uniform", (999,), KEY, d) for d in DTYPES)
    assert single.dtype == "float32" and (single == double).all()


def test_uniform_is_k_and_a_half_of_two_to_the_23(ops):
    k = call(ops, "philox", 999, KEY) // 512
    assert same(call(ops, "uniform", (999,), KEY, "float64"), (k + 0.5) / 2**23)


@pytest.mark.parametrize("dtype", DTYPES)
def test_uniform_excludes_both_ends(monkeypatch, dtype):
    monkeypatch.setattr(reference, "philox", lambda n, key: np.array([0, 2**32 - 1], np.uint32))
    u = reference.uniform((2,), KEY, dtype)
    assert 0 < u[0] < u[1] < 1


def test_normal_is_box_and_mullers_transform_of_uniform(ops):
    u = call(ops, "uniform", (500, 2), KEY, "float64")
    want = [v for a, b in u for v in (math.sqrt(-2 * math.log(a)) * math.cos(2 * math.pi * b),
                                      math.sqrt(-2 * math.log(a)) * math.sin(2 * math.pi * b))]
    assert_close(call(ops, "normal", (999,), KEY, "float64"), want[:999], terms=4)
    assert_close(call(ops, "normal", (999,), KEY, "float32"), want[:999], terms=4)


def test_normal_has_the_moments_of_the_standard_normal(ops):
    n = 200_000
    z = call(ops, "normal", (n,), KEY, "float64")
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - moment) < 5 * math.sqrt(variance / n)    # 5 standard errors
    assert abs((z[:-1] * z[1:]).mean()) < 5 / math.sqrt(n)                      # neighbours


@pytest.mark.parametrize("n", [0, 1, 2, 257])
def test_a_permutation_has_every_number_once(ops, n):
    order = call(ops, "permutation", n, KEY)
    assert order.dtype == np.int64 and sorted(order) == list(range(n))


def test_a_permutation_sorts_the_random_integers_of_its_key(ops):
    integers = call(ops, "philox", 257, KEY)
    order = call(ops, "permutation", 257, KEY)
    assert order.tolist() == sorted(range(257), key=lambda n: (int(integers[n]), n))


# Every operation ----------------------------------------------------------------------------------

def arguments(dtype, N=3):
    """One call of every operation on float arrays: {name: arguments}."""
    h, delta, W, b = (numbers(dtype, *s) for s in ((N, 5), (N, 2), (5, 2), (2,)))
    hs, deltas, Ws, bs = (numbers(dtype, 4, *a.shape) for a in (h, delta, W, b))
    sign, positive = np.array([1, -1], dtype), np.abs(W) + 1
    images = image_arguments(dtype, N)
    return {**images, "dense": (h, W, b, "tanh"), "times_slope": (delta, np.tanh(delta), "tanh"),
            "pull_back": (delta, W), "dense_grad": (h, delta),
            "difference": (h, numbers(dtype, N, 5, seed=1), numbers(dtype, N, 5, seed=2)),
            "join": (h, delta), "with_signs": (W, numbers(dtype, 5, 2, seed=1)),
            "signed_dense": (hs, Ws, bs, sign), "signed_slope": (deltas, sign),
            "signed_pull_back": (deltas, Ws), "signed_grad": (hs, deltas),
            "influence": (deltas, Ws), "signed_times_slope": (deltas, deltas, sign),
            "class_sums": (deltas,), "by_class": (delta,), "network_sum": (hs,),
            "keep_signs": (Ws, sign), "softmax": (delta,),
            "softmax_xent": (delta, np.arange(N) % 2),
            "squared_error": (delta, numbers(dtype, N, 2, seed=1)),
            "uniform": ((N, 2), KEY, dtype), "normal": ((N, 2), KEY, dtype),
            "noisy": (h, 0.2, KEY),
            "sgd": (W, W + 1, 0.1), "momentum": (W, W + 1, positive, 0.1, 0.9),
            "manhattan": (W, W + 1, 0.1), "rmsprop": (W, W + 1, positive, 0.1, 0.9, 1e-8),
            "rmsprop_centred": (W, W + 1, 0 * W, positive, 0 * W, 0.1, 0.9, 0.9, 1e-3),
            "adam": (W, W + 1, 0 * W, positive, 3, 0.1, 0.9, 0.99, 1e-8), "leak": (W, 0.1),
            "asarray": (W,), "to_numpy": (W,)}


STENCIL = 4, 5, 2, 3, 2, 0, 0, 2, 2         # 4 x 5 x 2, kernel 3, stride 2, zeros below


def image_arguments(dtype, N):
    """One call of every operation on images: 40 units below, 4 places with 2 channels above."""
    image, places = numbers(dtype, N, 40), numbers(dtype, N, 8)
    W, b, c = (numbers(dtype, *s) for s in ((4, 18, 2), (4, 2), (20, 2)))
    V = np.ascontiguousarray(W.swapaxes(1, 2))
    return {"local_dense": (image, W, b, "tanh", STENCIL),
            "local_pull_back": (places, W, STENCIL), "local_grad": (image, places, STENCIL),
            "local_transposed": (places, V, c, "tanh", STENCIL),
            "local_transposed_pull_back": (image, V, STENCIL),
            "local_transposed_grad": (places, image, STENCIL),
            "conv_dense": (image, W[0], b[0], "tanh", STENCIL),
            "conv_pull_back": (places, W[0], STENCIL), "conv_grad": (image, places, STENCIL),
            "conv_transposed": (places, V[0], c[0], "tanh", STENCIL),
            "conv_transposed_pull_back": (image, V[0], STENCIL),
            "conv_transposed_grad": (places, image, STENCIL)}


HELPERS = {"patches", "extent", "gather", "scatter", "nonlinear", "flat"}      # of the reference
INTEGERS = {"philox", "philox_rounds", "permutation"}
CHANGES = {"sgd", "momentum", "manhattan", "rmsprop", "rmsprop_centred", "adam", "leak",
           "keep_signs"}
OPERATIONS = sorted(arguments("float64"))


def outputs(ops, operation, args):
    """What an operation returns, or the arrays that it changes."""
    there = [ops.asarray(a.copy()) if isinstance(a, np.ndarray) else a for a in args]
    out = getattr(ops, operation)(*there)
    if operation in CHANGES:
        assert out is None
        out = tuple(a for a, given in zip(there, args) if isinstance(given, np.ndarray))
    return [ops.to_numpy(o) for o in (out if isinstance(out, tuple) else (out,))]


def test_every_operation_of_the_reference_is_called_here():
    public = {n for n, o in vars(reference).items()
              if inspect.isfunction(o) and o.__module__ == reference.__name__}
    assert public == set(OPERATIONS) | INTEGERS | HELPERS | {"take"}      # asked by test_recorder


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_dtype_that_goes_in_comes_out(ops, dtype, operation):
    out = outputs(ops, operation, arguments(dtype)[operation])
    assert {o.dtype.name for o in out} == {dtype}


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - CHANGES - {"uniform", "normal"}))
def test_an_operation_changes_none_of_its_arguments(ops, operation):
    there = [ops.asarray(a) if isinstance(a, np.ndarray) else a
             for a in arguments("float64")[operation]]
    before = [np.array(ops.to_numpy(a)) for a in there if hasattr(a, "shape")]
    getattr(ops, operation)(*there)
    after = [ops.to_numpy(a) for a in there if hasattr(a, "shape")]
    assert all(same(a, b) for a, b in zip(after, before))


GATES = {("signed_slope", 0): "a gate is open or shut; h is NaN only if the loss is",
         ("signed_times_slope", 1): "likewise",
         ("asarray", 0): "not arithmetic", ("to_numpy", 0): "not arithmetic"}
FLOATS = [(name, i) for name, args in arguments("float64").items() for i, a in enumerate(args)
          if isinstance(a, np.ndarray) and a.dtype.kind == "f" and (name, i) not in GATES]


@pytest.mark.parametrize("operation, i", FLOATS)
def test_nan_in_is_nan_out(ops, operation, i):
    args = list(arguments("float64")[operation])
    args[i] = args[i].copy()
    args[i].flat[0] = np.nan
    assert np.isnan(outputs(ops, operation, args)[0]).any()


@pytest.mark.parametrize("f", ["linear", "tanh", "relu", "softmax"])
def test_a_nan_pre_activation_or_error_is_seen_through_every_nonlinearity(ops, f):
    h, W, b = numbers("float64", 3, 2), numbers("float64", 2, 4), numbers("float64", 4)
    h[0, 0] = np.nan
    assert np.isnan(call(ops, "dense", h, W, b, f)[0]).all()
    e = numbers("float64", 3, 4)
    e[0, 0] = np.nan
    assert np.isnan(call(ops, "times_slope", e, np.zeros((3, 4)), f)[0, 0])


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - CHANGES - {
    "dense_grad", "signed_grad", "with_signs", "local_grad", "local_transposed_grad", "conv_grad",
    "conv_transposed_grad"}))                               # means over no examples; no rows
def test_no_examples_give_an_empty_answer(ops, operation):
    args = arguments("float32", N=0)[operation]
    if operation in ("asarray", "to_numpy"):
        args = (np.zeros((0, 2), "float32"),)
    out = outputs(ops, operation, args)
    assert all(o.size == 0 for o in out)


# Backends -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_loads_or_says_why(backend):
    try:
        loaded = load(backend)
    except BackendError as refused:
        assert f"backend {backend!r} cannot be loaded: " in str(refused)
    else:
        module, _, attribute = BACKENDS[backend].partition(":")
        there = sys.modules[module]
        assert loaded is (getattr(there, attribute) if attribute else there)


def test_an_unknown_backend_is_refused_by_naming_the_known_ones():
    with pytest.raises(BackendError, match="wanted one of numpy, .*; got 'torch'"):
        load("torch")


def test_every_backend_has_the_same_operations_with_the_same_signatures(ops):
    for operation in OPERATIONS + ["philox", "permutation"]:
        want = list(inspect.signature(getattr(reference, operation)).parameters)
        got = getattr(ops, operation)
        assert list(inspect.signature(getattr(got, "py_func", got)).parameters) == want, operation
