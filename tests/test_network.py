"""Networks, layers and initial weights: the definitions that the rules stand on."""
import numpy as np
import pytest
from conftest import assert_close, same

from minicredit import UserError, create, forward
from minicredit.initial import INITIAL, glorot, orthogonal
from minicredit.kernels import reference
from minicredit.keys import FEEDBACK, WEIGHTS
from minicredit.layers import Dense
from minicredit.network import descend
from minicredit.optimizers import make

SIZES = 3, 7, 5, 4


def inputs(net, N=6):
    return np.random.default_rng(0).standard_normal((N, net.sizes[0])).astype(net.dtype)


@pytest.mark.parametrize("f, function", [("tanh", np.tanh), ("linear", np.positive),
                                         ("relu", lambda a: np.maximum(a, 0))])
def test_forward_is_f_of_h_W_plus_b_in_the_hidden_layers_and_linear_at_the_top(f, function):
    net = create(SIZES, f=f, dtype="float64")
    for i in range(1, 4):
        net.b[i][...] = i / 10
    h = forward(net, inputs(net))
    assert same(h[0], inputs(net))
    for i in (1, 2):
        assert_close(h[i], function(h[i - 1] @ net.W[i] + net.b[i]), terms=8, scale=4)
    assert_close(h[3], h[2] @ net.W[3] + net.b[3], terms=8, scale=4)


def test_layers_are_numbered_as_in_the_papers():
    net = create(SIZES)
    assert net.L == 3 and net.sizes == SIZES
    for i in range(1, 4):
        assert net.W[i].shape == (SIZES[i - 1], SIZES[i]) and net.b[i].shape == (SIZES[i],)
        assert net.W[i] is net.layers[i].W is net.parameters()[f"W[{i}]"]
        assert net.b[i] is net.layers[i].b is net.parameters()[f"b[{i}]"]
    assert list(net.parameters()) == ["W[1]", "b[1]", "W[2]", "b[2]", "W[3]", "b[3]"]


def test_descend_gives_each_layer_its_own_input_and_its_own_delta():
    net = create(SIZES, dtype="float64")
    h = forward(net, inputs(net))
    delta = [None] + [np.full((6, n), i + 1.0) for i, n in enumerate(SIZES[1:])]
    before = {name: w.copy() for name, w in net.parameters().items()}
    descend(net, h, delta, make("sgd", 0.5, reference))
    for i in range(1, 4):
        dW, db = h[i - 1].T @ delta[i] / 6, delta[i].mean(axis=0)
        assert_close(net.W[i], before[f"W[{i}]"] - 0.5 * dW, terms=6, scale=8)
        assert_close(net.b[i], before[f"b[{i}]"] - 0.5 * db, terms=6, scale=8)


def test_a_layer_pulls_back_through_other_weights_where_a_rule_asks():
    layer = create(SIZES, dtype="float64").layers[2]
    delta, B = np.ones((2, 5)), np.random.default_rng(0).standard_normal((7, 5))
    assert_close(layer.pull_back(delta), delta @ layer.W.T, terms=5)
    assert_close(layer.pull_back(delta, B), delta @ B.T, terms=5)
    assert not np.allclose(layer.pull_back(delta), layer.pull_back(delta, B))


@pytest.mark.parametrize("init", INITIAL)
def test_a_mirror_has_the_reversed_shape_and_weights_of_its_own(init):
    layer = Dense(7, 5, "tanh", reference, "float32", (0, WEIGHTS, 2, 0), init)
    mirror = layer.mirror("relu", (0, FEEDBACK, 2, 0))
    assert mirror.W.shape == (5, 7) and mirror.b.shape == (7,) and mirror.f == "relu"
    assert mirror.init == init and mirror.dtype == "float32"
    assert not set(mirror.W.ravel().tolist()) & set(layer.W.ravel().tolist())


def test_glorot_is_uniform_within_the_root_of_six_over_fan_in_plus_fan_out():
    W = glorot(300, 200, (0, WEIGHTS, 1, 0))
    r = np.sqrt(6 / 500)
    assert 0.999 * r < np.abs(W).max() < r
    assert abs((W**2).mean() / (r * r / 3) - 1) < 5 * np.sqrt(0.8 / W.size)     # 5 standard errors
    assert abs(W.mean()) < 5 * r / np.sqrt(3 * W.size)


@pytest.mark.parametrize("n_in, n_out", [(6, 6), (9, 4), (4, 9), (1, 5)])
def test_orthogonal_weights_have_orthonormal_rows_or_columns_whichever_are_fewer(n_in, n_out):
    W = orthogonal(n_in, n_out, (0, WEIGHTS, 1, 0))
    product = W @ W.T if n_in < n_out else W.T @ W
    assert_close(product, np.eye(min(n_in, n_out)), terms=16)


@pytest.mark.parametrize("init", INITIAL)
def test_float32_and_float64_networks_start_alike(init):
    single, double = (create(SIZES, dtype=d, init=init) for d in ("float32", "float64"))
    for i in range(1, 4):
        assert same(single.W[i], double.W[i].astype("float32"))


def test_no_two_layers_and_no_two_seeds_start_with_the_same_numbers():
    nets = [create((4, 4, 4), seed=s) for s in (0, 1)]
    starts = [net.W[i] for net in nets for i in (1, 2)]
    for a in range(4):
        for b in range(a):
            assert not (starts[a] == starts[b]).any()


def test_the_same_seed_gives_the_same_network_bit_for_bit():
    a, b = create(SIZES, seed=5), create(SIZES, seed=5)
    assert all(same(a.W[i], b.W[i]) for i in range(1, 4))


@pytest.mark.parametrize("loss, y", [("cross-entropy", np.arange(6) % 4),
                                     ("squared", np.ones((6, 4)))])
def test_the_loss_of_a_network_is_the_one_asked_for(loss, y):
    net = create(SIZES, loss=loss, dtype="float64")
    h_L = forward(net, inputs(net))[3]
    if loss == "squared":
        want, delta = ((h_L - 1) ** 2).sum(axis=1) / 2, h_L - 1
    else:
        p = np.exp(h_L) / np.exp(h_L).sum(axis=1, keepdims=True)
        want, delta = -np.log(p[np.arange(6), y]), p - np.eye(4)[y]
    got = net.loss(h_L, y)
    assert_close(got[0], want, terms=4, scale=4)
    assert_close(got[1], delta, terms=4, scale=4)


@pytest.mark.parametrize("options, sentence", [
    ({"sizes": (3,)}, r"sizes: wanted two or more positive integers; got \(3,\)"),
    ({"sizes": (3, 0, 2)}, r"sizes: .* got \(3, 0, 2\)"),
    ({"sizes": (3, 2.5)}, r"sizes: .* got \(3, 2.5\)"),
    ({"f": "sigmoid"}, "f: wanted one of tanh, relu, linear; got 'sigmoid'"),
    ({"init": "he"}, "init: wanted one of glorot, orthogonal; got 'he'"),
    ({"dtype": "float16"}, "dtype: wanted one of float32, float64; got 'float16'"),
    ({"dtype": "int64"}, "dtype: wanted one of float32, float64; got 'int64'"),
    ({"loss": "hinge"}, "loss: wanted one of cross-entropy, squared; got 'hinge'")])
def test_a_network_that_cannot_be_is_refused_with_a_sentence(options, sentence):
    with pytest.raises(UserError, match=sentence):
        create(**{"sizes": SIZES, **options})
