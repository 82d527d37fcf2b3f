"""RESULTS.md is what its command writes, and says what the kept results say."""
import json
import os
from pathlib import Path

import pytest

from minicredit import reproduce
from minicredit.experiments import record

ROOT = Path(__file__).parent.parent
SPECS = {"bp": {"rule": "bp", "options": "--eta 1", "published": 2.0},
         "fa": {"rule": "fa", "options": "--eta 2", "published": 5.0},
         "dfa": {"rule": "dfa", "options": "--eta 3", "published": 1.0}}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Two rows of three of a table: bp with three seeds, fa with two."""
    table = {"title": "some digits", "source": "somebody", "train": "", "rows": SPECS}
    monkeypatch.setattr(record, "read", lambda name: table)
    monkeypatch.setattr(record, "TABLES", ("mnist-fc", "mnist-lc"))
    for row, errors in (("bp", [2.4, 2.5, 2.6]), ("fa", [3.0, 3.2])):
        runs = [{"rule": row, "seed": seed, "test_error": error, "train_error": 1.0,
                 "best_epoch": 1, "peak_memory_bytes": 2**20, "seconds": 30.0,
                 "epochs": [{"epoch": 1, "test_error": error, "validation_error": 2.0,
                             "seconds": 30.0, "angle_to_backprop": [0.0]}]}
                for seed, error in enumerate(errors)]
        config = {"command": f"minicredit train {row} {SPECS[row]['options']}", "epochs": 60,
                  "rules": {row: {}}, "backend": "numpy"}
        put(tmp_path / "mnist-fc" / row, {"config": config, "runs": runs,
                                          "versions": {"python": "3", "numpy": "2"}})
    return tmp_path


def put(folder, found):
    """A row's results.json."""
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(found))


def test_what_is_in_the_repository_is_what_the_command_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert record.main(["--out", str(tmp_path / "RESULTS.md")]) == 0
    assert (tmp_path / "RESULTS.md").read_text() == (ROOT / "RESULTS.md").read_text()


def test_every_picture_of_it_is_there():
    for part in (ROOT / "RESULTS.md").read_text().split("](")[1:]:
        assert (ROOT / part.partition(")")[0]).exists()


def test_what_was_not_run_is_named(kept):
    text = record.text(kept)
    assert "**Not run here**: dfa." in text and "kept in this form: mnist-lc." in text


def test_how_far_a_row_is_from_its_published_figure(kept):
    text = record.text(kept)
    assert "- bp: +0.50 points to 2.0 % (above it, unexplained)" in text
    assert record.beside({"rows": SPECS}, {"bp": [2.5]}, {"bp": 2}) == [
        "- bp: +0.50 points to 2.0 % (above it, after 2 epochs)"]
    assert "- fa: -1.90 points to 5.0 % (at or below it)" in text
    assert "- dfa" not in text


def test_a_difference_has_the_standard_error_of_its_definition():
    far, error = record.difference([2.4, 2.5, 2.6], [3.0, 3.2])
    assert far == pytest.approx(0.6)
    assert error == pytest.approx((0.01 / 3 + 0.02 / 2)**0.5)
    assert record.difference([1.0], [2.0, 3.0]) == (1.5, None)


def test_rows_are_told_apart_by_three_standard_errors_and_not_by_one_seed():
    def last(found):
        return [cell.strip() for cell in record.order(found)[-1].split("|")[-3:-1]]

    assert last({"a": [1.0, 1.2], "b": [2.0, 2.2]}) == ["yes", ""]      # 1 beyond 3 x 0.141
    assert last({"a": [1.0, 1.2], "b": [1.4, 1.6]}) == ["**no**", "a"]  # 0.4
    assert last({"a": [1.0, 1.2], "b": [2.0]}) == ["one seed", ""]
    assert last({"a": [1.0, 1.2], "b": [1.3, 1.5], "c": [1.4, 1.7]}) == ["**no**", "a, b"]


def test_a_row_that_was_run_with_other_options_is_refused(kept, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(SPECS, "bp", {**SPECS["bp"], "options": "--eta 9"})
    out = tmp_path / "RESULTS.md"
    assert record.main(["--from", str(kept), "--out", str(out)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "--eta 9" in err and not out.exists()


def test_an_experiment_is_shown_as_it_left_it(kept):
    folder = kept / "some"
    folder.mkdir()
    (folder / "sweep-note.txt").write_text("On a processor.\n")
    (folder / "sweep.md").write_text("| a |\n")
    (folder / "sweep.png").write_bytes(b"")
    lines = record.text(kept)
    assert "## some: sweep\n\n| a |\n\nOn a processor.\n\n![sweep](" in lines


@pytest.mark.parametrize("damage", ["", "{", "{}"])
def test_a_damaged_file_is_refused_in_one_line(damage, kept, capsys):
    (kept / "mnist-fc" / "fa" / "results.json").write_text(damage)
    assert record.main(["--from", str(kept), "--out", str(kept / "RESULTS.md")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_of_a_table_without_rows_is_refused(kept, capsys):
    (kept / "mnist-lc").mkdir()
    assert record.main(["--from", str(kept), "--out", str(kept / "RESULTS.md")]) == 2
    assert "wanted results.json" in capsys.readouterr().err


def test_the_kept_results_name_no_folder_of_one_machine():
    for path in (ROOT / record.HERE).rglob("*.json"):
        assert '/tmp' not in path.read_text() and '"/' not in path.read_text(), path
    assert set(os.listdir(ROOT / record.HERE / "mnist-fc")) - {"note.md"} <= set(
        reproduce.read("mnist-fc")["rows"])
