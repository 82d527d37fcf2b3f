"""Every loss that a rule claims to descend, against central differences in float64.

Networks are drawn by hypothesis: depth, sizes, nonlinearity, batch and seed.  A difference of
second order with step 1e-5 is off by some 1e-10 of the third derivative, and rounding adds some
1e-16 / 1e-5; so 1e-6 of the largest entry is asked, or of 1e-3 where all entries are smaller.
Rectifiers are drawn again if an input comes within 1e-3 of the kink, where there is no derivative.
"""
import numpy as np
import pytest
from conftest import batch, build
from hypothesis import assume, given
from hypothesis import strategies as st

from minicredit import ask, forward
from minicredit.kernels import reference
from minicredit.keys import NOISE

STEP, KINK, RELATIVE, FLOOR = 1e-5, 1e-3, 1e-6, 1e-3

size = st.integers(1, 5)
sizes = st.tuples(size, size, size, st.integers(2, 4)) | st.tuples(size, size, st.integers(2, 4)) \
    | st.tuples(size, size, size, size, st.integers(2, 4))
activation = st.sampled_from(["tanh", "relu", "linear"])
seeds = st.integers(0, 10**6)
examples = st.integers(1, 5)


def differences(loss, array):
    """dloss/darray by central differences; `loss` reads the array where it stands."""
    slope = np.empty_like(array)
    for place in np.ndindex(*array.shape):
        kept = array[place]
        array[place] = kept + STEP
        above = loss()
        array[place] = kept - STEP
        below = loss()
        array[place] = kept
        slope[place] = (above - below) / (2 * STEP)
    return slope


def agree(got, want, what):
    """Within RELATIVE of the largest entry; NaN fails."""
    worst = np.abs(got - want).max(initial=0)
    assert worst <= RELATIVE * max(np.abs(want).max(initial=0), FLOOR), f"{what}: off by {worst}"


def away_from_kinks(layer, h):
    """Draw again where a rectifier is about to switch."""
    if layer.f == "relu":
        assume((np.abs(h @ layer.W + layer.b) > KINK).all())


def rule_and_batch(name, sizes, f, seed, N, **options):
    """A rule on a network drawn by hypothesis, with a batch, its activities, and no kinks."""
    rule = build(name, sizes=sizes, f=f, net_seed=seed, seed=seed, **options)
    x, y = batch(rule.net, N, seed)
    h = forward(rule.net, x)
    for i in range(1, rule.net.L):
        away_from_kinks(rule.net.layers[i], h[i - 1])
    return rule, x, y, h


def half_square(e):
    """1/2 |e|^2, mean over the batch."""
    return (e * e).sum() / 2 / len(e)


# Backprop -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("loss", ["cross-entropy", "squared"])
@given(sizes=sizes, f=activation, seed=seeds, N=examples)
def test_backprop_descends_the_mean_loss(loss, sizes, f, seed, N):
    bp, x, y, _ = rule_and_batch("bp", sizes, f, seed, N, loss=loss)

    def mean_loss():
        return bp.net.loss(forward(bp.net, x)[bp.net.L], y)[0].mean()

    gradient = ask(bp, x, y).gradient
    assert set(gradient) == set(bp.net.parameters())
    for key, array in bp.net.parameters().items():
        agree(gradient[key], differences(mean_loss, array), key)


RULES_WITH_A_DELTA_RULE = ["fa", "dfa", "usf", "frsf", "brsf", "weight-mirror", "kolen-pollack",
                           "tp", "dtp", "sdtp", "ao-sdtp"]


@pytest.mark.parametrize("name", RULES_WITH_A_DELTA_RULE)
@given(sizes=sizes, f=activation, seed=seeds, N=examples)
def test_the_top_layer_descends_the_mean_loss_in_every_rule(name, sizes, f, seed, N):
    rule, x, y, h = rule_and_batch(name, sizes, f, seed, N)
    L, gradient = rule.net.L, ask(rule, x, y).gradient

    def mean_loss():
        return rule.net.loss(rule.net.layers[L].forward(h[L - 1]), y)[0].mean()

    for key, array in rule.net.layers[L].parameters.items():
        agree(gradient[f"{key}[{L}]"], differences(mean_loss, array), key)


# Targets: 1/2 |f_i(h[i-1]) - h_hat[i]|^2, input and target held -----------------------------------

TARGET_RULES = [("dtp", {}), ("dtp", {"first_target": "output"}), ("dtp", {"bridge": 0.4}),
                ("tp", {}), ("tp", {"first_target": "gradient"}), ("sdtp", {}),
                ("sdtp", {"label_step": 0.3}), ("ao-sdtp", {"n_aux": 3})]


@pytest.mark.parametrize("name, options", TARGET_RULES)
@given(sizes=sizes, f=activation, seed=seeds, N=examples)
def test_every_layer_with_a_target_descends_its_distance_from_it(name, options, sizes, f, seed, N):
    rule, x, y, h = rule_and_batch(name, sizes, f, seed, N, **options)
    answer, layers = ask(rule, x, y), rule.net.layers
    last = rule.net.L if options.get("first_target") == "output" else rule.net.L - 1
    for i in range(1, last + 1):
        def distance():
            return half_square(layers[i].forward(h[i - 1]) - answer.h_hat[i])

        for key, array in layers[i].parameters.items():
            key = f"{key}[{i}]"
            agree(answer.gradient[key], differences(distance, array), key)


@pytest.mark.parametrize("loss", ["cross-entropy", "squared"])
@given(sizes=sizes, f=activation, seed=seeds, N=examples)
def test_the_first_target_of_dtp_is_a_step_down_each_examples_loss(loss, sizes, f, seed, N):
    dtp, x, y, h = rule_and_batch("dtp", sizes, f, seed, N, loss=loss, target_step=0.3)
    L = dtp.net.L

    def summed_loss():
        return dtp.net.loss(dtp.net.layers[L].forward(h[L - 1]), y)[0].sum()

    moved = (h[L - 1] - ask(dtp, x, y).h_hat[L - 1]) / 0.3
    agree(moved, differences(summed_loss, h[L - 1]), "h_hat[L-1]")


# Inverses: 1/2 |g_i(f_i(h')) - goal|^2, h' = h[i-1] + noise ---------------------------------------

def softmax(a):
    p = np.exp(a)
    return p / p.sum(axis=1, keepdims=True)


def heard(rule, name, i, start):
    """What the inverse of layer i hears when layer i is given h'."""
    above = rule.net.layers[i].forward(start)
    if i < rule.net.L or name == "dtp":
        return above
    if name == "ao-sdtp":
        return np.hstack([softmax(above), rule.Z.forward(start)])
    return softmax(above)


@pytest.mark.parametrize("goal", ["noisy", "clean"])
@pytest.mark.parametrize("name, options", [("dtp", {}), ("dtp", {"first_target": "output"}),
                                           ("tp", {}), ("tp", {"first_target": "gradient"}),
                                           ("sdtp", {}), ("ao-sdtp", {"n_aux": 3})])
@given(sizes=sizes, f=activation, seed=seeds, N=examples)
def test_every_inverse_descends_what_it_cannot_give_back(name, options, goal, sizes, f, seed, N):
    rule, x, y, h = rule_and_batch(name, sizes, f, seed, N, goal=goal, sigma=0.3, **options)
    rule.t = 5
    gradient = rule.feedback_gradient(h)
    inverses = [i for i in range(len(rule.G)) if rule.G[i] is not None]
    assert set(gradient) == {f"{k}[{i}]" for k in "Vc" for i in inverses}
    for i in inverses:
        noise = reference.normal(h[i - 1].shape, (seed, NOISE, i, 5), "float64")
        start = h[i - 1] + 0.3 * noise
        above, wanted = heard(rule, name, i, start), start if goal == "noisy" else h[i - 1]
        away_from_kinks(rule.G[i], above)

        def mistake():
            return half_square(rule.G[i].forward(above) - wanted)

        agree(gradient[f"V[{i}]"], differences(mistake, rule.G[i].W), f"V[{i}]")
        agree(gradient[f"c[{i}]"], differences(mistake, rule.G[i].b), f"c[{i}]")


# Slopes -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("f", ["linear", "tanh", "relu", "softmax"])
@given(seed=seeds, N=examples, n=size)
def test_the_slope_of_every_nonlinearity_is_its_derivative(f, seed, N, n):
    rng = np.random.default_rng(seed)
    a, e, none = rng.standard_normal((N, n)), rng.standard_normal((N, n)), np.zeros(n)
    assume(f != "relu" or (np.abs(a) > KINK).all())

    def weighted():
        return (e * reference.dense(a, np.eye(n), none, f)).sum()

    h = reference.dense(a, np.eye(n), none, f)
    agree(reference.times_slope(e, h, f), differences(weighted, a), f)


@pytest.mark.parametrize("loss", ["softmax_xent", "squared_error"])
@given(seed=seeds, N=examples, n=size)
def test_the_delta_of_every_loss_is_its_derivative(loss, seed, N, n):
    rng, operation = np.random.default_rng(seed), getattr(reference, loss)
    a = rng.standard_normal((N, n))
    y = rng.integers(0, n, N) if loss == "softmax_xent" else rng.standard_normal((N, n))
    agree(operation(a, y)[1], differences(lambda: operation(a, y)[0].sum(), a), loss)
