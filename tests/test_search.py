"""The hyperparameter search: draws what has a range, remembers, and goes on."""
import sys

import optuna
import pytest

from minicredit.__main__ import main
from minicredit.rules import RULES
from minicredit.search import RANGES, searched
from minicredit.settings import options

SMALL = ["--net", "64-8-8-10", "--epochs", "2", "--limit", "100"]


def test_a_search_goes_on_where_it_was_and_names_the_command(tmp_path, capsys):
    storage = f"sqlite:///{tmp_path}/search.db"
    for trials in ("2", "4"):
        assert main(["search", "dtp", *SMALL, "--trials", trials, "--storage", storage]) == 0
        out = capsys.readouterr().out
        assert out.count("trial ") == 2                 # two at first, and two more
    assert "best: " in out and f"minicredit train dtp {' '.join(SMALL)} --eta " in out
    study, = optuna.get_all_study_names(storage)
    assert len(optuna.load_study(study_name=study, storage=storage).trials) == 4


def test_what_was_found_is_what_a_run_with_it_gives(tmp_path, capsys):
    """The value of the best trial is the validation error of the command that is printed."""
    import json
    storage = f"sqlite:///{tmp_path}/search.db"
    assert main(["search", "bp", *SMALL, "--trials", "2", "--storage", storage]) == 0
    capsys.readouterr()
    study, = optuna.get_all_study_names(storage)
    best = optuna.load_study(study_name=study, storage=storage).best_trial
    assert main(["train", "bp", *SMALL, "--seeds", "1", "--eta", repr(best.params["eta"]),
                 "--quiet", "--out", str(tmp_path / "run")]) == 0
    run, = json.loads((tmp_path / "run" / "results.json").read_text())["runs"]
    assert run["validation_error"] == best.value


def test_an_option_that_is_given_is_not_searched():
    assert set(searched("dtp", {})) == {"eta", "eta_inverse", "target_step", "sigma"}
    assert "sigma" not in searched("dtp", {"sigma": "0.3"})


def test_an_option_that_does_nothing_is_not_searched():
    assert "target_step" not in searched("tp", {})
    assert "target_step" in searched("tp", {"first_target": "gradient"})


def test_a_range_that_is_asked_for_is_the_one_that_is_searched(tmp_path, capsys):
    asked = ["eta=2e-5:3e-5", "eta-inverse=1e-6:1e-5", "bridge=.1:1"]
    ranges = searched("dtp", {"sigma": "0.3"}, asked)
    assert ranges == {"eta": (2e-5, 3e-5), "eta_inverse": (1e-6, 1e-5), "bridge": (0.1, 1.0),
                      "target_step": (1e-2, 1.0)}
    assert main(["search", "bp", *SMALL, "--range", "eta=2e-5:3e-5", "--trials", "2", "--storage",
                 f"sqlite:///{tmp_path}/search.db"]) == 0
    out = capsys.readouterr().out
    assert 2e-5 <= float(out.rpartition("--eta ")[2]) <= 3e-5 and "--range" not in out


@pytest.mark.parametrize("text", ["eta", "eta=1", "eta=2:1", "eta=0:1", "eta=1e-4:inf", "eta=a:b",
                                  "momentum=1:2", "optimizer=1:2", "eta=1:2:3", "eta=nan:1"])
def test_a_range_that_is_none_is_refused_in_one_line(text, capsys):
    assert main(["search", "bp", *SMALL, "--range", text, "--storage", "sqlite://"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "--range: wanted" in err


def test_a_range_that_the_rule_refuses_is_refused_before_the_first_trial(capsys):
    assert main(["search", "dtp", *SMALL, "--range", "bridge=0.1:3", "--storage", "sqlite://"]) == 2
    out, err = capsys.readouterr()
    assert "bridge" in err and err.count("\n") == 1 and not out
    assert main(["search", "tp", *SMALL, "--range", "target_step=0.1:0.3", "--storage",
                 "sqlite://"]) == 2                 # which does nothing there
    assert "--range: wanted" in capsys.readouterr().err


def test_a_range_of_an_option_that_is_given_is_refused(capsys):
    assert main(["search", "bp", *SMALL, "--eta", "1e-3", "--range", "eta=1e-4:1e-3", "--storage",
                 "sqlite://"]) == 2
    assert "--eta is given" in capsys.readouterr().err


def test_another_question_is_another_study(tmp_path, capsys):
    storage = f"sqlite:///{tmp_path}/search.db"
    for more in ([], ["--activation", "relu"], ["--limit", "90"], ["--optimizer", "sgd"]):
        assert main(["search", "bp", *SMALL, *more, "--trials", "1", "--storage", storage]) == 0
        assert capsys.readouterr().out.count("trial ") == 1
    assert len(optuna.get_all_study_names(storage)) == 4


def test_a_run_that_diverges_counts_as_the_worst(tmp_path, capsys):
    storage = f"sqlite:///{tmp_path}/search.db"
    with pytest.warns(RuntimeWarning):
        assert main(["search", "bp", *SMALL, "--activation", "relu", "--optimizer", "sgd", "--eta",
                     "1e30", "--trials", "1", "--storage", storage]) == 0
    assert "100.00 %" in capsys.readouterr().out


def test_a_trial_above_the_median_of_earlier_ones_is_stopped_and_counts(tmp_path, capsys,
                                                                         monkeypatch):
    """Five trials are never stopped; the sixth is worse than they were at the same epoch."""
    errors = iter([[10, 9], [20, 9], [30, 9], [40, 9], [50, 9], [31, 1], [29, 1]])
    monkeypatch.setattr("minicredit.search.build", lambda *_, **__: None)
    monkeypatch.setattr("minicredit.search.epochs", lambda *_, **__: (
        {"epoch": n, "validation_error": error} for n, error in enumerate(next(errors), 1)))
    storage = f"sqlite:///{tmp_path}/search.db"
    assert main(["search", "bp", *SMALL, "--trials", "7", "--storage", storage]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["stopped early" in line for line in lines[:7]] == [False] * 5 + [True, False]
    assert lines[7].startswith("best: 1.00 %")              # of the seventh; the sixth never got on


def test_a_storage_that_cannot_be_opened_is_refused_in_one_line(tmp_path, capsys):
    for storage in ("foo", f"sqlite:///{tmp_path}/no/such/folder/search.db"):
        assert main(["search", "bp", *SMALL, "--trials", "1", "--storage", storage]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "--storage" in err


def test_every_range_belongs_to_a_rule_and_holds_its_default():
    known = {option.name: option.default for rule in RULES.values() for option in options(rule)}
    for name, (low, high) in RANGES.items():
        assert low <= known[name] <= high


def test_without_optuna_the_refusal_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["search", "bp"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "minicredit[search]" in err
