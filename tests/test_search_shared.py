"""One study, several processes: in a file of SQLite, and in a PostgreSQL server of its own."""
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress

import optuna
import postgres
import pytest

from minicredit import search as module
from minicredit.__main__ import main

SMALL = ["--net", "64-32-32-10", "--epochs", "5", "--limit", "400"]
TRIALS = 10
# both have imported everything before either begins
WORKER = """
import sys, time
from pathlib import Path
import optuna, sqlalchemy
from minicredit.__main__ import main
ready, go = map(Path, sys.argv[1:3])
ready.touch()
while not go.exists():
    time.sleep(0.01)
sys.exit(main(sys.argv[3:]))
"""
STATES = optuna.trial.TrialState
DONE = STATES.COMPLETE, STATES.PRUNED


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request, tmp_path):
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/search.db"
        return
    if why := postgres.why_not():
        pytest.skip(why)
    with postgres.server() as url:
        yield url


def command(storage, *more):
    """A `search` command."""
    return ["search", "bp", *SMALL, "--sampler", "random", "--trials", str(TRIALS), "--storage",
            storage, *more]


def begin(folder, name, words):
    """A worker that waits for the file `go`."""
    return subprocess.Popen([sys.executable, "-c", WORKER, folder / f"{name}.ready", folder / "go",
                             *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def trials(storage):
    """The trials of the only study there is."""
    if storage.startswith("postgresql:"):
        storage = storage.replace(":", "+psycopg:", 1)
    study, = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=study, storage=storage).get_trials()


def learning(path):
    """Whether a trial has reported something; only reads, and the file may not be there yet."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
            return file.execute("select count(*) from trial_intermediate_values").fetchone()[0]
    except sqlite3.OperationalError:
        return False


def until(true, seconds=180):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_two_processes_share_one_study_and_find_what_one_would(storage, tmp_path, capsys):
    workers = [begin(tmp_path, name, command(storage)) for name in ("a", "b")]
    until(lambda: len(list(tmp_path.glob("*.ready"))) == 2)
    (tmp_path / "go").touch()
    said = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    made = [out.count("trial ") for out, _ in said]
    assert sum(made) == TRIALS          # nothing twice; one may be done before the other begins
    best = {out.splitlines()[-1].split(" --storage")[0] for out, _ in said}
    assert len(best) == 1 and best.pop().startswith("best: ")

    alone = f"sqlite:///{tmp_path}/alone.db"
    assert main(command(alone)) == 0
    shared, single = ({t.number: t.params for t in trials(url) if t.state in DONE}
                      for url in (storage, alone))
    assert shared == single


def test_a_search_that_is_killed_makes_up_for_the_trial_that_was_lost(tmp_path, capsys,
                                                                      monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT", 1)
    monkeypatch.setattr(module, "GRACE", 2)
    storage = f"sqlite:///{tmp_path}/search.db"
    long = ["--epochs", "100000"]                           # it cannot end by itself
    worker = begin(tmp_path, "a", command(storage, *long))
    (tmp_path / "go").touch()
    until(lambda: learning(tmp_path / "search.db"))
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert [t.state for t in trials(storage)] == [STATES.RUNNING]

    def quick(name, config, data, trial, signals):
        """In the place of a hundred thousand epochs."""
        return 100 * trial.params["eta"]

    monkeypatch.setattr(module, "validation_error", quick)
    assert main(command(storage, *long)) == 0
    assert capsys.readouterr().out.count("trial ") == TRIALS
    states = [t.state for t in trials(storage)]
    assert states == [STATES.FAIL, *[STATES.COMPLETE] * TRIALS]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_search_that_is_stopped_says_how_to_go_on(number, tmp_path):
    storage = f"sqlite:///{tmp_path}/search.db"
    worker = begin(tmp_path, "a", command(storage, "--epochs", "100000"))
    (tmp_path / "go").touch()
    until(lambda: learning(tmp_path / "search.db"))
    worker.send_signal(number)
    _, err = worker.communicate(timeout=180)
    assert worker.returncode == 128 + number
    assert err.count("\n") == 1 and f"stopped by {number.name}" in err
    assert "to go on: minicredit search bp" in err
    assert [t.state for t in trials(storage)] == [STATES.FAIL]      # nobody waits for it


def test_a_signal_that_arrives_where_exceptions_are_swallowed_still_stops(tmp_path, monkeypatch,
                                                                          capsys):
    """As in a finalizer of the database's driver, of which Python only says that it ignored it."""
    report, sent = optuna.Trial.report, []

    def swallows(trial, value, step):
        if not sent:
            sent.append(step)
            with suppress(BaseException):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.1)
        report(trial, value, step)

    monkeypatch.setattr(optuna.Trial, "report", swallows)
    assert main(command(f"sqlite:///{tmp_path}/search.db")) == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in capsys.readouterr().err and sent == [1]


# Refusals -----------------------------------------------------------------------------------------

def test_a_server_that_does_not_answer_is_refused_without_the_password(capsys):
    port = postgres.free_port()
    assert main(command(f"postgresql://me:geheim@127.0.0.1:{port}/x")) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "--storage" in err and "geheim" not in err


def test_a_server_that_goes_away_ends_the_search_in_one_line(capsys, monkeypatch):
    if why := postgres.why_not():
        pytest.skip(why)
    with postgres.server() as url:
        stopped = []

        def error(name, config, data, trial, signals):
            """Of the second trial the server hears nothing."""
            if trial.number == 1:
                postgres.end(url)
                stopped.append(True)
            trial.report(9.0, 1)
            return 9.0

        monkeypatch.setattr(module, "validation_error", error)
        assert main(command(url)) == 4
    err = capsys.readouterr().err
    assert stopped and err.count("\n") == 1 and "was lost" in err and "goes on" in err


def test_a_file_that_is_no_database_and_an_unknown_sampler_are_refused(tmp_path, capsys):
    (tmp_path / "search.db").write_bytes(b"certainly not SQLite" * 100)
    for words in (command(f"sqlite:///{tmp_path}/search.db"),
                  command("sqlite://", "--sampler", "grid")):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "wanted" in err


def test_three_digits_are_the_run(monkeypatch):
    """The command that is printed has the numbers that were trained with."""
    assert module.digits(0.00123456) == float("0.00123") and module.digits(0.5) == 0.5


def test_another_backend_is_no_other_study_and_another_sampler_is():
    config = {"data": "digits", "net": "64-10", "backend": "numpy", "command": "a", "seeds": 1}
    one = module.title("bp", config, {}, "random")
    assert one == module.title("bp", {**config, "backend": "cuda"}, {}, "random")
    assert one != module.title("bp", config, {}, "tpe")
