"""The command line: what it makes, and how it refuses."""
import json
import os
import subprocess
import sys

import pytest

from minicredit.__main__ import main
from minicredit.rules import RULES

SMALL = ["--net", "64-16-16-10", "--epochs", "2", "--seeds", "2", "--limit", "200"]


def run(*args, env=None, cwd=None):
    """The command line in its own process."""
    return subprocess.run([sys.executable, "-m", "minicredit", *map(str, args)], cwd=cwd, text=True,
                          capture_output=True, timeout=120, env={**os.environ, **(env or {})})


def without_times(results):
    """`results` less what may differ between two runs of one seed."""
    results["config"].pop("command")
    for record in results["runs"]:
        record.pop("seconds")
        for epoch in record["epochs"]:
            epoch.pop("seconds")
    return results


def test_compare_leaves_results_a_figure_and_a_page(tmp_path):
    done = run("compare", "--rules", "bp,dtp", *SMALL, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"results.json", "figure.png",
                                                               "report.html", "checkpoints"}
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(r["rule"], r["seed"]) for r in results["runs"]] == [("bp", 0), ("bp", 1),
                                                                 ("dtp", 0), ("dtp", 1)]
    for record in results["runs"]:
        assert set(record) >= {"rule", "seed", "epochs", "best_epoch", "test_error", "train_error",
                               "seconds", "peak_memory_bytes"}
        for epoch in record["epochs"]:
            assert set(epoch) == {"epoch", "train_loss", "train_error", "validation_error",
                                  "test_error", "seconds", "angle_to_backprop"}
            assert len(epoch["angle_to_backprop"]) == 3


def test_the_reported_epoch_has_the_lowest_validation_error(tmp_path):
    assert main(["compare", "--rules", "fa", "--net", "64-16-10", "--epochs", "8", "--seeds", "3",
                 "--quiet", "--out", str(tmp_path)]) == 0
    for record in json.loads((tmp_path / "results.json").read_text())["runs"]:
        lowest = min(record["epochs"], key=lambda epoch: epoch["validation_error"])
        assert record["best_epoch"] == lowest["epoch"]
        assert record["test_error"] == lowest["test_error"]
        assert record["train_error"] == lowest["train_error"]


def test_same_seed_same_bits(tmp_path):
    rules = ",".join(RULES)
    for name in ("a", "b"):
        done = run("compare", "--rules", rules, *SMALL, "--quiet", "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    a, b = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("a", "b"))
    assert without_times(a) == without_times(b)


def test_the_configuration_repeats_the_run(tmp_path):
    """Every hyperparameter is in results.json, and giving it again changes nothing."""
    assert main(["train", "dtp", *SMALL, "--sigma", "0.3", "--quiet", "--out",
                 str(tmp_path / "a")]) == 0
    a = json.loads((tmp_path / "a" / "results.json").read_text())
    assert a["config"]["rules"]["dtp"]["sigma"] == 0.3
    again = [f"--{key}={value}" for key, value in a["config"]["rules"]["dtp"].items()]
    assert main(["train", "dtp", *SMALL, *again, "--quiet", "--out", str(tmp_path / "b")]) == 0
    b = json.loads((tmp_path / "b" / "results.json").read_text())
    assert without_times(a) == without_times(b)


def test_a_hyperparameter_reaches_the_rule(tmp_path):
    losses = []
    for sigma in ("0", "1"):
        assert main(["train", "dtp", *SMALL, "--sigma", sigma, "--quiet", "--out",
                     str(tmp_path / sigma)]) == 0
        results = json.loads((tmp_path / sigma / "results.json").read_text())
        losses.append(results["runs"][0]["epochs"][-1]["train_loss"])
    assert losses[0] != losses[1]


def test_a_net_of_locally_connected_and_residual_layers_can_be_written(tmp_path):
    assert main(["compare", "--rules", "bp, dtp", "--net", "8x8x1-lc3x4s2-16-2xres16-10",
                 "--epochs", "1", "--limit", "100", "--set", "dtp.eta-inverse=1e-3", "--augment",
                 "--quiet", "--out", str(tmp_path)]) == 0
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert runs[0]["sizes"] == [64, 64, 16, 16, 16, 10]


def test_set_gives_one_rule_of_a_comparison_its_own_value(tmp_path):
    assert main(["compare", "--rules", "bp,fa", "--set", "fa.eta=0.05", *SMALL, "--quiet", "--out",
                 str(tmp_path)]) == 0
    rules = json.loads((tmp_path / "results.json").read_text())["config"]["rules"]
    assert rules["fa"]["eta"] == 0.05 and rules["bp"]["eta"] != 0.05


def test_a_rule_that_diverges_does_not_stop_the_others(tmp_path, capsys):
    code = main(["compare", "--rules", "bp,fa", "--set", "fa.eta=1e30", "--set",
                 "fa.optimizer=sgd", "--activation", "relu", *SMALL, "--out", str(tmp_path)])
    assert code == 0
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert [("failed" in r, r["rule"]) for r in runs] == [(False, "bp")] * 2 + [(True, "fa")] * 2
    assert "epoch 1" in runs[2]["failed"]
    assert "diverged" in capsys.readouterr().out


def test_when_every_run_diverges_the_exit_code_is_3(tmp_path):
    assert main(["train", "bp", "--eta", "1e30", "--optimizer", "sgd", "--activation", "relu",
                 *SMALL, "--quiet", "--out", str(tmp_path)]) == 3


REFUSALS = [
    (["compare", "--rules", "bp,xx"], ["--rules", "dtp", "'xx'"]),
    (["compare", "--rules", ""], ["--rules", "''"]),
    (["compare", "--data", "imagenet"], ["--data", "digits", "'imagenet'"]),
    (["compare", "--net", "64-abc-10"], ["--net", "64-32-10", "64-abc-10"]),
    (["compare", "--net", "64-0-10"], ["--net", "64-0-10"]),
    (["compare", "--net", "63-10"], ["--net", "64 inputs", "63"]),
    (["compare", "--net", "64-32-9"], ["--net", "10 classes", "9"]),
    (["compare", "--net", "64-999999-999999-10"], ["--net", "1,000,000,000"]),
    (["compare", "--epochs", "0"], ["--epochs", "at least 1", "'0'"]),
    (["compare", "--batch", "1e3"], ["--batch", "'1e3'"]),
    (["compare", "--seeds", "-1"], ["--seeds"]),
    (["compare", "--backend", "jax"], ["backend", "numpy", "'jax'"]),
    (["compare", "--dtype", "float16"], ["--dtype", "float64", "'float16'"]),
    (["compare", "--activation", "gelu"], ["tanh", "'gelu'"]),
    (["compare", "--init", "he"], ["glorot", "'he'"]),
    (["compare", "--decay", "step"], ["--decay", "cosine", "'step'"]),
    (["compare", "--rules", "bp", "--set", "bp.eta"], ["--set", "RULE.OPTION=VALUE"]),
    (["compare", "--rules", "bp", "--set", "fa.eta=1"], ["--set", "fa.eta=1"]),
    (["compare", "--rules", "bp", "--set", "bp.sigma=1"], ["bp", "eta", "'sigma'"]),
    (["train", "xx"], ["RULE", "dtp", "'xx'"]),
    (["train", "dtp", "--sigma", "much"], ["sigma", "a number", "'much'"]),
    (["train", "dtp", "--sigma", "nan"], ["sigma", "a number", "'nan'"]),
    (["train", "dtp", "--eta", "-1"], ["eta", "0 or more", "'-1'"]),
    (["train", "dtp", "--goal", "loud"], ["goal", "noisy", "'loud'"]),
    (["train", "dtp", "--init_inverse", "foo"], ["init_inverse", "glorot", "'foo'"]),
    (["train", "dtp", "--inverse-steps", "0"], ["inverse_steps", "1 or more", "0"]),
    (["train", "sdtp", "--label_step", "2"], ["label_step", "from 0 to 1", "2"]),
    (["train", "dfa", "--most_bytes", "10"], ["feedback weights", "10", "seeded"]),
    (["train", "bp", "--optimizer", "adam:beta1=1"], ["beta1", "below 1", "'1'"]),
    (["train", "kickback", "--activation", "sigmoid"], ["activation", "tanh", "'sigmoid'"]),
    (["compare", "--memory", "much"], ["--memory", "16GiB", "'much'"]),
    (["compare", "--memory", "16GB"], ["--memory", "16GiB", "'16GB'"]),
    (["compare", "--memory", "0"], ["--memory", "'0'"]),
    (["compare", "--rules", "bp", "--memory", "99KiB"], ["bp", "101,376 bytes", "--batch"]),
    (["compare", "--image-size", "64"], ["--image-size", "folder:PATH", "digits"]),
    (["compare", "--data", "folder:nowhere"], ["nowhere"]),
    (["compare", "--net", "8x8x3-lc3x4s1-10"], ["--net", "8x8x1", "8x8x3"]),
    (["compare", "--rules", "kickback", "--net", "8x8x1-lc3x4s1-10"], ["fully connected"]),
    (["train", "weight-mirror", "--net", "64-64-res64-10"], ["residual"]),
    (["search", "bp", "--seeds", "3"], ["--seeds"]),
    (["train", "dtp", "--net", "64-10"], ["hidden layer", "64, 10"]),
    (["train", "bp", "--optimizer", "adam:beta=1"], ["optimizer", "beta1", "'beta'"]),
    (["train", "bp", "--optimizer", "lbfgs"], ["optimizer", "adam", "'lbfgs'"]),
    (["train", "bp", "--nonsense", "1"], ["--nonsense"]),
    (["data", "get", "imagenet"], ["imagenet", "mnist"]),
    (["frobnicate"], ["COMMAND", "compare", "'frobnicate'"]),
    ([], ["COMMAND"]),
]


@pytest.mark.parametrize("args, words", REFUSALS, ids=lambda value: " ".join(value)[:40])
def test_a_refusal_is_one_line_that_names_the_thing_and_leaves_nothing(args, words, tmp_path,
                                                                        monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "Traceback" not in err
    for word in words:
        assert word in err
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_out_is_refused_before_training(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["compare", "--rules", "bp", "--out", str(tmp_path / "file" / "out")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "--out" in err and "file/out" in err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_missing_data_say_how_to_get_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MINICREDIT_DATA", str(tmp_path / "empty"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["compare", "--data", "mnist"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "minicredit data get mnist" in err and "empty" in err


def test_damaged_data_are_refused_with_the_file_s_name(tmp_path, capsys, monkeypatch):
    (tmp_path / "mnist").mkdir()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                 "t10k-labels-idx1-ubyte"):
        (tmp_path / "mnist" / name).write_bytes(b"\0\0\x08\x03" + b"\xff" * 12)
    monkeypatch.setenv("MINICREDIT_DATA", str(tmp_path))
    assert main(["compare", "--data", "mnist", "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "-ubyte" in err
    assert not (tmp_path / "out").exists()


def test_rules_doctor_and_data_list_are_tables(capsys):
    for command, words in ((["rules"], list(RULES)), (["doctor"], ["BLAS", "backend numpy"]),
                           (["data", "list"], ["digits", "cifar10"])):
        assert main(command) == 0
        out = capsys.readouterr().out
        assert all(word in out for word in words)


@pytest.mark.parametrize("rule", RULES)
def test_help_lists_every_hyperparameter_with_its_default(rule, capsys):
    from minicredit.settings import options
    with pytest.raises(SystemExit) as stop:
        main(["train", rule, "--help"])
    assert stop.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    for option in options(RULES[rule]):
        assert f"--{option.name}" in out and f"(default {option.default})" in out
        assert option.text, f"{rule}: the docstring does not explain {option.name}"
