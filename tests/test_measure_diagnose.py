"""Every disease is planted, and found in the right layer; the healthy are left alone."""
import numpy as np
import pytest
from conftest import batch, build

from minicredit import forward
from minicredit.data import load
from minicredit.measure import diagnose
from minicredit.rules.kickback import Kickback

SIZES = 20, 24, 22, 18, 5


def found(rule, text, x=None, N=100):
    """The layers of the findings that contain `text`; each must say what to try."""
    diagnosis = diagnose(rule, *(batch(rule.net, N=N) if x is None else x))
    lines = str(diagnosis).splitlines()
    assert len(lines) == len(diagnosis) + 1 + diagnosis.healthy
    assert all("Try: " in line and line.endswith(".") for line in lines[:len(diagnosis)])
    severities = [finding.severity for finding in diagnosis]
    assert severities == sorted(severities, reverse=True)
    return [finding.layer for finding in diagnosis if text in str(finding)]


def test_nothing_is_said_against_a_healthy_backprop_before_or_after_training():
    data = load("digits")
    rule = build("bp", sizes=(64, 32, 32, 10), dtype="float32")
    x, y = data.train.x[:300], data.train.y[:300]
    for steps in (0, 100):
        for t in range(steps):
            rule.step(x[t % 10 * 30:][:30], y[t % 10 * 30:][:30])
        diagnosis = diagnose(rule, x, y)
        assert diagnosis == [] and diagnosis.healthy
        assert str(diagnosis).startswith("Nothing wrong found.\nOn these 300 examples: loss ")


def test_nothing_is_said_against_a_coherent_kickback():
    rule = build("kickback", sizes=SIZES)
    assert diagnose(rule, *batch(rule.net, N=100)).healthy


@pytest.mark.parametrize("f", ["tanh", "relu"])
def test_a_nan_is_found_where_it_sits_and_not_where_it_spreads(f):
    rule = build("bp", SIZES, f=f)
    rule.net.W[3][0, 0] = np.nan
    diagnosis = diagnose(rule, *batch(rule.net))
    assert [finding[:3] for finding in diagnosis] == [(3, 3, 1)] and not diagnosis.healthy
    assert "W[3] holds 1 number that is not finite" in str(diagnosis)


def test_infinite_inputs_feedback_weights_and_activities_are_found():
    rule = build("fa", SIZES)
    rule.B[2][:] = np.inf
    assert found(rule, "B[2] holds 528 numbers that are not finite") == [2]
    rule.net.W[4][:] = np.nan
    assert found(rule, "B[2]") == [] and found(rule, "W[4]") == [4]   # it comes first
    x, y = batch(rule.net)
    x[0, 0] = np.inf
    assert found(rule, "x holds 1 number", (x, y)) == [0]
    rule = build("bp", SIZES, f="relu")
    for i in (1, 2, 3):
        rule.net.W[i][...] *= 1e120
    assert found(rule, "h[3] holds") == [3]


def test_weights_of_0_are_found_and_the_layer_below_hears_nothing():
    rule = build("bp", SIZES)
    rule.net.W[3][...] = 0
    assert found(rule, "weights are all 0") == [3]
    assert found(rule, "hears nothing") == [2]


def test_saturated_units_are_found():
    rule = build("bp", SIZES)
    rule.net.W[2][...] *= 100
    assert found(rule, "tanh has no slope there") == [2]


def test_dead_units_are_found():
    rule = build("bp", SIZES, f="relu")
    rule.net.b[2][:15] = -1000
    assert found(rule, "68 % of the units are 0 for every example") == [2]


def test_a_teaching_signal_that_fades_or_grows_is_found():
    rule = build("bp", SIZES)
    rule.net.W[3][...] *= 1e-3
    assert found(rule, "fades to") == [2]
    rule = build("bp", SIZES, f="linear")
    rule.net.W[3][...] *= 1e3
    assert found(rule, "times as loud") == [2]


def test_a_short_target_step_is_no_fading_signal():
    rule = build("dtp", SIZES, target_step=1e-3)
    assert found(rule, "fades to") == []


def test_an_output_without_error_is_found():
    rule = build("bp", SIZES, loss="squared")
    x, _ = batch(rule.net)
    answer = forward(rule.net, x)[4]
    assert found(rule, "nothing to learn here", (x, answer)) == [4]


def test_feedback_that_points_away_is_found():
    rule = build("fa", SIZES)
    for i in (2, 3, 4):
        rule.B[i][...] = rule.net.W[i]
    assert diagnose(rule, *batch(rule.net)).healthy
    rule.B[3][...] *= -1
    assert found(rule, "against backprop's: 180 degrees") == [1, 2]


def test_a_random_inverse_is_found_and_a_learned_one_is_not():
    rule = build("tp", SIZES)
    x, y = batch(rule.net, N=200)
    assert found(rule, "its inverse errs", (x, y)) == [2, 3, 4]
    rule = build("dtp", SIZES, eta_inverse=0.01)
    assert found(rule, "its inverse errs", (x, y)) == [2, 3]
    for _ in range(300):
        rule.learn_inverses(x, y)
    assert found(rule, "its inverse errs", (x, y)) == []


def test_one_target_for_all_of_a_class_is_found():
    assert found(build("tp", SIZES), "same target") == [1, 2, 3]
    assert found(build("tp", SIZES, first_target="gradient"), "same target") == []
    assert found(build("sdtp", SIZES), "same target") == []


def test_an_incoherent_kickback_is_found():
    assert found(incoherent(), "told the opposite of backprop") in ([1], [2], [1, 2])


def incoherent():
    """Kickback on a network of random signs."""
    net = Kickback.create((20, 60, 60, 60, 5), signs="random", dtype="float64")
    return Kickback(net, coherence="off")


def test_a_learning_rate_that_is_too_large_or_too_small_is_found():
    assert found(build("bp", SIZES, eta=1.0), "one step moves the weights by") == [1, 2, 3, 4]
    assert found(build("bp", SIZES, eta=1e-12, optimizer="sgd"), "a larger eta") == [1, 2, 3, 4]
    assert found(build("bp", SIZES, eta=0.0), "a larger eta") == [1, 2, 3, 4]
