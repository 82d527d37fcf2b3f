"""A table that is killed in the middle and started again is the table that never was."""
import csv
import signal
import subprocess
import sys
import time

import pytest

from minicredit.__main__ import main

TABLE = {"title": "digits", "source": "nobody",
         "train": "--data digits --net 64-32-32-10 --limit 300 --seeds 2 --epochs 12",
         "rows": {"bp": {"rule": "bp", "options": "--eta 1e-2", "published": 1.5},
                  "dtp": {"rule": "dtp", "options": "--sigma 0.1"},
                  "fa": {"rule": "fa", "options": "--eta 1e-3"}}}
WORKER = f"""
import sys
from minicredit import reproduce
from minicredit.__main__ import main
reproduce.read = lambda name: {TABLE!r}
sys.exit(main(sys.argv[1:]))
"""
MEASURED = "seconds an epoch", "memory MiB"             # of this run on this machine


@pytest.fixture
def table(monkeypatch):
    """The table of three rows, in the place of a published one."""
    monkeypatch.setattr("minicredit.reproduce.read", lambda name: TABLE)


def rows(folder):
    """The table that was written, less what is measured on the machine."""
    with open(folder / "table.csv", newline="") as file:
        return [{key: cell for key, cell in row.items() if key not in MEASURED}
                for row in csv.DictReader(file)]


def stopped(words, when, number):
    """The command in a process of its own, sent a signal at the moment `when` is true."""
    worker = subprocess.Popen([sys.executable, "-c", WORKER, *words], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not when() and worker.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    worker.send_signal(number)
    _, err = worker.communicate(timeout=60)
    return worker.returncode, err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_table_that_was_stopped_twice_is_the_one_that_was_not(number, table, tmp_path, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main(["reproduce", "digits", "--out", str(whole), "--quiet"]) == 0
    words = ["reproduce", "digits", "--out", str(cut), "--quiet"]
    for row, seed in (("bp", 1), ("dtp", 1)):               # within the second seed of a row
        place = cut / row / "checkpoints" / f"{row}-{seed}"
        code, err = stopped(words, lambda: any(place.glob("*")), number)
        assert code == (-number if number == signal.SIGKILL else 128 + number), err
        assert not (cut / "fa").exists() and not (cut / "table.csv").exists()
    kept = (cut / "bp" / "results.json").stat().st_mtime_ns
    assert main(words) == 0
    assert (cut / "bp" / "results.json").stat().st_mtime_ns == kept     # nothing is done twice
    assert len(rows(whole)) == 3 and rows(cut) == rows(whole)
