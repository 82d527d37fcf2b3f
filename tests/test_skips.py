"""What skip connections do for credit: the measures by their definitions, and the experiment."""
import json

import numpy as np
import pytest
from conftest import batch, build

from minicredit.experiments import skips
from minicredit.kernels import reference
from minicredit.keys import WEIGHTS
from minicredit.layers import Dense, Residual
from minicredit.network import Network, forward
from minicredit.presets import make
from minicredit.rules import RULES

COMMAND = ["--data", "digits", "--depth", "4", "--width", "16", "--epochs", "2", "--limit", "300",
           "--quiet"]


def residual(name, f="tanh", n=6, depth=5, **options):
    """A rule on dense, residual ..., residual, dense layers of n units; float64."""
    kinds = [Dense, *[Residual] * (depth - 2), Dense]
    layers = [kind(n, n if i < depth else 4, f if i < depth else "linear", reference, "float64",
                   (0, WEIGHTS, i, 0)) for i, kind in enumerate(kinds, 1)]
    return RULES[name](Network(layers, reference), **options)


# What is measured ---------------------------------------------------------------------------------

def test_on_a_dense_network_the_signal_is_the_length_of_delta():
    bp = build("bp", sizes=(3, 6, 6, 6, 4))
    x, y = batch(bp.net)
    delta = bp.feedback(forward(bp.net, x), y).delta
    size = [np.sqrt((d**2).sum(axis=1).mean()) for d in delta[1:4]]
    got = skips.measured(bp, x, y)
    assert got["signal"] == pytest.approx([s / size[-1] for s in size]) and got["signal"][-1] == 1
    assert got["angle"] == pytest.approx([0, 0, 0], abs=1e-6)
    assert np.isnan([got["toward"], got["inverse"]]).all()


def test_of_a_residual_layers_signal_the_half_that_its_weights_hear_counts():
    bp = residual("bp", f="relu")
    x, y = batch(bp.net)
    delta = bp.feedback(forward(bp.net, x), y).delta
    got = skips.measured(bp, x, y)["signal"]
    top = np.sqrt((delta[4][:, :6]**2).sum(axis=1).mean())
    assert got[1] == pytest.approx(np.sqrt((delta[2][:, :6]**2).sum(axis=1).mean()) / top)
    bp.net.b[4][...] = -100                                 # a silent layer hears nothing: there
    assert np.isnan(skips.measured(bp, x, y)["signal"]).all()           # is nothing to relate to


@pytest.mark.parametrize("bridge", [0.0, 1.0])
def test_across_the_bridge_every_target_lies_down_the_gradient(bridge):
    dtp = residual("dtp", bridge=bridge)
    got = skips.measured(dtp, *batch(dtp.net))["toward"]
    assert got[-1] == pytest.approx(0, abs=1e-5)            # the first target is a gradient step
    assert (max(got[:-1]) < 1e-5) == (bridge == 1)


def test_the_inverse_error_of_layer_i_stands_at_layer_i():
    dtp = residual("dtp")
    for g in dtp.G[2:5]:
        g.W[...] = g.b[...] = 0                             # g_i(h) = h: what the skip alone knows
    x, y = batch(dtp.net)
    h = forward(dtp.net, x)
    got = skips.measured(dtp, x, y)["inverse"]
    assert np.isnan(got[0])
    for i in (2, 3, 4):
        want = ((h[i] - h[i - 1])**2).sum(axis=1).mean() / h[i - 1].var(axis=0).sum()
        assert got[i - 1] == pytest.approx(want)


def test_the_two_networks_differ_in_skips_and_nothing_else():
    loaded = skips.images({"data": "digits", "limit": None, "standardise": False})
    config = skips.configuration(skips.parser().parse_args(COMMAND), "")
    plain, skip = (make(net, dtype="float64") for net in skips.networks(config, loaded).values())
    assert plain.sizes == skip.sizes == (64, 16, 16, 16, 10)
    assert [type(layer) for layer in skip.layers[1:]] == [Dense, Residual, Residual, Dense]
    for i in range(1, 5):
        assert (plain.W[i] == skip.W[i]).all()


# The experiment -----------------------------------------------------------------------------------

def test_the_experiment_writes_a_table_a_figure_and_everything(tmp_path, capsys):
    assert skips.main([*COMMAND, "--out", str(tmp_path)]) == 0
    text = (tmp_path / "skips.md").read_text()
    assert text in capsys.readouterr().out
    assert (tmp_path / "skips.png").read_bytes()[:4] == b"\x89PNG"
    runs = json.loads((tmp_path / "skips.json").read_text())["runs"]
    assert [(run["of"], run["skips"]) for run in runs] == [
        (name, skip) for name in ("bp", "fa", "dtp") for skip in (False, True)]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 6 and len({line.count("|") for line in rows}) == 1
    for run in runs:
        for when in ("start", "end"):
            assert {key: len(values) for key, values in run[when].items()} == dict.fromkeys(
                ("signal", "angle", "toward", "inverse"), 3)
        assert run["start"]["signal"] != run["end"]["signal"] and 0 < run["test_error"] < 100


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_run_that_diverges_stays_in_the_table(tmp_path, capsys):
    assert skips.main([*COMMAND, "--rules", "bp", "--set", "bp.optimizer=sgd", "--set",
                       "bp.eta=1e38", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "not finite" in text and "| bp | yes |" in text
    assert (tmp_path / "skips.png").exists()


def test_the_experiment_refuses_in_one_sentence(tmp_path, capsys):
    for wrong in (["--rules", "bpp"], ["--epochs", "0"], ["--depth", "3"], ["--data", "none"],
                  ["--rules", "kickback"], ["--rules", "weight-mirror"]):
        assert skips.main([*COMMAND, *wrong, "--out", str(tmp_path / "out")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()
