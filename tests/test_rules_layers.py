"""Every rule on every kind of layer: what it promises of dense networks holds of these as well.

Small networks in float64: images through locally connected layers or convolutions, residual layers
whose sizes agree or differ, and one of everything.
"""
import numpy as np
import pytest
from conftest import arrays, assert_close, copies, same
from test_layers import agree, differences
from test_rules_calculus import half_square, heard
from test_rules_contract import everything

from minicredit import Network, UserError, ask, create, forward
from minicredit.kernels import reference
from minicredit.keys import MIRROR, NOISE, WEIGHTS
from minicredit.layers import Convolution, Dense, LocallyConnected, Residual
from minicredit.measure import angle, weight_alignment
from minicredit.rules import DTP, RULES

NAMES = sorted(set(RULES) - {"kickback"})       # which makes a coherent network of its own
TARGETS = "ao-sdtp", "dtp", "sdtp", "tp"
IMAGE = 5, 4, 2
STACKS = {
    "local": [(LocallyConnected, 3, 2, 2), (LocallyConnected, 2, 3, 1), (Dense, 7)],
    "convolutional": [(Convolution, 3, 2, 2), (Convolution, 2, 3, 1), (Dense, 7)],
    "residual": [(Dense, 6), (Residual, 6), (Residual, 6), (Dense, 5)],
    "projecting": [(Residual, 7), (Residual, 5), (Residual, 6), (Residual, 6)],
    "mixed": [(LocallyConnected, 3, 2, 2), (Convolution, 2, 2, 1), (Residual, 12), (Residual, 6),
              (Dense, 5)],
}
SKIPS = "residual", "projecting", "mixed"       # those with a residual layer
every_stack = pytest.mark.parametrize("stack", STACKS)
every_rule = pytest.mark.parametrize("name", NAMES)
targets = pytest.mark.parametrize("name", TARGETS)
activations = pytest.mark.parametrize("f", ["tanh", "relu", "linear"])


def network(stack, f="tanh", loss="cross-entropy", dtype="float64", seed=0):
    """The stack, and four linear units on top."""
    shape, layers = IMAGE, []
    for i, (kind, *how) in enumerate([*STACKS[stack], (Dense, 4)], 1):
        common = f if i <= len(STACKS[stack]) else "linear", reference, dtype, (seed, WEIGHTS, i, 0)
        where = (int(np.prod(shape)),) if kind in (Dense, Residual) else (shape,)
        layers.append(kind(*where, *how, *common))
        shape = getattr(layers[-1], "shape_out", layers[-1].n_out)
    return Network(layers, reference, loss)


def build(name, stack, f="tanh", loss="cross-entropy", dtype="float64", net_seed=0, seed=1,
          **options):
    """A rule on a network of its own, with biases that are not 0, as they are at the start."""
    rule = RULES[name](network(stack, f, loss, dtype, net_seed), seed=seed, **options)
    for key, b in arrays(rule).items():
        if key[0] in "bc":
            rng = np.random.default_rng((ord(key[0]), *b.shape))
            b[...] = 0.2 * rng.standard_normal(b.shape)
    return rule


def built(name, stack, **options):
    """The same; a rule that refuses residual layers is left out where there are some."""
    if name == "weight-mirror" and stack in SKIPS:
        pytest.skip("weight-mirror refuses residual layers, which a test below asks")
    return build(name, stack, **options)


def batch(net, N=7, seed=0):
    """N inputs, and labels in which every class appears, or targets for a squared loss."""
    rng = np.random.default_rng((N, seed))
    x = rng.standard_normal((N, net.sizes[0])).astype(net.dtype)
    if net.loss is net.ops.squared_error:
        return x, rng.standard_normal((N, net.sizes[-1])).astype(net.dtype)
    return x, rng.permutation(np.arange(N) % net.sizes[-1])


def gradients_equal(a, b, x, y):
    """Every forward gradient of two rules, bit for bit."""
    got, want = ask(a, x, y), ask(b, x, y)
    return all(same(got.gradient[key], want.gradient[key]) for key in b.net.parameters())


def hidden(net):
    return range(1, net.L)


# The contract -------------------------------------------------------------------------------------

@every_stack
@every_rule
def test_one_epoch_of_passes_moves_every_array_that_the_gradient_names_and_no_other(name, stack):
    rule = built(name, stack)
    x, y = batch(rule.net)
    named, before = set(ask(rule, x, y).gradient), copies(rule)
    for one_pass in rule.passes:
        one_pass(x, y)
    moved = {key for key, array in arrays(rule).items() if not same(array, before[key])}
    fresh = {f"M[{i}]" for i in range(2, rule.net.L + 1)} if name == "brsf" else set()
    assert moved == named | fresh
    assert all(np.isfinite(array).all() for array in arrays(rule).values())


@every_stack
@every_rule
def test_every_learning_array_has_a_gradient_of_its_shape(name, stack):
    rule = built(name, stack)
    learning = {key for key in arrays(rule) if key[0] in "WbVc"} - {"Wz", "bz"}
    if name in ("kolen-pollack", "weight-mirror"):
        learning |= {key for key in rule.arrays if key[0] == "B"}
    answer = ask(rule, *batch(rule.net))
    assert set(answer.gradient) == learning
    assert all(g.shape == arrays(rule)[key].shape for key, g in answer.gradient.items())
    assert all(answer.h_hat is None or answer.h_hat[i].shape == answer.h[i].shape
               for i in hidden(rule.net))


@every_stack
@every_rule
def test_asking_changes_nothing(name, stack):
    rule = built(name, stack)
    x, y = batch(rule.net)
    rule.step(x, y)                             # so that optimisers have state, and t is not 0
    h = forward(rule.net, x)
    given, before = [array.copy() for array in (y, *h)], everything(rule)
    ask(rule, x, y)
    rule.feedback(h, y)
    assert everything(rule) == before
    assert all(same(a, b) for a, b in zip((y, *h), given))


@every_stack
@every_rule
def test_a_layers_gradient_is_that_of_its_own_input_and_delta(name, stack):
    rule = built(name, stack)
    answer = ask(rule, *batch(rule.net))
    for i in range(1, rule.net.L + 1):
        own = rule.net.layers[i].gradient(answer.h[i - 1], answer.delta[i])
        assert all(same(answer.gradient[f"{key}[{i}]"], g) for key, g in own.items())


def trained(name, stack, **seeds):
    """All arrays of a rule after two steps."""
    rule = built(name, stack, **seeds)
    for t in range(2):
        rule.step(*batch(rule.net, seed=t))
    return everything(arrays(rule))


@every_stack
@every_rule
def test_the_same_seed_gives_the_same_bits_and_another_others_unless_nothing_is_random(name, stack):
    first = trained(name, stack, seed=4)
    assert trained(name, stack, seed=4) == first
    assert (trained(name, stack, seed=5) == first) == (name == "bp")


@every_stack
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"bp"}))
def test_another_seed_draws_other_numbers_for_every_array_beside_the_network(name, stack):
    one, two = (arrays(built(name, stack, seed=seed)) for seed in (4, 5))
    assert all((one[key] != two[key]).all() for key in one if key[0] in "BMV" or key == "Wz")


@every_stack
@every_rule
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_of_the_network_is_that_of_every_answer_and_stays(dtype, name, stack):
    rule = built(name, stack, dtype=dtype)
    x, y = batch(rule.net)
    held = {value[0] for what in (list(ask(rule, x, y)), rule) for value in
            everything(what).values() if isinstance(value, tuple)}
    loss = rule.step(x, y)
    held |= {value[0] for value in everything(rule).values() if isinstance(value, tuple)}
    assert held == {np.dtype(dtype)} and loss.dtype == dtype


@every_stack
@every_rule
def test_what_an_example_is_told_does_not_depend_on_its_batch(name, stack):
    rule = built(name, stack)
    x, y = batch(rule.net)
    whole, part = ask(rule, x, y), ask(rule, x[:3], y[:3])
    for i in range(1, rule.net.L + 1):          # products of other shapes round otherwise
        scale = 1 + np.abs(whole.delta[i]).max()
        assert_close(part.delta[i], whole.delta[i][:3], 256, scale)
        if whole.h_hat is not None and whole.h_hat[i] is not None:
            scale = 1 + np.abs(whole.h_hat[i]).max()
            assert_close(part.h_hat[i], whole.h_hat[i][:3], 256, scale)


# Feedback weights ---------------------------------------------------------------------------------

@activations
@every_stack
@pytest.mark.parametrize("name", ["fa", "kolen-pollack", "weight-mirror"])
def test_with_B_equal_to_W_it_is_backprop_bit_for_bit(name, stack, f):
    rule, bp = built(name, stack, f=f), build("bp", stack, f=f)
    x, y = batch(bp.net)
    assert not gradients_equal(rule, bp, x, y)
    for i in range(2, rule.net.L + 1):
        rule.B[i][...] = rule.net.W[i]
    assert gradients_equal(rule, bp, x, y)


@every_stack
@pytest.mark.parametrize("name", ["fa", "kolen-pollack", "weight-mirror", "usf", "frsf", "brsf"])
def test_every_layer_hears_what_its_own_feedback_weights_carry(name, stack):
    rule = built(name, stack)
    x, y = batch(rule.net)
    weights = rule.M if hasattr(rule, "M") else rule.B
    for i in range(2, rule.net.L + 1):
        before = ask(rule, x, y).delta[i - 1]
        weights[i][...] *= 2
        assert not same(ask(rule, x, y).delta[i - 1], before)


@activations
@every_stack
@pytest.mark.parametrize("name", ["usf", "frsf", "brsf"])
def test_sign_symmetry_is_backprop_where_all_weights_of_a_layer_are_equally_strong(name, stack, f):
    rule, bp = build(name, stack, f=f), build("bp", stack, f=f)
    x, y = batch(bp.net)
    assert not gradients_equal(rule, bp, x, y)
    for i in range(2, rule.net.L + 1):
        for W in (rule.net.W[i], bp.net.W[i]):
            W[...] = 2.0**-i * np.sign(W)
        rule.M[i][...] = 2.0**-i
    assert gradients_equal(rule, bp, x, y)


@every_stack
def test_kolen_pollacks_weights_approach_by_the_leak_and_nothing_else(stack):
    rule = build("kolen-pollack", stack, leak=0.125, eta=0.01)
    layers = range(2, rule.net.L + 1)
    apart = {i: rule.net.W[i] - rule.B[i] for i in layers}
    for t in range(1, 5):
        rule.step(*batch(rule.net, seed=t))
        for i in layers:
            assert np.abs(apart[i]).max() > 0.1
            assert_close(rule.net.W[i] - rule.B[i], 0.875**t * apart[i], terms=4 * t, scale=1)


@every_stack
def test_direct_feedback_sends_the_output_error_to_every_layer(stack):
    dfa = build("dfa", stack)
    h, _, delta, *_ = ask(dfa, *batch(dfa.net))
    for i in hidden(dfa.net):
        want = dfa.net.layers[i].times_slope(delta[dfa.net.L] @ dfa.B[i].T, h[i], h[i - 1])
        assert_close(delta[i], want, terms=8, scale=2)


@pytest.mark.parametrize("stack", ["local", "convolutional"])
def test_the_mirror_watches_noise_go_through_each_layer(stack):
    rule = build("weight-mirror", stack, sigma=0.3)
    rule.t = 2
    h = forward(rule.net, batch(rule.net)[0])
    gradient = rule.feedback_gradient(h)
    for i in range(2, rule.net.L + 1):
        layer = rule.net.layers[i]
        s = 0.3 * reference.normal(h[i - 1].shape, (1, MIRROR, i, 2), "float64")
        r = layer.forward(s) - layer.forward(0 * s)
        seen, want = rule.B[i] - gradient[f"B[{i}]"], layer.gradient(s, r)["W"] / 0.09
        assert angle(seen, want) < 1e-6
        if not isinstance(layer, Convolution):          # whose places all say the same
            assert_close(seen, want, terms=64, scale=8)


# Targets ------------------------------------------------------------------------------------------

@activations
@every_stack
@pytest.mark.parametrize("first_target", ["penultimate", "output"])
def test_across_the_bridge_dtp_is_target_step_times_backprop(first_target, stack, f):
    dtp = build("dtp", stack, f=f, bridge=1.0, target_step=0.125, first_target=first_target)
    bp = build("bp", stack, f=f)
    x, y = batch(bp.net)
    got, want = ask(dtp, x, y).delta, ask(bp, x, y).delta
    for i in range(1, dtp.top + 1):
        scale = np.abs(forward(bp.net, x)[i]).max() + np.abs(want[i]).max()
        assert_close(got[i], 0.125 * want[i], terms=64, scale=scale)


@activations
@every_stack
@pytest.mark.parametrize("name, options", [
    ("dtp", {"target_step": 0.0}), ("dtp", {"target_step": 0.0, "first_target": "output"}),
    ("dtp", {"target_step": 0.0, "bridge": 0.3}), ("dtp", {"target_step": 0.0, "bridge": 1.0}),
    ("sdtp", {"label_step": 0.0}), ("ao-sdtp", {"label_step": 0.0})])
def test_a_step_of_nothing_teaches_hidden_layers_exactly_nothing(name, options, stack, f):
    rule = build(name, stack, f=f, **options)
    answer = ask(rule, *batch(rule.net))
    for i in hidden(rule.net):
        assert (answer.delta[i] == 0).all() and same(answer.h_hat[i], answer.h[i])


@every_stack
@pytest.mark.parametrize("bridge", [0.0, 0.3])
@pytest.mark.parametrize("first_target", ["penultimate", "output"])
def test_a_met_target_stays_met(first_target, bridge, stack):
    """Of two examples, one answers exactly what was asked: no layer below hears a word of it."""
    dtp = build("dtp", stack, loss="squared", first_target=first_target, bridge=bridge)
    x, y = batch(dtp.net)
    y[:3] = forward(dtp.net, x)[dtp.net.L][:3]
    answer = ask(dtp, x, y)
    for i in hidden(dtp.net):
        assert same(answer.h_hat[i][:3], answer.h[i][:3]) and (answer.delta[i][:3] == 0).all()
        assert (answer.h_hat[i][3:] != answer.h[i][3:]).any()


@every_stack
def test_dtp_is_its_formula(stack):
    dtp = build("dtp", stack, target_step=0.3)
    h, _, delta, h_hat, _ = ask(dtp, *batch(dtp.net))
    net, L = dtp.net, dtp.net.L
    assert_close(h_hat[L - 1], h[L - 1] - 0.3 * delta[L] @ net.W[L].T, terms=16, scale=4)
    for i in range(L - 1, 1, -1):
        assert (dtp.G[i].n_in, dtp.G[i].n_out) == (net.sizes[i], net.sizes[i - 1])
        up, down = dtp.G[i].forward(h_hat[i]), dtp.G[i].forward(h[i])
        assert_close(h_hat[i - 1], h[i - 1] + up - down, terms=16, scale=8)
    for i in hidden(net):
        want = net.layers[i].times_slope(h[i] - h_hat[i], h[i], h[i - 1])
        assert_close(delta[i], want, terms=4, scale=2)


@every_stack
def test_a_missing_difference_is_the_mistake_of_the_inverse(stack):
    tp, dtp = build("tp", stack, first_target="gradient"), build("dtp", stack)
    x, y = batch(tp.net)
    wrong, right, i = ask(tp, x, y), ask(dtp, x, y), tp.net.L - 1
    assert same(wrong.h_hat[i], right.h_hat[i])
    mistake = right.h[i - 1] - dtp.G[i].forward(right.h[i])
    assert_close(right.h_hat[i - 1] - wrong.h_hat[i - 1], mistake, terms=8, scale=8)


@every_stack
@pytest.mark.parametrize("name", ["sdtp", "ao-sdtp"])
def test_below_the_penultimate_layer_it_is_dtp_with_the_same_target(name, stack):
    rule = build(name, stack)
    x, y = batch(rule.net)
    want, L = ask(rule, x, y), rule.net.L
    below = Network(rule.net.layers[1:L], reference, "squared")         # ends where DTP begins
    dtp = DTP(below, first_target="output", target_step=1.0)
    for i in range(2, L):
        dtp.G[i].W[...], dtp.G[i].b[...] = rule.G[i].W, rule.G[i].b
    got = ask(dtp, x, want.h_hat[L - 1])                # 1/2 |h[L-1] - y|^2: the target is y
    for i in hidden(rule.net):
        assert_close(got.h_hat[i], want.h_hat[i], terms=16, scale=8)
        assert_close(got.delta[i], want.delta[i], terms=16, scale=8)


@every_stack
def test_without_auxiliary_outputs_it_is_sdtp_bit_for_bit(stack):
    ao, sdtp = build("ao-sdtp", stack, n_aux=0), build("sdtp", stack)
    x, y = batch(ao.net)
    for _ in range(2):
        got, want = ask(ao, x, y), ask(sdtp, x, y)
        assert all(same(got.gradient[key], want.gradient[key]) for key in want.gradient)
        assert all(same(got.h_hat[i], want.h_hat[i]) for i in range(1, ao.net.L + 1))
        assert same(ao.step(x, y), sdtp.step(x, y))
    assert all(same(array, arrays(ao)[key]) for key, array in arrays(sdtp).items())


# Calculus -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("f", ["tanh", "linear"])
@every_stack
def test_backprop_descends_the_mean_loss(stack, f):
    bp = build("bp", stack, f=f)
    x, y = batch(bp.net)
    gradient = ask(bp, x, y).gradient

    def mean_loss():
        return bp.net.loss(forward(bp.net, x)[bp.net.L], y)[0].mean()

    assert set(gradient) == set(bp.net.parameters())
    for key, array in bp.net.parameters().items():
        agree(gradient[key], differences(mean_loss, array), f"{stack}, {f}, {key}")


@every_stack
@targets
def test_every_layer_with_a_target_descends_its_distance_from_it(name, stack):
    rule = build(name, stack)
    answer, layers = ask(rule, *batch(rule.net)), rule.net.layers
    for i in hidden(rule.net):
        def distance():
            return half_square(layers[i].forward(answer.h[i - 1]) - answer.h_hat[i])

        for key, array in layers[i].parameters.items():
            key = f"{key}[{i}]"
            agree(answer.gradient[key], differences(distance, array), key)


@every_stack
@pytest.mark.parametrize("goal", ["noisy", "clean"])
@targets
def test_every_inverse_descends_what_it_cannot_give_back(name, goal, stack):
    rule = build(name, stack, goal=goal, sigma=0.3)
    rule.t = 5
    h = forward(rule.net, batch(rule.net, N=3)[0])
    gradient = rule.feedback_gradient(h)
    inverses = [i for i in range(len(rule.G)) if rule.G[i] is not None]
    assert set(gradient) == {f"{k}[{i}]" for k in "Vc" for i in inverses}
    for i in inverses:
        start = h[i - 1] + 0.3 * reference.normal(h[i - 1].shape, (1, NOISE, i, 5), "float64")
        above, wanted = heard(rule, name, i, start), start if goal == "noisy" else h[i - 1]

        def mistake():
            return half_square(rule.G[i].forward(above) - wanted)

        agree(gradient[f"V[{i}]"], differences(mistake, rule.G[i].W), f"V[{i}]")
        agree(gradient[f"c[{i}]"], differences(mistake, rule.G[i].b), f"c[{i}]")


@targets
def test_an_inverse_can_say_whatever_the_layer_below_says(name):
    """Above a sum of a skip and a correction, which keeps to no range, f would."""
    rule = build(name, "mixed")                 # layer 5 is dense and stands on residual ones
    assert rule.G[5].f == "linear" and rule.G[2].f == "tanh"
    assert type(rule.G[3]) is type(rule.G[4]) is Residual
    rule = build(name, "projecting")
    if rule.G[rule.net.L] is not None:
        assert rule.G[rule.net.L].f == "linear"


def test_random_features_stay_nonlinear_above_a_residual_layer():
    assert build("ao-sdtp", "residual").Z.f == build("ao-sdtp", "projecting").Z.f == "tanh"


# Refusals -----------------------------------------------------------------------------------------

each_f = pytest.mark.parametrize("f", ["tanh", "relu", "linear"])


@pytest.mark.parametrize("stack", SKIPS)
@each_f
def test_the_weight_mirror_refuses_residual_layers(f, stack):
    with pytest.raises(UserError, match="weight-mirror: a residual layer answers noise with the "):
        build("weight-mirror", stack, f=f)


@each_f
def test_a_residual_layer_has_no_exact_inverse_though_it_be_square(f):
    layers = [kind(5, 5, f, reference, "float64", (0, WEIGHTS, i, 0))
              for i, kind in enumerate((Dense, Residual, Dense), 1)]
    with pytest.raises(UserError, match="tp: exact inverses want .* layer 2 is 5-5"):
        RULES["tp"](Network(layers, reference), inverse="exact", first_target="gradient")


@pytest.mark.parametrize("stack", ["local", "convolutional"])
@pytest.mark.parametrize("f", ["tanh", "linear"])
def test_layers_of_images_have_no_exact_inverse(f, stack):
    with pytest.raises(UserError, match="tp: exact inverses want .* layer 2 is 12-18"):
        build("tp", stack, f=f, inverse="exact", first_target="gradient")


# What is measured ---------------------------------------------------------------------------------

def aligned(rule):
    """Give every inverse the transposed weights of its layer, where it has room for them."""
    for i, g in enumerate(rule.G):
        if g is not None and not getattr(g, "projects", False):
            W = rule.net.W[i].swapaxes(-1, -2)
            g.W[..., :W.shape[-2], :] = W


@every_stack
@targets
def test_inverses_are_compared_layer_by_layer_but_for_those_that_project(name, stack):
    rule = build(name, stack)
    compared = {i for i, g in enumerate(rule.G) if g is not None
                and not getattr(rule.net.layers[i], "projects", False)}
    assert set(weight_alignment(rule)) == compared
    assert all(45 < found.angle < 135 for found in weight_alignment(rule).values())
    aligned(rule)
    assert all(found == pytest.approx((0, 1 if i < rule.net.L else found.ratio), abs=1e-6)
               for i, found in weight_alignment(rule).items())


@activations
@every_stack
def test_direct_feedback_is_compared_with_what_a_linear_network_would_do_with_the_layer(stack, f):
    dfa, linear = build("dfa", stack, f=f), network(stack, "linear")
    for i in hidden(linear):
        h, nothing = np.eye(linear.sizes[i]), np.zeros((1, linear.sizes[i]))
        for layer in linear.layers[i + 1:]:
            h, nothing = layer.forward(h), layer.forward(nothing)
        dfa.B[i][...] = -2 * (h - nothing)
    found = weight_alignment(dfa)
    assert list(found) == list(hidden(linear))
    assert all(one == pytest.approx((180, 2), abs=1e-6) for one in found.values())


@every_stack
@pytest.mark.parametrize("name", ["fa", "kolen-pollack", "usf", "frsf", "brsf"])
def test_feedback_weights_are_compared_at_every_layer(name, stack):
    rule = build(name, stack)
    assert list(weight_alignment(rule)) == list(range(2, rule.net.L + 1))


def test_direct_feedback_that_is_drawn_anew_is_not_compared():
    assert weight_alignment(build("dfa", "mixed", feedback="seeded")) == {}


def test_the_weight_mirror_is_as_long_as_a_weight_that_many_places_share():
    """The response of all places is a mean: B grows to the length of W on a convolution too."""
    image = (6, 6, 2)
    layers = [Convolution(image, 3, 3, 1, "linear", reference, "float64", (0, 0, 1, 0)),
              Convolution((6, 6, 3), 1, 4, 1, "linear", reference, "float64", (0, 0, 2, 0)),
              Dense(144, 3, "linear", reference, "float64", (0, 0, 3, 0))]
    rule = RULES["weight-mirror"](Network(layers, reference), eta=0.0, eta_mirror=0.2, sigma=0.1)
    x, y = np.random.default_rng(0).standard_normal((32, 72)), np.arange(32) % 3
    for _ in range(200):
        rule.step(x, y)
    assert np.linalg.norm(rule.B[2] - layers[1].W) < 0.2 * np.linalg.norm(layers[1].W)


def test_seeded_feedback_is_the_stored_one_and_stores_nothing(monkeypatch):
    from minicredit.rules import direct_feedback_alignment as dfa
    monkeypatch.setattr(dfa, "BLOCK", 5)                # layers of several blocks, the last shorter
    x, y = np.random.default_rng(0).standard_normal((6, 8)), np.arange(6) % 4
    nets = [create((8, 13, 7, 4), dtype="float64") for _ in range(2)]
    stored, seeded = (RULES["dfa"](net, feedback=kind, seed=3)
                      for net, kind in zip(nets, ("stored", "seeded")))
    assert seeded.arrays == {} and set(stored.arrays) == {"B[1]", "B[2]"}
    want, got = ask(stored, x, y).delta, ask(seeded, x, y).delta
    for i in (1, 2, 3):
        assert_close(got[i], want[i], terms=4)
    assert np.unique(stored.B[1]).size == stored.B[1].size          # no block repeats another


def test_direct_feedback_says_beforehand_how_much_it_would_take():
    net = create((8, 13, 7, 4), dtype="float64")
    with pytest.raises(UserError, match=f"would take {(13 + 7) * 4 * 8} bytes.*seeded"):
        RULES["dfa"](net, most_bytes=100)
    RULES["dfa"](net, most_bytes=100, feedback="seeded")
