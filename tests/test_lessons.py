"""Every lesson runs, with its asserts, in a folder of its own, and is written as lessons are."""
import json
import os
import re
import runpy
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from minicredit import lesson_command
from minicredit.__main__ import main
from minicredit.kernels import BackendError, load

ROOT = Path(__file__).parent.parent
LESSONS = list(lesson_command.lessons().values())
SECONDS = 10                    # of processor time, because others may share this machine

# lesson -> what its last cell says to change, and the assertion that it says will fail
BREAKS = {
    1: ("delta2 @ W2.T", "delta2 @ random.standard_normal((3, 6))", "worst <"),
    2: (" * (h[i - 1] > 0)", "", "answer.gradient"),
    3: ("FRESH = False", "FRESH = True", 'end["W to B"]'),
    4: ("SAME = False", "SAME = True", '("fa", "dfa")'),
    5: ("leak = 0.01", "leak = 0", "< 0.4 * np.linalg.norm(apart[0])"),
    6: ("    for i in range(2, L + 1):\n        W[i] = signs",
        "    for i in range(2, L):\n        W[i] = signs", "max(shares) == 0"),
    7: ('return create((64, 48, 48, 10), f="relu"', 'return create((64, 48, 48, 10), f="linear"',
        "last[0].both"),
    8: ('FIRST_TARGET = "label"', 'FIRST_TARGET = "gradient"', "apart < 1e-4"),
    9: ("SIGMA = 0.2", "SIGMA = 0.0", "trace > trace0"),
    10: ("np.concatenate([o, z]", "np.concatenate([o, 0 * z]", "asked.h_hat[2]"),
    11: ("local.W[...] = shared.W", "local.W[:-1] = shared.W", "shared.forward(x)"),
    12: ("64-48-11xres48-10", "64-12xres48-10", "wrong[Rule, True]"),
    13: ("np.triu(y.T @ y)", "(y.T @ y)", "found"),
    14: ("    a += b\n", "", "net.W[i]"),
    15: ("MISSING = 2", "MISSING = 0", '"race" in report'),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of its own, the look of figures as it was, and no figure left open."""
    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context():
        yield tmp_path
    plt.close("all")


def number(lesson):
    return int(lesson.name[1:3])


def ready(lesson):
    """Compile what is compiled once on a machine, or skip what cannot run on this one."""
    if number(lesson) == 14:
        ladder = pytest.importorskip("minicredit.kernels.cpu.ladder")
        one = np.ones((4, 4), np.float32)
        for rung in ladder.RUNGS:
            rung(one, one, one.copy())
    if number(lesson) == 15:
        from minicredit.kernels.cuda.emulator.device import Device
        try:
            Device(checked=True)
        except ImportError as missing:
            pytest.skip(str(missing))


each = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def test_there_are_fifteen_lessons_one_after_the_other():
    assert [number(lesson) for lesson in LESSONS] == list(range(1, 16))


# They run -----------------------------------------------------------------------------------------

@each
def test_a_lesson_runs_and_draws(lesson, tmp_path, capsys):
    ready(lesson)
    start = time.process_time()
    runpy.run_path(str(lesson), run_name="__main__")
    assert time.process_time() - start < SECONDS
    figures = list((tmp_path / "figures").glob(f"{lesson.stem[:3]}_*.png"))
    assert figures and all(figure.stat().st_size > 5000 for figure in figures)
    assert len(capsys.readouterr().out.split()) > 5             # the numbers are printed, too


@each
def test_what_a_lesson_says_to_break_breaks_where_it_says(lesson):
    ready(lesson)
    old, new, where = BREAKS[number(lesson)]
    text = lesson.read_text()
    assert old in text
    with pytest.raises(AssertionError) as caught:
        run_text(text.replace(old, new, 1), lesson)
    assert where in failing(text.replace(old, new, 1), lesson, caught)


def run_text(text, lesson):
    """Run a text in the place of a lesson's."""
    exec(compile(text, str(lesson), "exec"), {"__name__": "__main__"})


def failing(text, lesson, caught):
    """The statement of a lesson that raised."""
    line = [entry for entry in caught.traceback if str(entry.path) == str(lesson)][0].lineno
    return re.split(r"\n(?=\S)", "\n".join(text.splitlines()[line:]))[0]


@pytest.mark.parametrize("wanted, backend", [("1", "numba"), ("3", "numba"), ("9", "numba"),
                                             ("12", "numba"), ("3", "emulated")])
def test_a_lesson_runs_on_other_kernels(wanted, backend, capsys):
    try:
        load(backend)
    except BackendError as missing:
        pytest.skip(str(missing))
    assert main(["lesson", wanted, "--backend", backend]) == 0
    assert "figure: figures" in capsys.readouterr().out


@pytest.mark.parametrize("wanted", ["1", "14"])
def test_a_lesson_runs_where_numba_compiles_nothing(wanted):
    pytest.importorskip("numba")
    run = [sys.executable, "-m", "minicredit", "lesson", wanted, "--backend", "numba"]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "MPLBACKEND": "Agg"}
    ran = subprocess.run(run, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr[-2000:]


# They are written alike ---------------------------------------------------------------------------

@each
def test_a_lesson_claims_with_asserts_and_ends_with_something_to_break(lesson):
    text = lesson.read_text()
    assert text.startswith('# %% [markdown]\n"""\n')
    assert len(re.findall(r"^ *assert ", text, re.M)) >= 3
    last = text.split("# %%")[-1]
    assert last.startswith(" [markdown]") and "# Break it\n# --------\n" in last
    assert len(text.splitlines()) <= 200


@each
def test_a_lesson_opens_with_the_paper_and_what_one_will_know(lesson):
    title, afterwards = lesson_command.about(lesson.read_text())
    prose, head = lesson_command.cells(lesson.read_text())[0]
    assert prose and head.startswith(f"Lesson {number(lesson)}: {title}\n===")
    assert afterwards.startswith("you ") and re.search(r"\b(19|20)\d\d\b", head)
    assert re.search(r"^Reads ``.*\bTakes ", head, re.M | re.S)


@each
def test_the_files_that_a_lesson_names_are_there(lesson):
    for name in re.findall(r"``((?:[\w.]+/)+[\w.]+\.\w+)``", lesson.read_text()):
        assert name.startswith("figures/") or (ROOT / name).exists(), name


@each
def test_a_code_cell_starts_with_code(lesson):
    for prose, body in lesson_command.cells(lesson.read_text()):
        assert prose or (body and not body.startswith("#"))


@each
def test_headings_are_underlined_as_long_as_they_are(lesson):
    for _, body in lesson_command.cells(lesson.read_text()):
        lines = body.splitlines()
        for above, line in zip(lines, lines[1:]):
            if re.fullmatch("=+|-+", line):
                assert len(line) == len(above), above


@each
def test_prose_reads_the_same_as_markdown_and_as_restructured_text(lesson):
    for prose, body in lesson_command.cells(lesson.read_text()):
        plain = re.sub(r"``.*?``|^    .*$", "", body, flags=re.M)
        assert not prose or not re.search(r"\||\w_(\s|$)|(?<!`)`(?!`)", plain), plain


# Notebooks ----------------------------------------------------------------------------------------

@each
def test_a_lesson_is_the_notebook_that_jupytext_makes_of_it(lesson, tmp_path, capsys):
    jupytext = pytest.importorskip("jupytext")
    nbformat = pytest.importorskip("nbformat")
    assert main(["lesson", str(number(lesson)), "--notebook", "made.ipynb"]) == 0
    made = json.loads((tmp_path / "made.ipynb").read_text())
    nbformat.validate(made)
    theirs = jupytext.reads(lesson.read_text(), "py:percent")
    assert len(theirs.cells) == len(made["cells"])
    for ours, cell in zip(made["cells"], theirs.cells):
        assert ours["cell_type"] == cell.cell_type
        want = re.sub(r"::$", ":", cell.source, flags=re.M) if cell.cell_type == "markdown" else \
            cell.source
        assert "".join(ours["source"]) == want


@pytest.mark.parametrize("wanted", [1, 8, 10])
def test_a_notebook_of_jupytext_runs_cell_by_cell(wanted):
    jupytext = pytest.importorskip("jupytext")
    names = {"__name__": "__main__"}
    for cell in jupytext.reads(LESSONS[wanted - 1].read_text(), "py:percent").cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
    assert list(Path("figures").glob("*.png"))


# The commands -------------------------------------------------------------------------------------

def test_the_table_of_contents_names_every_lesson(capsys):
    assert main(["lessons"]) == 0
    shown = capsys.readouterr().out
    assert all(lesson.name[:12] in shown for lesson in LESSONS)


@pytest.mark.parametrize("words, complaint", [
    (["16"], "wanted a number from 1 to 15; got '16'"), (["x"], "got 'x'"),
    (["1", "--backend", "cuda"], "wanted numpy or numba for this lesson; got 'cuda'"),
    (["1", "--notebook", "none/a.ipynb"], "--notebook: wanted a file that can be written")])
def test_a_wrong_word_is_told_in_one_line(words, complaint, capsys):
    assert main(["lesson", *words]) == 2
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1


def test_an_editor_finds_what_it_is_told_to_start():
    launch = json.loads((ROOT / ".vscode" / "launch.json").read_text())
    for one in launch["configurations"]:
        module = one.get("module", "pytest")
        assert one.get("program", "${file}") == "${file}"
        assert module == "pytest" or (ROOT / "lessons" / f"{module.split('.')[-1]}.py").exists()
        assert all((ROOT / word).exists() for word in one.get("args", []) if word.endswith(".py"))
    rules = next(one for one in launch["inputs"] if one["id"] == "rule")["options"]
    from minicredit.rules import RULES
    assert rules == list(RULES)
