"""Published tables, run again: rows are commands, are kept, and are shown as they were measured."""
import json
import re

import pytest

from minicredit.__main__ import main
from minicredit.arguments import configuration, parser
from minicredit.errors import UserError
from minicredit.presets import sizes_of
from minicredit.reproduce import TABLES, finished, read, rows_of, words, write

EVERY_ROW = [(table, row) for table in TABLES for row in read(table)["rows"]]


@pytest.fixture
def table(monkeypatch):
    """A table of two quick rows on the digits."""
    table = {"title": "digits", "source": "nobody",
             "train": "--data digits --net 64-8-10 --limit 100 --seeds 2 --epochs 2",
             "rows": {"bp": {"rule": "bp", "options": "--eta 1e-2", "published": 1.5},
                      "fa-slow": {"rule": "fa", "options": "--eta 1e-4", "remark": "slow"}}}
    monkeypatch.setattr("minicredit.reproduce.read", lambda name: table)
    return table


def job(table, row, *given):
    """The configuration of a row."""
    command = words(table, row, list(given))
    return configuration(parser().parse_args(command), " ".join(command))


@pytest.mark.parametrize("name, row", EVERY_ROW)
def test_every_row_of_every_table_is_a_command_that_can_be_typed(name, row):
    table = read(name)
    config = job(table, row, *() if "--data" in table["train"] else ("--data", "folder:pictures"))
    assert list(config["rules"]) == [table["rows"][row]["rule"]]
    assert config["net"].startswith("imagenet") or sizes_of(config["net"])[-1] == 10


def test_a_table_without_data_of_its_own_wants_to_be_told(capsys):
    assert main(["reproduce", "imagenet-lc"]) == 2
    assert "wanted --data folder:PATH" in capsys.readouterr().err


@pytest.mark.parametrize("name", TABLES)
def test_a_table_names_its_source_and_its_figures_are_errors_in_percent(name):
    table = read(name)
    assert table["title"]
    assert re.search(r"[A-Z]\w+ et al\. 20\d\d|& [A-Z]\w+ 20\d\d", table["source"])
    for spec in table["rows"].values():
        assert set(spec) <= {"rule", "options", "published", "remark"}
        assert 1 < spec.get("published", 50) < 100


def test_an_option_of_the_command_line_outdoes_the_tables_own(table):
    assert job(table, "bp")["epochs"] == 2
    assert job(table, "bp", "--epochs", "7")["epochs"] == 7


def test_rows_are_run_once_and_kept(table, tmp_path, capsys):
    command = ["reproduce", "digits", "--out", str(tmp_path), "--quiet"]
    assert main([*command, "--rows", "bp"]) == 0
    kept = (tmp_path / "bp" / "results.json").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "bp" / "results.json").stat().st_mtime_ns == kept
    assert (tmp_path / "fa-slow" / "results.json").exists()
    out = capsys.readouterr().out
    assert "| fa-slow | `--eta 1e-4` |" in out
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 3


def test_a_row_that_was_run_otherwise_is_refused_by_naming_the_difference(table, tmp_path, capsys):
    command = ["reproduce", "digits", "--rows", "bp", "--out", str(tmp_path), "--quiet"]
    assert main(command) == 0
    assert main([*command, "--epochs", "3"]) == 2
    assert "holds this row with epochs 2, and now epochs is 3" in capsys.readouterr().err


def test_another_backend_is_no_other_row(table, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"config": job(table, "bp")}))
    assert finished(tmp_path, job(table, "bp", "--backend", "numba"))
    with pytest.raises(UserError, match="seeds"):
        finished(tmp_path, job(table, "bp", "--seeds", "1"))


def test_the_table_tells_the_chosen_and_the_best_test_error_apart(table, tmp_path):
    epochs = [{"epoch": 1, "test_error": 4.0, "validation_error": 9.0, "seconds": 2.0},
              {"epoch": 2, "test_error": 5.0, "validation_error": 6.0, "seconds": 2.0,
               "angle_to_backprop": [12.4, None]}]
    run = {"rule": "bp", "seed": 0, "epochs": epochs, "best_epoch": 2, "test_error": 5.0,
           "train_error": 1.0, "peak_memory_bytes": 3 * 2**20}
    folder = tmp_path / "bp"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(
        {"config": job(table, "bp"), "versions": {}, "runs": [run]}))
    head, _, line = write(table, tmp_path)
    cells = dict(zip(head.strip("| ").split(" | "), line.strip("| ").split(" | ")))
    assert cells["test error %"] == "**5.00**" and cells["best on test %"] == "4.00"
    assert cells["published %"] == "1.5" and cells["chosen"] == "2"
    assert cells["memory MiB"] == "3" and cells["angle to backprop, layers 1..L"] == "12 -"


def test_a_row_that_diverged_says_so(table, tmp_path):
    folder = tmp_path / "bp"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(
        {"config": job(table, "bp"), "versions": {},
         "runs": [{"rule": "bp", "seed": 0, "epochs": [], "failed": "not finite"}]}))
    assert "**diverged**" in write(table, tmp_path)[2]


def test_an_unknown_table_or_row_is_refused_by_naming_the_known(table, capsys):
    with pytest.raises(UserError, match="wanted all or some of bp, fa-slow; got 'dtp'"):
        rows_of(table, "bp,dtp")


def test_an_unknown_table_is_refused(capsys):
    assert main(["reproduce", "table-9"]) == 2
    assert "wanted one of " in capsys.readouterr().err
