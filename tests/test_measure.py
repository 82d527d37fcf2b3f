"""The instruments, each against a case whose answer is known beforehand."""
import numpy as np
import pytest
from conftest import arrays, batch, build, copies, same

from minicredit import UserError, create, forward
from minicredit.measure import (angle, angle_of_signals, angle_to_backprop, angle_to_gauss_newton,
                                diagnose, diversity, effect_signs, error_percent, evaluate,
                                gauss_newton, inverse_error, inverse_jacobians, mean_loss,
                                target_diversity, template_diversity, update_sizes,
                                weight_alignment)
from minicredit.rules import RULES, ask
from minicredit.rules.backprop import Backprop


def random(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


# Angles -------------------------------------------------------------------------------------------

def test_a_vector_is_at_0_degrees_to_itself_and_at_180_to_its_opposite():
    v = random(3, 4)
    assert angle(v, v) == 0 and angle(v, 7 * v) < 1e-6
    assert angle(v, -v) == 180 and angle([1, 0], [0, 1]) == angle([1, 1], [-1, 1]) == 90
    assert angle([1, 0], [-1, 1]) == pytest.approx(135)               # folded, it would be 45


def test_an_angle_far_below_the_arc_cosine_is_not_lost():
    assert angle([1, 0], [1, 1e-11]) == pytest.approx(np.degrees(1e-11), rel=1e-6)
    assert angle([-1, 0], [1, 1e-6]) == pytest.approx(180 - np.degrees(1e-6), rel=1e-14)


def test_what_has_no_direction_has_no_angle():
    for u in ([0, 0], [np.nan, 1], [np.inf, 1]):
        assert np.isnan(angle(u, [1, 1])) and np.isnan(angle([1, 1], u))


def test_lengths_that_cannot_be_squared_do_no_harm():
    assert angle([1e-300, 0], [1e300, 1e300]) == pytest.approx(45)


def test_backprop_is_at_0_degrees_to_itself_in_every_layer():
    rule = build("bp")
    assert angle_to_backprop(rule, *batch(rule.net)) == [0, 0, 0]
    assert [tuple(s) for s in angle_of_signals(rule, *batch(rule.net))] == [(0, 0)] * 3


def test_feedback_alignment_with_the_forward_weights_is_at_0_degrees_and_negated_at_180():
    rule = build("fa")
    for sign, degrees in ((1, 0), (-1, 180)):
        rule.B[3][...], rule.B[2][...] = rule.net.W[3], sign * rule.net.W[2]
        assert angle_to_backprop(rule, *batch(rule.net)) == pytest.approx([degrees, 0, 0])
        means, sds = zip(*angle_of_signals(rule, *batch(rule.net)))
        assert means == pytest.approx((degrees, 0, 0)) and sds == pytest.approx((0, 0, 0))


def test_the_angle_to_backprop_is_that_of_the_gradients_that_ask_gives(name):
    rule = build(name)
    x, y = batch(rule.net)
    got, true = (ask(one, x, y).gradient for one in (rule, Backprop(rule.net)))
    want = [angle(got[f"W[{i}]"], true[f"W[{i}]"]) for i in range(1, rule.net.L + 1)]
    assert angle_to_backprop(rule, x, y) == want


def test_instruments_change_nothing(name):
    rule = build(name)
    x, y = batch(rule.net, N=20)
    before, state = copies(rule), dict(rule.optimizer.state)
    for instrument in (angle_to_backprop, angle_of_signals, angle_to_gauss_newton, diagnose,
                       target_diversity, template_diversity, update_sizes):
        instrument(rule, x, y)
    inverse_error(rule, x), inverse_jacobians(rule, x), weight_alignment(rule)
    effect_signs(rule.net, x)
    assert all(same(before[key], array) for key, array in arrays(rule).items())
    assert state == rule.optimizer.state == {}


# Loss and error -----------------------------------------------------------------------------------

def test_error_is_the_share_of_wrong_answers_in_percent_whatever_the_chunk():
    net = create((2, 2), f="linear", dtype="float64")
    net.W[1][...] = np.eye(2)
    x, y = np.array([[1, 0], [0, 1], [2, 0], [3, 1.]]), np.array([0, 1, 1, 1])
    for chunk in (1, 3, 1000):
        assert error_percent(net, x, y, chunk) == 50
        assert mean_loss(net, x, y, chunk) == pytest.approx(net.loss(x, y)[0].mean())


def test_error_asks_what_the_network_answers_also_of_ten_networks_side_by_side():
    net = build("kickback").net
    x, y = batch(net, N=300)
    h_L = forward(net, x)[net.L]                            # (K, N, 2): two units answer together
    answer, wrong_unit = net.output(h_L).argmax(axis=1), h_L[:, :, 0].argmax(axis=0)
    assert (answer != y).mean() != (wrong_unit != y).mean()
    assert error_percent(net, x, y, 7) == pytest.approx(100 * (answer != y).mean())


def test_a_squared_loss_has_no_classes_to_be_wrong_about():
    net = create((3, 2), loss="squared")
    loss, error, top5 = evaluate(net, *batch(net))
    assert loss > 0 and np.isnan(error) and np.isnan(top5)


def test_a_top_5_error_counts_the_classes_that_five_others_beat():
    net = create((8, 8), f="linear")
    net.W[1][...], x = np.eye(8), np.tile(np.arange(8.0, dtype="float32"), (8, 1))
    assert evaluate(net, x, np.arange(8)).error_top5 == 100 * 3 / 8     # 0, 1 and 2 of 0..7


def test_no_examples_are_refused():
    net = create((3, 2))
    with pytest.raises(UserError, match="one example"):
        evaluate(net, np.empty((0, 3)), np.empty(0, int))


# Gauss-Newton -------------------------------------------------------------------------------------

def slopes_by_differences(net, x, i, step=1e-6):
    """dz/d(parameters of layer i) by central differences; (N K, n), example by example."""
    columns = []
    for w in net.layers[i].parameters.values():
        for place in np.ndindex(w.shape):
            kept, ends = w[place], []
            for sign in (1, -1):
                w[place] = kept + sign * step
                ends.append(net.output(forward(net, x)[net.L]).reshape(-1))
            w[place] = kept
            columns.append((ends[0] - ends[1]) / (2 * step))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("name", ["bp", "kickback"])
@pytest.mark.parametrize("damping", [1e-2, 10.0])
def test_the_gauss_newton_step_solves_its_least_squares_problem(name, damping):
    rule = build(name, sizes=(3, 6, 4, 2))
    net, (x, y) = rule.net, batch(rule.net, N=5)
    z = net.output(forward(net, x)[net.L])
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    e = (p - np.eye(2)[y]).reshape(-1)                      # dloss/dz
    steps = gauss_newton(net, x, y, damping)
    for i in range(1, net.L + 1):
        J = slopes_by_differences(net, x, i)
        n = J.shape[1]
        A = np.concatenate([J, np.sqrt(len(x) * damping) * np.eye(n)])
        want = np.linalg.lstsq(A, np.concatenate([-e, np.zeros(n)]), rcond=None)[0]
        np.testing.assert_allclose(steps[i], want, atol=1e-7)


def test_with_much_damping_gauss_newton_is_the_gradient_and_with_little_it_is_not():
    rule = build("bp")
    x, y = batch(rule.net)
    assert max(angle_to_gauss_newton(rule, x, y, damping=1e9)) < 1e-4
    assert min(angle_to_gauss_newton(rule, x, y, damping=1e-3)) > 1


def test_gauss_newton_says_what_it_would_need_before_it_takes_it():
    net = create((784, 256, 10))
    with pytest.raises(UserError, match=r"need \d+ bytes, the limit is \d+; take fewer"):
        gauss_newton(net, *batch(net, N=1000))
    with pytest.raises(UserError, match="damping"):
        gauss_newton(net, *batch(net), damping=0)


# Feedback weights and inverses --------------------------------------------------------------------

@pytest.mark.parametrize("name", ["fa", "weight-mirror", "kolen-pollack"])
def test_feedback_weights_of_twice_the_forward_weights_are_aligned_and_twice_as_long(name):
    rule = build(name)
    rule.B[2][...], rule.B[3][...] = 2 * rule.net.W[2], -rule.net.W[3]
    found = weight_alignment(rule)
    assert list(found) == [2, 3]
    assert found[2] == pytest.approx((0, 2)) and found[3] == pytest.approx((180, 1))


def test_direct_feedback_is_compared_with_the_whole_path_to_the_output():
    rule = build("dfa", sizes=(4, 4, 4, 4))                 # every matrix has every other's shape
    W = rule.net.W
    rule.B[1][...], rule.B[2][...] = W[2] @ W[3], -3 * W[3]
    found = weight_alignment(rule)
    assert list(found) == [1, 2]
    assert found[1] == pytest.approx((0, 1)) and found[2] == pytest.approx((180, 3))


def test_signs_alone_keep_the_cosine_that_their_definition_gives():
    rule = build("usf")
    for i, found in weight_alignment(rule).items():
        w = abs(rule.net.W[i])
        assert np.cos(np.radians(found.angle)) == pytest.approx(w.mean() / np.sqrt((w**2).mean()))


@pytest.mark.parametrize("name, layers", [("dtp", [2]), ("tp", [2, 3]), ("sdtp", [2, 3]),
                                          ("ao-sdtp", [2, 3])])
def test_an_inverse_of_transposed_weights_is_aligned(name, layers):
    rule = build(name)
    for i in layers:
        rule.G[i].W[:rule.net.sizes[i]] = rule.net.W[i].T
    assert {i: found.angle for i, found in weight_alignment(rule).items()} == dict.fromkeys(layers,
                                                                                             0)


@pytest.mark.parametrize("name", ["bp", "kickback"])
def test_a_rule_without_feedback_of_its_own_has_nothing_to_align_or_invert(name):
    rule = build(name)
    x, y = batch(rule.net)
    assert weight_alignment(rule) == inverse_error(rule, x) == inverse_jacobians(rule, x) == {}
    assert target_diversity(rule, x, y) == template_diversity(rule, x, y) == {}


def test_an_exact_inverse_errs_by_0():
    rule = build("tp", sizes=(4, 6, 6, 3), inverse="exact", first_target="gradient")
    assert inverse_error(rule, batch(rule.net)[0])[2] < 1e-20
    with pytest.raises(UserError, match="learned"):
        inverse_jacobians(rule, batch(rule.net)[0])


@pytest.mark.parametrize("name, i", [("dtp", 2), ("sdtp", 3), ("ao-sdtp", 3)])
def test_an_inverse_that_always_says_the_mean_errs_by_the_variance(name, i):
    rule = build(name, f="linear")
    x, _ = batch(rule.net, N=30)
    below = forward(rule.net, x)[i - 1]
    rule.G[i].W[...], rule.G[i].b[...] = 0, below.mean(axis=0)
    assert inverse_error(rule, x)[i] == pytest.approx(1)
    rule.G[i].b[...] += np.sqrt(3 * below.var(axis=0))                 # wrong by three times more
    assert inverse_error(rule, x)[i] == pytest.approx(4)


@pytest.mark.parametrize("degrees, share", [(0, 1), (60, 1), (91, 0), (120, 0), (180, 0)])
def test_a_rotation_by_more_than_90_degrees_has_no_positive_eigenvalue(degrees, share):
    rule = build("dtp", sizes=(3, 2, 2, 4), f="linear")
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rule.net.W[2][...], rule.G[2].W[...] = [[c, s], [-s, c]], np.eye(2)
    found = inverse_jacobians(rule, batch(rule.net)[0])[2]
    assert found.positive == share and found.trace == pytest.approx(2 * c)


@pytest.mark.parametrize("sizes", [(3, 2, 9, 4), (3, 9, 2, 4)])
def test_zeros_of_a_product_of_low_rank_are_not_counted(sizes):
    rule = build("dtp", sizes=sizes, f="linear")
    rule.G[2].W[...] = rule.net.W[2].T
    found = inverse_jacobians(rule, batch(rule.net)[0])[2]
    assert found.positive == 1 and found.trace == pytest.approx((rule.net.W[2]**2).sum())


@pytest.mark.parametrize("name", ["dtp", "sdtp", "ao-sdtp"])
def test_the_trace_is_that_of_finite_differences(name):
    rule = build(name)
    x, _ = batch(rule.net, N=1)
    i, softmax, step = max(inverse_error(rule, x)), rule.net.ops.softmax, 1e-6
    below = forward(rule.net, x)[i - 1]

    def there_and_back(h):
        above = rule.net.layers[i].forward(h)
        if name != "dtp":
            above = softmax(above)
        if name == "ao-sdtp":
            above = np.concatenate([above, rule.Z.forward(h)], axis=1)
        return rule.G[i].forward(above)

    e = step * np.eye(below.shape[1])
    trace = np.trace(there_and_back(below + e) - there_and_back(below - e)) / (2 * step)
    assert inverse_jacobians(rule, x)[i].trace == pytest.approx(trace, rel=1e-6)


# Targets ------------------------------------------------------------------------------------------

def test_equal_rows_have_no_diversity_and_n_equal_directions_have_rank_n():
    y = np.repeat([0, 1], 10)
    assert diversity(np.repeat(random(2, 6), 10, axis=0), y) == (0, 0, 0)
    T = np.tile(np.concatenate([np.eye(5), -np.eye(5)]), (2, 1))      # five directions a class
    assert diversity(T, y) == pytest.approx((1, 5, 5))
    T[:, 0] *= 1e-3
    assert diversity(T, y)[1] == 5 and 4 < diversity(T, y)[2] < 4.1
    T[:, 0] += 100 * y
    assert diversity(T, y).spread < 1e-3


def test_rounding_is_no_diversity():
    T = np.repeat(random(2, 6), 50, axis=0).astype(np.float32)
    T += (1e-7 * abs(T).max() * random(100, 6)).astype(np.float32)
    assert diversity(T, np.repeat([0, 1], 50)).rank == 0


def test_a_label_has_one_template_and_auxiliary_outputs_give_it_many():
    found = {}
    for name in ("tp", "sdtp", "ao-sdtp"):
        rule = build(name, dtype="float32")
        x, y = batch(rule.net, N=200)
        found[name] = template_diversity(rule, x, y)[2]
        targets = target_diversity(rule, x, y)[2]
        if name == "tp":
            assert targets.rank == 0 and targets.spread < 1e-12       # the template is the target
        else:
            assert targets.rank > 10 and targets.spread > 0.1         # the difference adds h
    assert found["tp"].rank == found["sdtp"].rank == 0
    assert found["tp"].spread < 1e-12 and found["sdtp"].spread < 1e-12
    assert found["ao-sdtp"].rank > 10 and found["ao-sdtp"].spread > 0.1


# Update sizes -------------------------------------------------------------------------------------

def test_the_size_of_a_step_is_that_of_the_step():
    for name in RULES:
        rule = build(name, optimizer="sgd", eta=0.1)
        x, y = batch(rule.net)
        g = ask(rule, x, y).gradient
        for i, size in update_sizes(rule, x, y).items():
            want = 0.1 * np.linalg.norm(g[f"W[{i}]"]) / np.linalg.norm(rule.net.W[i])
            assert size == pytest.approx(want)
