"""What the rules have to do with each other, in float64; bit for bit wherever that is true."""
import numpy as np
import pytest
from conftest import arrays, assert_close, batch, build, copies, onehot, same

from minicredit import ask, forward
from minicredit.keys import MIRROR
from minicredit.network import Network
from minicredit.rules import DTP
from minicredit.rules.inverses import ExactInverse

ACTIVATIONS = "tanh", "relu", "linear"
SQUARE = 3, 6, 6, 6, 4
DEEP = 3, 7, 6, 5, 4


def pair(one, two, sizes=DEEP, **options):
    """Two rules on two equal networks, and a batch."""
    a, b = build(one, sizes=sizes, **options), build(two, sizes=sizes, **options)
    return a, b, *batch(a.net)


def gradients_equal(a, b, x, y):
    """Every forward gradient of two rules, bit for bit."""
    got, want = ask(a, x, y), ask(b, x, y)
    return all(same(got.gradient[key], want.gradient[key]) for key in a.net.parameters())


def copy_inverses(rule, other, top):
    """Give `rule` the inverses 2..top of `other`."""
    for i in range(2, top + 1):
        rule.G[i].W[...], rule.G[i].b[...] = other.G[i].W, other.G[i].b


# The feedback alignment family --------------------------------------------------------------------

@pytest.mark.parametrize("f", ACTIVATIONS)
@pytest.mark.parametrize("name", ["fa", "weight-mirror", "kolen-pollack"])
def test_with_B_equal_to_W_it_is_backprop_bit_for_bit(name, f):
    rule, bp, x, y = pair(name, "bp", f=f)
    assert not gradients_equal(rule, bp, x, y)
    for i in range(2, rule.net.L + 1):
        rule.B[i][...] = rule.net.W[i]
    assert gradients_equal(rule, bp, x, y)


@pytest.mark.parametrize("f", ACTIVATIONS)
def test_feedback_alignment_is_its_formula(f):
    fa, _, x, y = pair("fa", "bp", f=f)
    answer = ask(fa, x, y)
    h, delta = answer.h, answer.delta
    slope = {"tanh": lambda h: 1 - h**2, "relu": lambda h: h > 0, "linear": lambda h: 1}[f]
    p = np.exp(h[4]) / np.exp(h[4]).sum(axis=1, keepdims=True)
    assert_close(delta[4], p - onehot(y, 4), terms=4)
    for i in (4, 3, 2):
        want = (delta[i] @ fa.B[i].T) * slope(h[i - 1])
        assert_close(delta[i - 1], want, terms=7, scale=1)


@pytest.mark.parametrize("f", ACTIVATIONS)
def test_direct_feedback_alignment_is_feedback_alignment_with_one_hidden_layer(f):
    dfa, fa, x, y = pair("dfa", "fa", sizes=(3, 7, 4), f=f)
    dfa.B[1][...] = fa.B[2]
    assert gradients_equal(dfa, fa, x, y)


def test_direct_feedback_alignment_sends_the_output_error_to_every_layer():
    dfa = build("dfa", sizes=(3, 4, 4, 4, 4))                # equal sizes: another delta would fit
    answer = ask(dfa, *batch(dfa.net))
    for i in (1, 2, 3):
        want = (answer.delta[4] @ dfa.B[i].T) * (1 - answer.h[i] ** 2)
        assert_close(answer.delta[i], want, terms=4, scale=1)


def test_the_feedback_of_dfa_is_uniform_within_one_over_the_root_of_the_layer():
    dfa = build("dfa", sizes=(3, 400, 100, 50))
    for i, n in ((1, 400), (2, 100)):
        assert 0.999 < np.abs(dfa.B[i]).max() * n**0.5 <= 1
        assert abs(dfa.B[i].mean()) < 5 * (1 / 3 / n / dfa.B[i].size) ** 0.5    # 5 standard errors


# Sign symmetry ------------------------------------------------------------------------------------

def one_size(rule, sizes):
    """Replace W[i], i >= 2, by its signs times 2^-i; returns these numbers by layer."""
    m = {i: 2.0**-i for i in range(2, rule.net.L + 1)}
    for i in m:
        rule.net.W[i][...] = m[i] * np.sign(rule.net.W[i])
    return m


@pytest.mark.parametrize("name", ["usf", "frsf", "brsf"])
@pytest.mark.parametrize("f", ACTIVATIONS)
def test_sign_symmetry_is_backprop_where_all_weights_of_a_layer_are_equally_strong(name, f):
    rule, bp, x, y = pair(name, "bp", f=f)
    one_size(bp, DEEP)
    for i, m in one_size(rule, DEEP).items():
        rule.M[i][...] = m
    assert gradients_equal(rule, bp, x, y)


@pytest.mark.parametrize("f", ACTIVATIONS)
def test_with_magnitude_one_each_layer_passed_multiplies_backprop_by_one_over_its_weights_size(f):
    usf, bp, x, y = pair("usf", "bp", f=f)
    m, _ = one_size(usf, DEEP), one_size(bp, DEEP)
    for i in m:
        usf.M[i][...] = 1
    got, want = ask(usf, x, y).delta, ask(bp, x, y).delta
    for i in range(1, 5):
        factor = np.prod([1 / m[k] for k in range(i + 1, 5)])           # powers of two: exact
        assert same(got[i], factor * want[i])


def test_magnitudes_are_what_the_three_forms_publish():
    usf, frsf, brsf = (build(name, sizes=(3, 40, 30, 4)) for name in ("usf", "frsf", "brsf"))
    fa = build("fa", sizes=(3, 40, 30, 4))
    for i in (2, 3):
        assert np.unique(usf.M[i]).size == 1
        assert_close(usf.M[i][0, 0], np.sqrt((fa.B[i] ** 2).mean()), terms=8)
        assert same(frsf.M[i], np.abs(fa.B[i])) and same(brsf.M[i], np.abs(fa.B[i]))


def test_fixed_magnitudes_stay_and_fresh_ones_are_new_for_every_batch():
    frsf, brsf, x, y = pair("frsf", "brsf")
    seen = []
    for _ in range(3):
        seen.append((frsf.M[2].copy(), brsf.M[2].copy()))
        frsf.step(x, y), brsf.step(x, y)
    assert all(same(fixed, seen[0][0]) for fixed, _ in seen)
    assert not any((seen[a][1] == seen[b][1]).any() for a in range(3) for b in range(a))
    assert all((fresh >= 0).all() for _, fresh in seen)


# Kolen-Pollack and the weight mirror --------------------------------------------------------------

@pytest.mark.parametrize("optimizer", ["sgd", "adam", "momentum"])
def test_forward_and_feedback_weights_approach_by_the_leak_and_nothing_else(optimizer):
    rule = build("kolen-pollack", sizes=DEEP, optimizer=optimizer, leak=0.125, eta=0.01)
    apart = {i: rule.net.W[i] - rule.B[i] for i in (2, 3, 4)}
    for t in range(1, 6):
        rule.step(*batch(rule.net, seed=t))
        for i in (2, 3, 4):
            assert_close(rule.net.W[i] - rule.B[i], 0.875**t * apart[i], terms=t, scale=2)


def test_the_leak_falls_with_the_learning_rate():
    rule = build("kolen-pollack", sizes=DEEP, optimizer="sgd", leak=0.5)
    apart, rule.optimizer.scale = rule.net.W[2] - rule.B[2], 0.25
    rule.step(*batch(rule.net))
    assert_close(rule.net.W[2] - rule.B[2], 0.875 * apart, scale=2)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_kolen_pollack_that_has_arrived_is_backprop_with_a_leak_bit_for_bit(optimizer):
    kp, bp, x, y = pair("kolen-pollack", "bp", optimizer=optimizer, eta=0.01)
    for i in (2, 3, 4):
        kp.B[i][...] = kp.net.W[i]
    for _ in range(4):
        kp.step(x, y), bp.step(x, y)
        for i in (2, 3, 4):
            bp.net.W[i][...] -= kp.leak * bp.net.W[i]
    assert all(same(array, arrays(bp)[key]) for key, array in kp.net.parameters().items())
    assert all(same(kp.B[i], kp.net.W[i]) for i in (2, 3, 4))


@pytest.mark.parametrize("f", ACTIVATIONS)
def test_what_the_mirror_is_told_is_its_formula(f):
    rule = build("weight-mirror", sizes=DEEP, f=f, sigma=0.5, decay_mirror=0.75)
    rule.t = 3
    gradient = rule.feedback_gradient(forward(rule.net, batch(rule.net)[0]))
    assert set(gradient) == {"B[2]", "B[3]", "B[4]"}
    for i in (2, 3, 4):
        s = 0.5 * rule.net.ops.normal((7, DEEP[i - 1]), (0, MIRROR, i, 3), "float64")
        forward_i = rule.net.layers[i].forward
        seen = s.T @ (forward_i(s) - forward_i(np.zeros((1, DEEP[i - 1])))) / 7
        assert_close(gradient[f"B[{i}]"], 0.75 * rule.B[i] - seen / 0.25, terms=28)


def test_what_a_linear_layer_does_with_noise_shows_the_mirror_its_weights():
    rule = build("weight-mirror", sizes=(3, 5, 4, 2), f="linear", sigma=0.5, decay_mirror=0.75)
    x, _ = batch(rule.net, N=50)
    h, batches = forward(rule.net, x), 400
    seen = {i: np.zeros_like(rule.B[i]) for i in (2, 3)}
    for _ in range(batches):
        for key, g in rule.feedback_gradient(h).items():
            i = int(key[2:-1])
            seen[i] += (0.75 * rule.B[i] - g) / batches
        rule.t += 1
    for i in (2, 3):
        W = rule.net.W[i]
        error = 2**0.5 * np.linalg.norm(W, axis=0) / (50 * batches) ** 0.5      # at most, of a mean
        assert (np.abs(seen[i] - W) < 5 * error).all()


def test_the_mirror_of_a_linear_network_settles_on_the_forward_weights():
    rule = build("weight-mirror", sizes=(3, 5, 4, 2), f="linear", eta=0.0, eta_mirror=0.01)
    x, y = batch(rule.net, N=50)
    for _ in range(1500):
        rule.step(x, y)
    for i in (2, 3):
        distance = np.linalg.norm(rule.B[i] - rule.net.W[i]) / np.linalg.norm(rule.net.W[i])
        assert distance < 0.1


# Target propagation with inverses that are known --------------------------------------------------

def well_conditioned(rule):
    """Hidden weights near orthogonal, so that an inverse loses few digits; returns the rule."""
    for i in range(2, rule.net.L):
        rule.net.W[i][...] = 0.8 * rule.net.W[i] + 0.05 * np.tri(*rule.net.W[i].shape)
    return rule


def test_target_propagation_in_a_square_linear_network_is_its_closed_form():
    tp = well_conditioned(build("tp", sizes=SQUARE, f="linear", init="orthogonal", inverse="exact",
                                first_target="gradient", target_step=0.25))
    answer = ask(tp, *batch(tp.net))
    W, delta = tp.net.W, answer.delta
    moved = -0.25 * delta[4] @ W[4].T                                   # h_hat[3] - h[3]
    for i in (3, 2, 1):
        assert_close(answer.h_hat[i], answer.h[i] + moved, terms=24, scale=10)
        assert_close(delta[i], -moved, terms=24, scale=10)
        moved = moved @ np.linalg.inv(W[i]) if i > 1 else None


@pytest.mark.parametrize("f", ["tanh", "linear"])
def test_with_exact_inverses_the_difference_changes_nothing(f):
    options = dict(sizes=SQUARE, f=f, init="orthogonal", target_step=0.05)
    tp = well_conditioned(build("tp", inverse="exact", first_target="gradient", **options))
    dtp = well_conditioned(build("dtp", **options))
    for i in (2, 3):
        dtp.G[i] = ExactInverse(dtp.net.layers[i])
    x, y = batch(tp.net)
    got, want = ask(tp, x, y), dtp.feedback(forward(dtp.net, x), y)
    for i in (1, 2, 3):
        assert_close(got.h_hat[i], want.h_hat[i], terms=200, scale=1)   # artanh near 1 costs digits
        assert np.abs(got.h_hat[i] - got.h[i]).max() > 1e-4


@pytest.mark.parametrize("f", ["tanh", "linear"])
def test_an_exact_inverse_gives_back_what_went_in(f):
    net = build("bp", sizes=SQUARE, f=f, init="orthogonal").net
    h = forward(net, batch(net)[0])
    for i in (2, 3):
        assert_close(ExactInverse(net.layers[i]).forward(h[i]), h[i - 1], terms=200, scale=1)


def test_a_missing_difference_is_the_mistake_of_the_inverse():
    tp, dtp = build("tp", sizes=DEEP, first_target="gradient"), build("dtp", sizes=DEEP)
    x, y = batch(tp.net)
    wrong, right = ask(tp, x, y), ask(dtp, x, y)
    assert same(wrong.h_hat[3], right.h_hat[3])
    down = dtp.G[3].forward(right.h[3])
    assert_close(right.h_hat[2] - wrong.h_hat[2], right.h[2] - down, terms=4, scale=2)


def test_dtp_in_an_orthogonal_linear_network_is_target_step_times_backprop():
    dtp, bp, x, y = pair("dtp", "bp", sizes=SQUARE, f="linear", init="orthogonal")
    for i in (2, 3):
        dtp.G[i].W[...] = dtp.net.W[i].T                                # V = W^-1 = W^T
    got, want = ask(dtp, x, y).delta, ask(bp, x, y).delta
    for i in (1, 2, 3):
        assert_close(got[i], dtp.target_step * want[i], terms=12, scale=4)
    assert same(got[4], want[4])


@pytest.mark.parametrize("first_target", ["penultimate", "output"])
@pytest.mark.parametrize("f", ACTIVATIONS)
def test_across_the_bridge_dtp_is_target_step_times_backprop(f, first_target):
    dtp = build("dtp", sizes=DEEP, f=f, bridge=1.0, first_target=first_target, target_step=0.125)
    bp = build("bp", sizes=DEEP, f=f)
    x, y = batch(dtp.net)
    got, want = ask(dtp, x, y).delta, ask(bp, x, y).delta
    for i in range(1, dtp.top + 1):
        assert_close(got[i], 0.125 * want[i], terms=12, scale=4)


def test_halfway_across_the_bridge_a_target_is_the_mean_of_both_ends():
    ends = [build("dtp", sizes=(3, 7, 6, 4), bridge=m) for m in (0.0, 1.0, 0.5, 0.25)]
    x, y = batch(ends[0].net)
    dtp, bp, half, quarter = (ask(rule, x, y).h_hat[1] for rule in ends)
    assert_close(half, (dtp + bp) / 2, terms=2, scale=2)
    assert_close(quarter, 0.75 * dtp + 0.25 * bp, terms=2, scale=2)


@pytest.mark.parametrize("first_target, top", [("penultimate", 3), ("output", 4)])
def test_dtp_is_its_formula(first_target, top):
    dtp = build("dtp", sizes=DEEP, first_target=first_target, target_step=0.3)
    answer = ask(dtp, *batch(dtp.net))
    h, h_hat, delta = answer.h, answer.h_hat, answer.delta
    p = np.exp(h[4]) / np.exp(h[4]).sum(axis=1, keepdims=True)
    e = p - onehot(batch(dtp.net)[1], 4)
    e = e @ dtp.net.W[4].T if top == 3 else e
    assert_close(h_hat[top], h[top] - 0.3 * e, terms=8, scale=2)
    for i in range(top, 1, -1):
        def g(v):
            return np.tanh(v @ dtp.G[i].W + dtp.G[i].b)
        assert_close(h_hat[i - 1], h[i - 1] + g(h_hat[i]) - g(h[i]), terms=16, scale=2)
    for i in range(1, top + 1):
        slope = 1 - h[i] ** 2 if i < 4 else 1
        assert_close(delta[i], (h[i] - h_hat[i]) * slope, terms=2, scale=2)
    assert h_hat[0] is None and (top == 4 or h_hat[4] is None)


@pytest.mark.parametrize("first_target", ["label", "gradient"])
def test_target_propagation_is_its_formula(first_target):
    tp = build("tp", sizes=DEEP, first_target=first_target, target_step=0.3)
    x, y = batch(tp.net)
    answer = ask(tp, x, y)
    h, h_hat = answer.h, answer.h_hat
    if first_target == "label":
        assert_close(h_hat[4], onehot(y, 4), terms=4)
        assert_close(h_hat[3], np.tanh(onehot(y, 4) @ tp.G[4].W + tp.G[4].b), terms=8)
    else:
        assert_close(h_hat[3], h[3] - 0.3 * answer.delta[4] @ tp.net.W[4].T, terms=8)
    for i in (3, 2):
        assert_close(h_hat[i - 1], np.tanh(h_hat[i] @ tp.G[i].W + tp.G[i].b), terms=16)
    for i in (1, 2, 3):
        assert_close(answer.delta[i], (h[i] - h_hat[i]) * (1 - h[i] ** 2), terms=2, scale=2)


def test_from_the_output_the_top_layer_is_told_target_step_times_its_slope():
    dtp = build("dtp", sizes=DEEP, first_target="output", target_step=0.25)
    bp = build("bp", sizes=DEEP)
    x, y = batch(dtp.net)
    answer = ask(dtp, x, y)
    assert_close(answer.delta[4], 0.25 * ask(bp, x, y).delta[4], scale=np.abs(answer.h[4]).max())


# Nothing to learn ---------------------------------------------------------------------------------

@pytest.mark.parametrize("first_target", ["penultimate", "output"])
@pytest.mark.parametrize("bridge", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("f", ACTIVATIONS)
def test_a_target_step_of_nothing_teaches_hidden_layers_exactly_nothing(f, bridge, first_target):
    dtp = build("dtp", sizes=DEEP, f=f, target_step=0.0, bridge=bridge, first_target=first_target)
    answer = ask(dtp, *batch(dtp.net))
    for i in (1, 2, 3):
        assert (answer.delta[i] == 0).all() and same(answer.h_hat[i], answer.h[i])


@pytest.mark.parametrize("name", ["sdtp", "ao-sdtp"])
def test_a_label_step_of_nothing_teaches_hidden_layers_exactly_nothing(name):
    rule = build(name, sizes=DEEP, label_step=0.0)
    answer = ask(rule, *batch(rule.net))
    for i in (1, 2, 3):
        assert (answer.delta[i] == 0).all() and same(answer.h_hat[i], answer.h[i])


@pytest.mark.parametrize("bridge", [0.0, 0.3])
@pytest.mark.parametrize("first_target", ["penultimate", "output"])
def test_a_met_target_stays_met(first_target, bridge):
    """Of two examples, one answers exactly what was asked: no layer below hears a word of it."""
    dtp = build("dtp", sizes=DEEP, loss="squared", first_target=first_target, bridge=bridge)
    x, y = batch(dtp.net)
    y[:3] = forward(dtp.net, x)[4][:3]
    answer = ask(dtp, x, y)
    for i in (1, 2, 3):
        assert same(answer.h_hat[i][:3], answer.h[i][:3])
        assert (answer.h_hat[i][3:] != answer.h[i][3:]).any()


# SDTP and AO-SDTP ---------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["sdtp", "ao-sdtp"])
@pytest.mark.parametrize("label_step", [1.0, 0.25])
def test_the_target_of_the_output_goes_the_label_step_from_p_to_the_label(name, label_step):
    rule = build(name, sizes=DEEP, label_step=label_step)
    x, y = batch(rule.net)
    answer = ask(rule, x, y)
    p = np.exp(answer.h[4]) / np.exp(answer.h[4]).sum(axis=1, keepdims=True)
    assert_close(answer.h_hat[4][:, :4], p + label_step * (onehot(y, 4) - p), terms=4)
    assert_close(answer.delta[4], p - onehot(y, 4), terms=4)            # whatever the step


def test_the_next_target_of_sdtp_is_the_difference_at_the_label():
    sdtp = build("sdtp", sizes=DEEP)
    x, y = batch(sdtp.net)
    answer = ask(sdtp, x, y)
    V, c, h = sdtp.G[4].W, sdtp.G[4].b, answer.h
    p = np.exp(h[4]) / np.exp(h[4]).sum(axis=1, keepdims=True)
    want = h[3] + np.tanh(onehot(y, 4) @ V + c) - np.tanh(p @ V + c)
    assert_close(answer.h_hat[3], want, terms=8)


@pytest.mark.parametrize("name", ["sdtp", "ao-sdtp"])
def test_below_the_penultimate_layer_it_is_dtp_with_the_same_target(name):
    rule = build(name, sizes=DEEP)
    x, y = batch(rule.net)
    want = ask(rule, x, y)
    below = Network(rule.net.layers[1:4], rule.net.ops, "squared")      # ends where DTP begins
    dtp = DTP(below, first_target="output", target_step=1.0)
    copy_inverses(dtp, rule, 3)
    got = ask(dtp, x, want.h_hat[3])                    # 1/2 |h[3] - y|^2: the target is y
    for i in (1, 2, 3):
        assert_close(got.h_hat[i], want.h_hat[i], terms=8, scale=2)
        assert_close(got.delta[i], want.delta[i], terms=8, scale=2)


def test_without_auxiliary_outputs_it_is_sdtp_bit_for_bit():
    ao, sdtp = build("ao-sdtp", sizes=DEEP, n_aux=0), build("sdtp", sizes=DEEP)
    x, y = batch(ao.net)
    for _ in range(3):
        got, want = ask(ao, x, y), ask(sdtp, x, y)
        assert all(same(got.gradient[key], want.gradient[key]) for key in want.gradient)
        assert all(same(got.h_hat[i], want.h_hat[i]) for i in (1, 2, 3, 4))
        assert same(ao.step(x, y), sdtp.step(x, y))
    assert all(same(array, arrays(ao)[key]) for key, array in arrays(sdtp).items())


def test_the_random_features_never_learn():
    ao = build("ao-sdtp", sizes=DEEP)
    before = copies(ao)
    for t in range(3):
        for one_pass in [*ao.passes, ao.step]:
            one_pass(*batch(ao.net, seed=t))
    assert same(ao.Z.W, before["Wz"]) and same(ao.Z.b, before["bz"])
    assert ao.arrays["Wz"] is ao.Z.W and ao.arrays["bz"] is ao.Z.b


def test_the_target_of_the_output_leaves_z_what_it_is():
    ao = build("ao-sdtp", sizes=DEEP, n_aux=9)
    x, y = batch(ao.net)
    for label_step in (1.0, 0.3):
        ao.label_step = label_step
        told = ask(ao, x, y)
        assert told.h_hat[4].shape == (7, 13)
        assert same(told.h_hat[4][:, 4:], ao.Z.forward(told.h[3]))


def test_the_next_target_of_ao_sdtp_is_the_difference_with_the_same_z_in_both_terms():
    ao = build("ao-sdtp", sizes=DEEP, n_aux=9)
    x, y = batch(ao.net)
    answer = ask(ao, x, y)
    h, V, c = answer.h, ao.G[4].W, ao.G[4].b
    z = np.tanh(h[3] @ ao.Z.W + ao.Z.b)
    p = np.exp(h[4]) / np.exp(h[4]).sum(axis=1, keepdims=True)
    up, down = (np.tanh(np.hstack([o, z]) @ V + c) for o in (onehot(y, 4), p))
    assert_close(answer.h_hat[3], h[3] + up - down, terms=24)


@pytest.mark.parametrize("name", ["sdtp", "ao-sdtp"])
def test_an_auxiliary_output_gives_one_class_more_than_one_target_at_the_top(name):
    rule = build(name, sizes=DEEP)
    x, _ = batch(rule.net, N=12)
    answer = ask(rule, x, np.zeros(12, int))
    up = rule.G[4].forward(answer.h_hat[4])                             # g_L of the target alone
    assert (np.linalg.matrix_rank(up - up[0], tol=1e-9) > 0) == (name == "ao-sdtp")


# Noise --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["tp", "dtp", "sdtp", "ao-sdtp"])
def test_without_noise_the_noisy_goal_is_the_clean_goal(name):
    noisy, clean = (build(name, sizes=DEEP, sigma=0.0, goal=goal) for goal in ("noisy", "clean"))
    h = forward(noisy.net, batch(noisy.net)[0])
    got, want = noisy.feedback_gradient(h), clean.feedback_gradient(h)
    assert want and all(same(got[key], want[key]) for key in want)


@pytest.mark.parametrize("name, goal", [("tp", "noisy"), ("dtp", "noisy"), ("sdtp", "clean"),
                                        ("ao-sdtp", "clean")])
def test_the_default_goal_is_the_published_one(name, goal):
    default, named = build(name, sizes=DEEP), build(name, sizes=DEEP, goal=goal)
    h = forward(default.net, batch(default.net)[0])
    got, want = default.feedback_gradient(h), named.feedback_gradient(h)
    assert all(same(got[key], want[key]) for key in want)


@pytest.mark.parametrize("name", ["tp", "dtp", "sdtp", "ao-sdtp", "weight-mirror"])
def test_every_layer_and_every_step_has_noise_of_its_own(name, monkeypatch):
    rule = build(name, sizes=(3, 5, 5, 5, 5))
    keys, normal = [], rule.net.ops.normal

    def remember(shape, key, dtype):
        keys.append(key)
        return normal(shape, key, dtype)

    monkeypatch.setattr(rule.net.ops, "normal", remember)
    for _ in range(3):
        rule.step(*batch(rule.net))
    layers = 2 if name == "dtp" else 3
    assert len(keys) == 3 * layers and len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", ["tp", "dtp", "sdtp", "ao-sdtp", "weight-mirror"])
def test_noise_never_changes_what_a_layer_is_told(name):
    rule = build(name)
    x, y = batch(rule.net)
    before = ask(rule, x, y).delta
    rule.t += 1
    assert all(same(a, b) for a, b in zip(ask(rule, x, y).delta[1:], before[1:]))
