"""Do weights and units change sign?  Counted by hand, and by finite differences, and then asked."""
import json

import numpy as np
import pytest
from conftest import batch, build

from minicredit import UserError, coherent, create, forward
from minicredit.experiments import signs
from minicredit.measure import (SignWatch, effect_signs, inputs_ever_on, logit_slopes,
                                majority_change, unit_effects)
from minicredit.measure.angles import by_example
from minicredit.measure.slopes import count

SIZES = 6, 9, 8, 7, 4


def watched(start, *looks, mask=None):
    """The report on layer 1 of a network whose weights went through these columns."""
    net = create((len(start), 1), dtype="float64")
    net.W[1][:, 0] = start
    watch = SignWatch(net, mask)
    for W in looks:
        net.W[1][:, 0] = W
        watch.see()
    assert watch.looks == len(looks)
    return watch.report()[0]


# Weights ------------------------------------------------------------------------------------------

def test_flips_are_counted_as_by_hand():
    found = watched([1, -1, 3, -3],                     # the dead band is 0.1 sd = 0.22
                    [-0.05, -2, 0, -3],                 # flip: 1
                    [0.05, -2, 0, -3],                  # flip: 1
                    [-0.5, -2, 0, -3],                  # flip: 1, outer: 1
                    [0, -2, 0, -3],
                    [0.5, -2, 0, 2])                    # flip: 1 and 1, outer: 1 and 1
    assert found == (1, 1 / 4, 1 / 2, 0, 5 / 4, 4, 3 / 4, 2 / 4, 1 / 4)


def test_a_weight_that_comes_back_has_flipped_but_not_changed():
    found = watched([1, 2.0], [-1, 2.0], [1, 2.0])
    assert (found.changed, found.ever, found.flips) == (0, 1 / 2, 1)


def test_trembling_at_0_is_no_outer_flip():
    looks = [[(-1)**t * 0.01, 1.0] for t in range(10)]
    found = watched([0.01, 1.0], *looks[1:])
    assert found.most_flips == 9 and found.outer_flips == 0


def test_a_weight_that_starts_at_0_gets_its_first_sign_and_0_is_no_flip():
    found = watched([0, 1.0], [0, 0], [-1, 0], [-2, 1.0])
    assert (found.changed, found.flips, found.zero) == (0, 0, 0)
    assert watched([0, 1.0], [-1, 0], [1, 0])[4:] == (1 / 2, 1, 1 / 2, 1 / 2, 1 / 2)


def test_inputs_that_are_never_on_are_left_out():
    x = np.array([[0, 1, 0], [0, 0, 2.0]])
    mask = inputs_ever_on(x)
    assert mask.tolist() == [False, True, True]
    assert watched([5, 1, 2], [5, -1, 2], mask=mask).changed == 1 / 2
    with pytest.raises(UserError, match="one entry an input"):
        watched([5, 1, 2], mask=mask[1:])


def test_the_watch_changes_nothing_and_serves_every_rule(name):
    rule = build(name)
    watch = SignWatch(rule, mask=np.ones(rule.net.sizes[0], bool))
    for _ in range(3):
        rule.step(*batch(rule.net))
        watch.see()
    assert [count.layer for count in watch.report()] == list(range(1, rule.net.L + 1))
    assert all(0 <= count.changed <= count.ever <= count.flips <= 3 for count in watch.report())


def test_under_kickback_no_weight_above_the_first_layer_ever_flips():
    rule = build("kickback", sizes=(6, 40, 40, 4), eta=0.1)
    watch = SignWatch(rule)
    for t in range(20):
        rule.step(*batch(rule.net, N=20, seed=t))
        watch.see()
    first, *above = watch.report()
    assert first.flips > 0 and all(count.flips == count.outer_flips == 0 for count in above)


# Units --------------------------------------------------------------------------------------------

def outputs(net, h, i):
    """z, from layer i's activity upward."""
    for j in range(i + 1, net.L + 1):
        h = net.layers[j].forward(h)
    return net.output(h)


@pytest.mark.parametrize("name, f", [("bp", "tanh"), ("bp", "relu"), ("kickback", "")])
def test_the_effect_of_a_unit_is_that_of_moving_it(name, f):
    net, step = build(name, sizes=SIZES, f=f).net, 1e-6
    x, _ = batch(net, N=3)
    h, effects = forward(net, x), unit_effects(net, x)
    for i in range(1, net.L):
        got = np.empty(effects[i].shape)                    # (K, N, units)
        for unit in range(got.shape[2]):
            moved = np.zeros(h[i].shape)
            place = (slice(None), unit) if moved.ndim == 2 else \
                (unit // moved.shape[2], slice(None), unit % moved.shape[2])
            moved[place] = step
            slope = (outputs(net, h[i] + moved, i) - outputs(net, h[i] - moved, i)) / (2 * step)
            got[:, :, unit] = (slope - slope.mean(axis=1, keepdims=True)).T
        np.testing.assert_allclose(effects[i], got, atol=1e-8)


def test_the_slope_of_an_output_in_itself_is_1():
    net = build("bp").net
    E = logit_slopes(net, forward(net, batch(net)[0]))
    assert (E[net.L].transpose(1, 0, 2) == np.eye(net.sizes[-1])).all()


@pytest.mark.parametrize("name, f", [("bp", "tanh"), ("bp", "relu"), ("kickback", "")])
def test_effects_sum_to_0_over_classes(name, f):
    net = build(name, sizes=SIZES, f=f).net
    for e in unit_effects(net, batch(net)[0])[1:]:
        assert abs(e.sum(axis=0)).max() < 1e-14


def test_the_effect_of_the_last_hidden_layer_is_its_weights_and_never_varies():
    net = build("bp", sizes=SIZES, f="relu").net
    x, _ = batch(net, N=200)
    W = net.W[net.L]
    want = (W - W.mean(axis=1, keepdims=True)).T[:, None]
    np.testing.assert_allclose(unit_effects(net, x)[net.L - 1], np.repeat(want, 200, axis=1))
    first, *_, last = effect_signs(net, x)
    assert last.both == last.minority == last.divided == 0 and last.mixed == 1
    assert first.both > 0.3 and first.minority > 0.05       # gates above it open and close


def test_in_a_coherent_network_no_effect_ever_changes_sign_and_with_random_signs_it_does():
    for options in ({}, {"signs": "random"}):
        net = coherent.create((6, 80, 80, 80, 4), dtype="float64", **options)
        found = effect_signs(net, batch(net, N=200)[0])
        assert len(found) == 3
        own = found[0].both
        assert own > 0.1 if options else own == found[1].both == found[2].both == 0


def test_minorities_are_counted_as_by_hand():
    e, active = np.zeros((3, 4, 2)), np.ones((4, 2), bool)      # 3 classes, 4 images, 2 units
    e[:, :, 0] = np.outer([2, -1, -1], [1, 1, -1, 1])           # minority 1/4 for each class
    e[:, :, 1] = np.outer([1, -1, 0], [1, -1, -1, -1])
    active[1:, 1] = False                                       # so only its first image counts
    found = count(1, e, active, batch=2)
    assert found.both == 3 / 8                                  # of 5 pairs, and then of 3
    assert found.minority == pytest.approx(3 / 4 / 5) and found.divided == 3 / 5
    assert found.mixed == 1 and found.classes == pytest.approx((4 / 3 + 1 / 2) / 5)
    assert found.majority.tolist() == [[1, 1], [-1, -1], [-1, 0]]


def test_a_unit_that_reaches_no_output_has_no_effect_to_count():
    net = create((1, 2, 1, 2), f="relu", dtype="float64")
    net.b[2][...] = -1e3
    found = effect_signs(net, np.ones((4, 1)))[0]
    assert np.isnan(found.both) and np.isnan(found.mixed) and (found.majority == 0).all()


def test_a_majority_that_turns_is_a_change_and_one_that_vanishes_is_not_counted():
    found = effect_signs(build("bp").net, batch(build("bp").net)[0])[0]
    before = found._replace(majority=np.array([[1, -1, 1, 0]]))
    after = found._replace(majority=np.array([[1, 1, 0, 1]]))
    assert majority_change(before, after) == 1 / 2
    assert np.isnan(majority_change(before, before._replace(majority=0 * before.majority)))


# The experiment -----------------------------------------------------------------------------------

def test_the_experiment_writes_a_table_a_figure_and_everything(tmp_path, capsys):
    arguments = ["--rules", "bp,dtp,kickback", "--data", "digits", "--epochs", "2", "--batch", "50",
                 "--limit", "600", "--out", str(tmp_path), "--quiet"]
    assert signs.main(arguments) == 0
    text = (tmp_path / "signs.md").read_text()
    assert text in capsys.readouterr().out
    results = json.loads((tmp_path / "signs.json").read_text())
    assert (tmp_path / "signs.png").read_bytes()[:4] == b"\x89PNG"
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 3 * 3 and len({line.count("|") for line in table}) == 1
    for run in results["runs"]:
        assert [look["when"] for look in run["seen"]] == ["start", "10 steps", "epoch 1", "epoch 2"]
        assert [look["steps"] for look in run["seen"]] == [0, 10, 12, 24]    # also dtp's, of 48
        assert all(count["changed"] > 0 for count in run["seen"][-1]["weights"][:1])
    above = results["runs"][2]["seen"][-1]["weights"][1:]
    assert all(count["flips"] == 0 for count in above)


def test_the_experiment_refuses_in_one_sentence(tmp_path, capsys):
    for wrong in (["--rules", "bpp"], ["--epochs", "0"], ["--net", "3-2"], ["--data", "none"],
                  ["--batch", "200"]):
        assert signs.main(["--data", "digits", *wrong, "--out", str(tmp_path / "out")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_by_example_puts_networks_side_by_side_one_row_an_example():
    a = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    assert by_example(a).shape == (3, 8) and (by_example(a)[1] == [*a[0, 1], *a[1, 1]]).all()
