"""The table of what searches found."""
import optuna
import pytest

from minicredit.experiments import searches
from minicredit.search import WORST

TRIAL = optuna.trial.create_trial
ETA = {"eta": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)}


@pytest.fixture
def database(tmp_path):
    """A study of four trials that were finished, one of them diverged, and one that was not."""
    url = f"sqlite:///{tmp_path}/search.db"
    study = optuna.create_study(storage=url, study_name="bp digits 64-10 tpe 12345678")
    for eta, error in ((1e-3, 2.5), (2e-3, 2.4), (3e-3, 2.8), (9e-3, WORST)):
        study.add_trial(TRIAL(params={"eta": eta}, distributions=ETA, value=error))
    study.add_trial(TRIAL(params={"eta": 4e-3}, distributions=ETA, value=2.0,
                          state=optuna.trial.TrialState.PRUNED))
    return url


def test_the_best_finished_trial_and_those_near_it(database, tmp_path, capsys):
    assert searches.main([f"mine={database}", "--out", str(tmp_path)]) == 0
    line = (tmp_path / "searches.md").read_text().splitlines()[-1]
    assert line == "| mine | tpe | 5 | 1 | 1 | 2.40 | `--eta 0.002` | 2: eta 1.0e-03 to 2.0e-03 |"
    assert line in capsys.readouterr().out


def test_a_study_of_which_nothing_came_has_a_row(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/search.db"
    study = optuna.create_study(storage=url, study_name="bp digits 64-10 random 12345678")
    study.add_trial(TRIAL(params={"eta": 9e-3}, distributions=ETA, value=WORST))
    assert searches.main([f"x={url}", "--out", str(tmp_path)]) == 0
    assert "| x | random | 1 | 0 | 1 |  |  |  |" in capsys.readouterr().out


def test_a_study_of_somebody_else_is_none_of_ours(database, tmp_path, capsys):
    optuna.create_study(storage=database, study_name="theirs")
    assert searches.main([f"x={database}", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("| x |") == 1


def test_a_password_is_not_shown_and_a_file_that_is_not_there_is_not_made(tmp_path, capsys):
    assert searches.main(["x=postgresql://me:geheim@127.0.0.1:1/no", "--out", str(tmp_path)]) == 2
    assert "geheim" not in capsys.readouterr().err
    assert searches.main([f"x=sqlite:///{tmp_path}/x.db", "--out", str(tmp_path)]) == 2
    assert "there is no" in capsys.readouterr().err and not (tmp_path / "x.db").exists()


@pytest.mark.parametrize("text", ["x", "x=sqlite:////no/such/folder/x.db", "x=sqlite://"])
def test_what_is_no_database_or_empty_is_refused_in_one_line(text, tmp_path, capsys):
    assert searches.main([text, "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "wanted" in err
