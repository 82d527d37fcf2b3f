"""Work in a folder: stopped and gone on with, by one process at a time, on disks that fill."""
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from runs import begun, config, small, watched

from minicredit import checkpoint
from minicredit.__main__ import main
from minicredit.divergence import explained
from minicredit.job import going_on
from minicredit.signals import Signals, Stopped
from minicredit.training import Course, Diverged, epochs

SMALL = ["--net", "64-16-12-10", "--epochs", "2", "--seeds", "2", "--limit", "200", "--batch", "20"]
COMPARE = ["compare", "--rules", "bp,dtp", *SMALL, "--quiet"]


def results(folder):
    """What results.json says, less what may differ between two runs of one seed."""
    found = json.loads((folder / "results.json").read_text())
    found["config"].pop("command")
    for run in found["runs"]:
        run.pop("seconds", None)
        for epoch in run["epochs"]:
            epoch.pop("seconds")
    return found


def final(folder):
    """The weights of every run, by its name."""
    return {home.name: checkpoint.read(checkpoint.paths(home)[0], 2**30).arrays["W[1]"].tobytes()
            for home in (folder / "checkpoints").iterdir() if home.is_dir()}


@pytest.fixture(scope="module", autouse=True)
def quick():
    """No pictures, no memory measured: what stays are the runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minicredit.report.draw", lambda *_, **__: b"drawn")
        patch.setattr("minicredit.compare.peaks",
                      lambda config, *_: dict.fromkeys(config["rules"], 1))
        patch.setattr("minicredit.compare.expected",
                      lambda config, _: dict.fromkeys(config["rules"], 1.0))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a comparison that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert main([*COMPARE, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
    """The folder of one that was stopped in its second run, in the middle of an epoch."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, "dtp-0", 25)
        assert main([*COMPARE, "--out", str(folder)]) == 143
    return folder


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(stopped_once, tmp_path / "out"))


def stop_at(monkeypatch, run, step):
    """A signal comes in that run, in that step."""
    from minicredit.keeper import Keeper
    plain = Keeper.step

    def watched_step(self, rule, done, spent, epochs):
        if (self.folder.name, done) == (run, step):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
        plain(self, rule, done, spent, epochs)

    monkeypatch.setattr(Keeper, "step", watched_step)


def refusal(capsys):
    """What was said, which is one line on stderr."""
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and "Traceback" not in err, err
    return err


# Stopped ------------------------------------------------------------------------------------------

def test_a_comparison_that_goes_on_is_the_one_that_was_never_stopped(stopped, whole):
    assert main([*COMPARE, "--epochs", "3", "--out", str(stopped), "--resume"]) == 2
    assert main([*COMPARE, "--out", str(stopped), "--resume"]) == 0
    assert results(stopped) == results(whole)
    assert final(stopped) == final(whole)
    assert not (stopped / "checkpoints" / "unfinished").exists()


def test_what_was_finished_is_in_the_results_and_how_to_go_on_is_said(tmp_path, monkeypatch,
                                                                      capsys):
    stop_at(monkeypatch, "dtp-0", 25)
    assert main([*COMPARE, "--out", str(tmp_path)]) == 143
    said = refusal(capsys)
    assert "stopped by SIGTERM" in said and "step 25" in said
    assert f"--out {tmp_path} --resume" in said
    assert [(run["rule"], run["seed"]) for run in results(tmp_path)["runs"]] == [("bp", 0)]
    held, _ = checkpoint.newest(tmp_path / "checkpoints" / "dtp-0", 2**30, None)
    assert held.done == 25


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_told_to_stop_finishes_its_step_and_saves(number, tmp_path):
    words = ["train", "dtp", *SMALL[:2], "--epochs", "4000", "--seeds", "1", "--quiet", "--out",
             str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-m", "minicredit", *words], text=True,
                               stderr=subprocess.PIPE, cwd=Path(__file__).parents[1])
    home, end = tmp_path / "checkpoints" / "dtp-0", time.monotonic() + 60
    while len(checkpoint.paths(home)) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err.count("\n") == 1 and "--resume" in err and "Traceback" not in err
    assert checkpoint.newest(home, 2**30, None)[0].done > 0


def test_outside_of_a_step_a_signal_stops_at_once_and_the_second_one_always():
    with Signals() as signals:
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)
        signals.came = None
        with signals.waiting():
            signal.raise_signal(signal.SIGTERM)
            assert signals.came == signal.SIGTERM
            with pytest.raises(Stopped):
                signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("command", ["minicredit compare --out a --quiet",
                                     "minicredit compare --quiet --out=a",
                                     "minicredit compare --quiet --out a --resume"])
def test_the_command_that_goes_on_names_the_folder_once(command, tmp_path):
    assert going_on(command, "b") == "minicredit compare --quiet --out b --resume"


def test_reproduce_goes_on_with_a_row_that_was_stopped(tmp_path, monkeypatch, capsys):
    table = {"title": "digits", "source": "nobody", "rows": {"bp": {"rule": "bp", "options": ""}},
             "train": "--data digits --net 64-8-10 --limit 100 --seeds 2 --epochs 2"}
    monkeypatch.setattr("minicredit.reproduce.read", lambda name: table)
    with monkeypatch.context() as patch:
        stop_at(patch, "bp-1", 5)
        assert main(["reproduce", "digits", "--out", str(tmp_path), "--quiet"]) == 143
    assert (tmp_path / "bp" / "results.json").exists()      # of the seed that was finished
    assert main(["reproduce", "digits", "--out", str(tmp_path), "--quiet"]) == 0
    assert len(json.loads((tmp_path / "bp" / "results.json").read_text())["runs"]) == 2


# Refused ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("given, words", [
    (["--epochs", "3"], ["epochs is 2 in the checkpoint and 3 now"]),
    (["--net", "64-17-10"], ["net is 64-16-12-10 in the checkpoint and 64-17-10 now"]),
    (["--set", "dtp.eta=0.5"], ["rules.dtp.eta is 0.003 in the checkpoint and 0.5 now"]),
    (["--dtype", "float64"], ["dtype is float32", "float64 now"])])
def test_a_checkpoint_of_another_configuration_is_refused_by_the_difference(given, words, stopped,
                                                                           capsys):
    assert main([*COMPARE, *given, "--out", str(stopped), "--resume"]) == 2
    said = refusal(capsys)
    assert all(word in said for word in [*words, "--resume", "bp-0"])


@pytest.mark.parametrize("key", ["minicredit", "numpy"])
def test_a_checkpoint_of_another_version_is_refused_by_the_difference(key, stopped, capsys,
                                                                      monkeypatch):
    from minicredit import compare
    there = compare.versions()
    monkeypatch.setattr(compare, "versions", lambda: {**there, key: "9.9"})
    assert main([*COMPARE, "--out", str(stopped), "--resume"]) == 2
    assert f"{key} is {there[key]} in the checkpoint and 9.9 now" in refusal(capsys)


def test_another_machine_is_a_warning_that_says_what_may_differ(stopped, whole, capsys,
                                                                monkeypatch):
    from minicredit import compare
    there = compare.versions()
    monkeypatch.setattr(compare, "versions", lambda: {**there, "platform": "Plan 9"})
    assert main([*COMPARE, "--out", str(stopped), "--resume"]) == 0
    assert "Plan 9 now" in capsys.readouterr().err


def test_unfinished_work_is_not_begun_anew(stopped, capsys):
    assert main([*COMPARE, "--out", str(stopped)]) == 2
    assert "unfinished work" in refusal(capsys)


def test_finished_work_is(whole, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    assert main([*COMPARE, "--out", str(folder)]) == 0
    assert results(folder) == results(whole)


def test_what_a_killed_process_was_writing_is_cleared_away(stopped):
    left = [stopped / ".results.json.1.part", stopped / "checkpoints/dtp-0/.step-1.1.part"]
    for path in left:
        path.write_bytes(b"half")
    assert main([*COMPARE, "--out", str(stopped), "--resume"]) == 0
    assert not any(path.exists() for path in left)


def test_there_must_be_something_to_go_on_with(tmp_path, capsys):
    assert main([*COMPARE, "--out", str(tmp_path / "none"), "--resume"]) == 2
    assert "none" in refusal(capsys) and list(tmp_path.iterdir()) == []
    assert main([*COMPARE, "--resume"]) == 2
    assert "--out" in refusal(capsys)


def test_a_damaged_newest_checkpoint_is_passed_over_and_the_end_is_the_same(stopped, whole,
                                                                            capsys):
    new, old = checkpoint.paths(stopped / "checkpoints" / "dtp-0")
    new.write_bytes(new.read_bytes()[:-1])
    assert main([*COMPARE, "--out", str(stopped), "--resume"]) == 0
    said = capsys.readouterr().err
    assert str(new) in said and str(old) in said
    assert results(stopped) == results(whole) and final(stopped) == final(whole)


# Locked -------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from minicredit.lock import Lock
with Lock(Path(sys.argv[1]), "here"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_by_the_first_one_s_number_and_a_stale_lock_is_none(
        stopped, whole, capsys):
    lock = stopped / "checkpoints" / "lock"
    owner = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE,
                             text=True, cwd=Path(__file__).parents[1])
    assert owner.stdout.readline() == "held\n"
    assert main([*COMPARE, "--out", str(stopped), "--resume"]) == 2
    assert f"process {owner.pid} on" in refusal(capsys)
    owner.kill()
    owner.communicate()
    assert lock.read_text().startswith(str(owner.pid))          # left behind, and no lock
    assert main([*COMPARE, "--out", str(stopped), "--resume"]) == 0
    assert lock.read_text() == "" and results(stopped) == results(whole)


# Disks --------------------------------------------------------------------------------------------

def full(error, words):
    """A disk that fails to write whatever has one of these words in its name."""
    names = {}

    def seen(name, plain, args):
        if name == "open":
            result = plain()
            names[result] = str(args[0])
            return result
        where = names.get(args[0], "") if name in ("write", "fsync") else ""
        if name == "write" and any(word in where for word in words):
            raise OSError(error, os.strerror(error))
        return plain()
    return seen


@pytest.mark.parametrize("error, words", [(errno.ENOSPC, ["dtp-0/.step-00000020"]),
                                          (errno.EIO, ["results.json"]),
                                          (errno.EROFS, ["report.html"])])
def test_a_disk_that_fills_is_one_line_and_nothing_half_written(error, words, tmp_path, whole,
                                                                capsys):
    with watched(full(error, words)):
        assert main([*COMPARE, "--out", str(tmp_path)]) == 4
    said = refusal(capsys)
    assert os.strerror(error) in said and "kept: step" in said
    assert said.count("to go on: minicredit compare") == 1 and said.endswith("--resume\n")
    assert not list(tmp_path.rglob("*.part"))
    for path in tmp_path.rglob("step-*"):
        assert checkpoint.read(path, 2**30)
    assert main([*COMPARE, "--out", str(tmp_path), "--resume"]) == 0
    assert results(tmp_path) == results(whole) and final(tmp_path) == final(whole)


def test_a_folder_that_vanishes_is_one_line(tmp_path, monkeypatch, capsys):
    from minicredit.keeper import Keeper
    plain = Keeper.epoch

    def vanishing(self, *args):
        shutil.rmtree(tmp_path / "out")
        plain(self, *args)

    monkeypatch.setattr(Keeper, "epoch", vanishing)
    assert main([*COMPARE, "--out", str(tmp_path / "out")]) == 4
    assert "nothing was kept" in refusal(capsys)
    assert list(tmp_path.iterdir()) == []


# Diverged -----------------------------------------------------------------------------------------

WILD = {"eta_inverse": "1e6", "optimizer_inverse": "sgd"}


def test_a_rule_that_diverges_says_where_and_keeps_its_last_good_checkpoint(tmp_path, capsys):
    wild = [word for key, value in WILD.items() for word in ("--set", f"dtp.{key}={value}")]
    with np.errstate(all="ignore"):
        assert main(["compare", "--rules", "dtp,bp", "--activation", "linear", *wild, *SMALL,
                     "--out", str(tmp_path)]) == 0
    assert "diverged" in capsys.readouterr().out
    failed, done = results(tmp_path)["runs"][:2], results(tmp_path)["runs"][2:]
    assert all("failed" not in run and len(run["epochs"]) == 2 for run in done)
    for run in failed:
        assert re.search(r"^DTP: .* of layer \d.* in epoch 1, step \d+; last finite norms: "
                         r".*\|W\[1\]\| \d", run["failed"])
        held, _ = checkpoint.newest(tmp_path / "checkpoints" / f"dtp-{run['seed']}", 2**30, None)
        assert f"the checkpoint of step {held.done} is kept" in run["failed"]


def test_a_single_rule_that_diverges_ends_with_3_and_one_line(tmp_path, capsys):
    wild = [word for key, value in WILD.items() for word in (f"--{key}", value)]
    with np.errstate(all="ignore"):
        assert main(["train", "dtp", "--activation", "linear", *wild, *SMALL, "--quiet", "--out",
                     str(tmp_path)]) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "every run diverged: DTP: " in said


@pytest.mark.parametrize("spoil, bad, words", [
    ("W[2]", "h[2]", "h[2], the activity of layer 2, is not finite"),
    ("V[2]", "h_hat[1]", "h_hat[1], the target of layer 1, is not finite")])
@pytest.mark.parametrize("backend", ["numpy", "emulated"])
def test_the_first_array_that_is_not_finite_is_named_with_its_step(spoil, bad, words, backend,
                                                                   tmp_path):
    """Of an array that breaks between two steps: what it gives first, which is not the loss."""
    job = config("dtp", backend, schedule="parallel")
    rule, keeper = begun(job, "dtp", tmp_path)
    course = Course(rule, small().train, 2, 16, "cosine", 0)
    done, _, _ = keeper.begin(rule, course.split, 16)
    for done, spent, _ in course.epoch(0, 0.0, 3, 1):
        pass
    array = {**rule.net.parameters(), **rule.arrays}[spoil]
    broken = np.array(rule.net.ops.to_numpy(array))
    broken[0, 0] = np.nan
    array[...] = rule.net.ops.asarray(broken)
    keeper.save(rule, 3, 0.0, [])
    text = explained(rule, course, "loss", 4, keeper.last())
    assert words in text and "epoch 1, step 3; last finite norms: |W[1]| " in text
    assert "nan" not in text and f"|{spoil}|" not in text


def test_a_loss_that_is_nan_is_traced_to_what_came_first(tmp_path):
    job = config("bp", eta="1e30", optimizer="sgd")
    job["activation"] = "linear"
    rule, keeper = begun(job, "bp", tmp_path)
    with np.errstate(all="ignore"), pytest.raises(Diverged, match=r"\[\d\], the .* of layer \d"):
        list(epochs(rule, small(), 2, 16, "cosine", 0, None, keeper))
    held = keeper.last()
    assert all(np.isfinite(array).all() for array in held.arrays.values())
