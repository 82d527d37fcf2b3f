"""Epochs, batches and the schedule."""
import numpy as np
import pytest

from minicredit import create, data
from minicredit.rules import RULES
from minicredit.training import Diverged, batches, decayed, epochs


class Recorder:
    """A rule that learns nothing and remembers which images it was shown."""

    def __init__(self, passes=1):
        self.net, self.seen, self.optimizers, self.arrays = create((64, 10)), [], [], {}
        self.passes = [lambda x, y, number=number: self.see(number, x, y)
                       for number in range(passes)]

    def see(self, number, x, y):
        self.seen.append((number, x, y))

    def feedback(self, h, y):
        from minicredit.rules import Told
        loss, delta = self.net.loss(h[1], y)
        return Told(loss, [None, delta])


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def test_an_epoch_shows_every_image_once():
    rows = batches(103, 20, (0, 3, 0, 1))
    assert [len(r) for r in rows] == [20] * 5 + [3]
    assert sorted(np.concatenate(rows)) == list(range(103))


def test_the_order_changes_with_epoch_and_seed_and_is_not_the_file_s():
    orders = [np.concatenate(batches(103, 20, key)) for key in ((0, 3, 0, 1), (0, 3, 0, 2),
                                                               (1, 3, 0, 1), (0, 3, 1, 1))]
    for i, a in enumerate(orders):
        assert (a != np.arange(103)).any()
        assert all((a != b).any() for b in orders[:i])


def test_an_alternating_rule_sees_the_data_once_in_each_pass_pass_after_pass(digits):
    rule = Recorder(passes=2)
    list(epochs(rule, digits, 2, batch=1000))
    n = -(-len(digits.train.y) // 1000)
    assert [number for number, _, _ in rule.seen] == ([0] * n + [1] * n) * 2


def test_images_keep_their_labels(digits):
    rule = Recorder()
    list(epochs(rule, digits, 1, batch=64))
    known = {x.tobytes(): y for x, y in zip(digits.train.x, digits.train.y)}
    assert all(known[row.tobytes()] == label for _, x, y in rule.seen for row, label in zip(x, y))


def test_dtp_alternates_only_when_asked(digits):
    net = create((64, 16, 10))
    assert len(RULES["dtp"](net).passes) == 2
    assert len(RULES["dtp"](net, schedule="parallel").passes) == 1


@pytest.mark.parametrize("decay, at_0, at_half, at_1", [("constant", 1, 1, 1),
                                                        ("linear", 1, 0.51, 0.02),
                                                        ("cosine", 1, 0.5, 0)])
def test_schedules_start_at_1_and_end_where_they_say(decay, at_0, at_half, at_1):
    got = [decayed(decay, s) for s in (0, 0.5, 1)]
    np.testing.assert_allclose(got, [at_0, at_half, at_1], atol=1e-15)


def test_a_schedule_reaches_every_optimiser(digits):
    rule = RULES["dtp"](create((64, 16, 10)))
    list(epochs(rule, digits, 1, batch=256, decay="linear"))
    assert all(0 < optimizer.scale < 0.2 for optimizer in rule.optimizers)


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(digits):
    rule = RULES["bp"](create((64, 16, 10)))
    rule.net.W[1][0, 0] = np.nan
    with pytest.raises(Diverged, match="epoch 1, step 0"):
        list(epochs(rule, digits, 1))


def test_a_run_cut_short_is_the_start_of_the_whole_run(digits):
    """With a constant rate, epoch k does not depend on how many epochs are to follow."""
    short, long = (list(epochs(RULES["dtp"](create((64, 16, 10))), digits, n, batch=64))
                   for n in (1, 3))
    assert short[0]["train_loss"] == long[0]["train_loss"]


def test_shares_told_end_at_one(digits):
    shares = []
    list(epochs(Recorder(), digits, 3, batch=100, tell=shares.append))
    assert shares == sorted(shares) and shares[-1] == 1


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["bp", "fa", "dfa", "dtp", "kickback"])
def test_digits_are_learnt_under_6_percent(rule, digits):
    from minicredit.compare import build
    from minicredit.settings import hyperparameters
    config = {"net": "64-64-64-10", "activation": "tanh", "init": "glorot", "backend": "numpy",
              "dtype": "float32", "rules": {rule: hyperparameters(rule, {})}}
    errors = []
    for seed in range(3):
        run = list(epochs(build(rule, config, digits.K, seed), digits, 40, 32, "cosine", seed))
        errors.append(min(run, key=lambda e: e["validation_error"])["test_error"])
    assert np.mean(errors) < 6
