"""Every optimiser against the published formula, written out for one number, over several steps."""
import math

import numpy as np
import pytest
from conftest import assert_close, same

from minicredit.errors import UserError
from minicredit.kernels import reference
from minicredit.optimizers import OPTIMIZERS, descend_all, make

ETA, STEPS = 0.05, 7


# The formulas, in Python numbers ------------------------------------------------------------------

def sgd(w, gradients):
    for g in gradients:
        w = w - ETA * g
    return w


def manhattan(w, gradients):
    for g in gradients:
        w = w - ETA * ((g > 0) - (g < 0))
    return w


def momentum(w, gradients, mu=0.9):
    u = 0.0
    for g in gradients:
        u = mu * u - ETA * g
        w = w + u
    return w


def rmsprop(w, gradients, rho=0.9, eps=1e-8):
    v = 0.0
    for g in gradients:
        v = rho * v + (1 - rho) * g**2
        w = w - ETA * g / (math.sqrt(v) + eps)
    return w


def rmsprop_centred(w, gradients, rho=0.95, mu=0.9, eps=1e-3):
    m = v = u = 0.0
    for g in gradients:
        m = rho * m + (1 - rho) * g
        v = rho * v + (1 - rho) * g**2
        u = mu * u - ETA * g / math.sqrt(v - m**2 + eps)
        w = w + u
    return w


def adam(w, gradients, beta1=0.9, beta2=0.999, eps=1e-8):
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        w = w - ETA * (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + eps)
    return w


FORMULAS = [("sgd", sgd, {}), ("manhattan", manhattan, {}), ("momentum", momentum, {}),
            ("momentum:mu=0.5", momentum, {"mu": 0.5}), ("rmsprop", rmsprop, {}),
            ("rmsprop:rho=0.6,eps=0.1", rmsprop, {"rho": 0.6, "eps": 0.1}),
            ("rmsprop-centred", rmsprop_centred, {}),
            ("rmsprop-centred:rho=0.7,mu=0.3,eps=0.1", rmsprop_centred,
             {"rho": 0.7, "mu": 0.3, "eps": 0.1}),
            ("adam", adam, {}),
            ("adam:beta1=0.5,beta2=0.8,eps=0.1", adam, {"beta1": 0.5, "beta2": 0.8, "eps": 0.1})]


def trajectory(dtype, shape=(3, 2)):
    """A start, and STEPS gradients."""
    rng = np.random.default_rng(3)
    return (rng.standard_normal(shape).astype(dtype),
            rng.standard_normal((STEPS, *shape)).astype(dtype))


@pytest.mark.parametrize("text, formula, settings", FORMULAS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_optimiser_is_its_published_formula(dtype, text, formula, settings):
    start, gradients = trajectory(dtype)
    want = [[formula(float(start[i, j]), gradients[:, i, j].tolist(), **settings)
             for j in range(2)] for i in range(3)]
    w, optimizer = start.copy(), make(text, ETA, reference)
    for g in gradients:
        optimizer.descend("w", w, g)
    assert w.dtype == dtype
    assert_close(w, want, terms=4 * STEPS)


def test_every_optimiser_has_its_formula_here():
    assert {text.partition(":")[0] for text, _, _ in FORMULAS} == set(OPTIMIZERS)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_two_arrays_of_one_optimiser_move_as_if_each_had_its_own(kind):
    start, gradients = trajectory("float64")
    together, apart = make(kind, ETA, reference), make(kind, ETA, reference)
    a, b, alone = start.copy(), start.copy(), start.copy()
    for t, g in enumerate(gradients):
        together.descend("a", a, g)
        if t % 2:                                   # feedback and forward learn at other times
            together.descend("b", b, -2 * g)
    for g in gradients[1::2]:
        apart.descend("b", alone, -2 * g)
    assert same(b, alone)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimiser_leaves_the_gradient_alone(kind):
    w, gradients = trajectory("float64")
    before, optimizer = gradients.copy(), make(kind, ETA, reference)
    for g in gradients:
        optimizer.descend("w", w, g)
    assert same(gradients, before)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_scale_multiplies_the_learning_rate(kind):
    start, gradients = trajectory("float64")
    scaled, plain = make(kind, ETA, reference), make(kind, ETA / 4, reference)
    a, b = start.copy(), start.copy()
    scaled.scale = 0.25
    for g in gradients:
        scaled.descend("w", a, g)
        plain.descend("w", b, g)
    assert same(a, b)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimiser_does_not_hide_nan(kind):
    w, optimizer = np.zeros(2), make(kind, ETA, reference)
    optimizer.descend("w", w, np.array([np.nan, 1.0]))
    assert np.isnan(w[0]) and np.isfinite(w[1])


def test_descend_all_moves_exactly_the_arrays_that_the_gradient_names():
    arrays = {"a": np.ones(2), "b": np.ones(2)}
    descend_all(make("sgd", 0.5, reference), arrays, {"b": np.ones(2)})
    assert same(arrays["a"], np.ones(2)) and same(arrays["b"], np.full(2, 0.5))


def test_leak_takes_a_share_away():
    w = np.array([2.0, -4.0])
    reference.leak(w, 0.25)
    assert same(w, np.array([1.5, -3.0]))


@pytest.mark.parametrize("text, sentence", [
    ("adagrad", "optimizer: wanted one of sgd, .*; got 'adagrad'"),
    ("adam:beta3=1", "optimizer adam: wanted beta1, beta2, eps; got 'beta3'"),
    ("sgd:mu=0.9", "optimizer sgd: wanted no settings; got 'mu'"),
    ("adam:eps=small", "optimizer adam: eps wants a number; got 'small'"),
    ("adam:eps", "optimizer adam: eps wants a number; got ''")])
def test_a_bad_optimiser_is_refused_with_a_sentence(text, sentence):
    with pytest.raises(UserError, match=sentence):
        make(text, ETA, reference)
