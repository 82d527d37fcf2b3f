"""What a target must say: auxiliary outputs of every size, and autoencoders."""
import json

import numpy as np
import pytest
from conftest import assert_close, same

from minicredit.compare import build
from minicredit.errors import UserError
from minicredit.experiments import entropy
from minicredit.network import create, forward
from minicredit.rules import RULES
from minicredit.settings import hyperparameters

QUICK = ["--data", "digits", "--limit", "200", "--epochs", "2", "--quiet"]


def quick(*more):
    """The configuration of a short experiment, and its images."""
    args = entropy.parser().parse_args([more[0], *QUICK, *more[1:]])
    config = entropy.configuration(args, "")
    return config, entropy.load(config, args.what)


# The rule that is sdtp where the loss is squared --------------------------------------------------

def coder(name, **more):
    """An autoencoder's rule, and pictures."""
    kind, given = entropy.CODERS[name]
    net = create((12, 9, 4, 9, 12), dtype="float64", loss="squared")
    x = np.random.default_rng(0).random((30, 12))
    return RULES[kind](net, **{**hyperparameters(kind, given), **more}), x


def test_sdtp_hands_down_the_picture_itself_and_no_gradient():
    rule, x = coder("sdtp")
    net, G = rule.net, rule.G
    h = forward(net, x)
    told = rule.feedback(h, x)
    assert_close(told.h_hat[4], x)
    assert_close(told.delta[4], h[4] - x)                   # the top layer follows the loss itself
    for i in (4, 3, 2):
        want = h[i - 1] + G[i].forward(told.h_hat[i]) - G[i].forward(h[i])
        assert_close(told.h_hat[i - 1], want)
        assert_close(told.delta[i - 1], (h[i - 1] - want) * (1 - h[i - 1]**2))


def test_sdtps_inverses_give_back_what_was_there_before_the_noise():
    """Without noise the two goals are one; with it they are not."""
    for sigma, one in ((0.0, True), (0.3, False)):
        gradients = []
        for goal in ("clean", "noisy"):
            rule, x = coder("sdtp", sigma=sigma, **({} if goal == "clean" else {"goal": goal}))
            gradients.append(rule.feedback_gradient(forward(rule.net, x))["V[3]"])
        assert np.allclose(*gradients) == one


def test_the_rule_written_for_labels_refuses_pictures():
    with pytest.raises(UserError, match="label distribution"):
        RULES["sdtp"](create((4, 3, 4), loss="squared"))


@pytest.mark.parametrize("name", entropy.CODERS)
def test_an_autoencoder_learns_under_every_rule(name):
    config, images = quick("autoencoder", "--limit", "1000", "--epochs", "10")
    run = entropy.coded(name, config, images, 0, lambda text: None)
    mean = images.test.x.var(axis=0).mean()                 # the error of the mean picture
    assert run["test"] < 0.9 * mean
    assert run["answers"].shape == (10, 64)


def test_the_squared_error_is_its_definition():
    net = create((5, 3, 5), loss="squared")
    x = np.random.default_rng(1).random((7, 5)).astype(np.float32)
    answer = np.tanh(x @ net.W[1] + net.b[1]) @ net.W[2] + net.b[2]
    assert entropy.wrong(net, x) == pytest.approx(((answer - x)**2).sum() / 35, rel=1e-5)


def test_the_pictures_that_are_shown_are_one_of_each_class():
    _, images = quick("autoencoder")
    assert list(entropy.shown(images).y) == list(range(10))


# The sweep ----------------------------------------------------------------------------------------

def test_no_auxiliary_outputs_are_sdtp():
    config, images = quick("sweep", "--set", "sigma=0.1")
    got = entropy.swept("ao-sdtp", 0, config, images, 0)
    sdtp = {"sdtp": hyperparameters("sdtp", {"sigma": "0.1"})}
    rule = build("sdtp", {**config, "rules": sdtp}, 10, 0)
    seen = list(entropy.epochs(rule, images, config["epochs"], config["batch"], config["decay"], 0))
    assert got["validation_error"] == min(epoch["validation_error"] for epoch in seen)
    assert got["template spread"] == pytest.approx(0, abs=1e-6)


def test_more_auxiliary_outputs_put_more_into_the_template():
    config, images = quick("sweep")
    runs = [entropy.swept("ao-sdtp", n, config, images, 0) for n in (0, 8, 64)]
    spreads = [run["template spread"] for run in runs]
    assert spreads[0] < 0.01 < spreads[1] < spreads[2]


# The command --------------------------------------------------------------------------------------

@pytest.mark.parametrize("what, rows", [("sweep", 4), ("autoencoder", 3)])
def test_each_writes_a_table_a_figure_and_everything_the_same_each_time(what, rows, tmp_path,
                                                                        capsys):
    for name in ("a", "b"):
        assert entropy.main([what, *QUICK, "--sizes", "0,4", "--seeds", "2", "--out",
                             str(tmp_path / name)]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 2 * (2 + rows)
    a, b = (json.loads((tmp_path / name / f"{what}.json").read_text()) for name in ("a", "b"))
    assert a["runs"] == b["runs"] and len(a["runs"]) == 2 * rows
    assert (tmp_path / "a" / f"{what}.md").read_text().splitlines()[2] in out
    assert (tmp_path / "a" / f"{what}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("what, wild", [
    ("sweep", ["optimizer=sgd", "eta=1e38"]),
    ("autoencoder", [f"{name}.{option}" for name in entropy.CODERS
                     for option in ("optimizer=sgd", "eta=1e38")])])
def test_runs_that_diverge_stay_in_the_table(what, wild, tmp_path, capsys):
    sets = [word for option in wild for word in ("--set", option)]
    assert entropy.main([what, *QUICK, "--sizes", "0,4", *sets, "--out", str(tmp_path)]) == 0
    assert "–" in capsys.readouterr().out
    assert "not finite" in (tmp_path / f"{what}.json").read_text()


@pytest.mark.parametrize("wrong", [
    ["sweep", "--data", "none"], ["sweep", "--sizes", "0,x"], ["sweep", "--sizes", "-1"],
    ["sweep", "--epochs", "0"], ["sweep", "--net", "64-8-9"], ["sweep", "--set", "etta=1"],
    ["sweep", "--set", "eta=x"], ["autoencoder", "--net", "64-8-10"],
    ["autoencoder", "--net", "64-64"], ["autoencoder", "--set", "eta=1"],
    ["autoencoder", "--set", "sdtp.eta=x"]])
def test_what_cannot_be_is_refused_in_one_line(wrong, tmp_path, capsys):
    assert entropy.main([wrong[0], *QUICK, *wrong[1:], "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_same_seed_gives_the_same_answers():
    config, images = quick("autoencoder")
    one, two = (entropy.coded("sdtp", config, images, 3, lambda text: None)["answers"]
                for _ in range(2))
    assert same(one, two)
