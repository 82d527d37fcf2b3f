"""Every lesson runs, with its asserts, in a folder of its own, and is written as lessons are."""
import runpy
import time
from pathlib import Path

import pytest

LESSONS = sorted((Path(__file__).parent.parent / "lessons").glob("l[0-9]*.py"))
SECONDS = 10


def test_there_are_lessons():
    assert LESSONS


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_and_draws(lesson, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = time.perf_counter()
    runpy.run_path(str(lesson), run_name="__main__")
    assert time.perf_counter() - start < SECONDS
    figures = list((tmp_path / "figures").glob(f"{lesson.stem[:3]}_*.png"))
    assert figures and all(figure.stat().st_size > 5000 for figure in figures)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_claims_with_asserts_and_ends_with_something_to_break(lesson):
    text = lesson.read_text()
    assert text.startswith('# %% [markdown]\n"""\n')
    assert text.count("\nassert ") >= 3
    last = text.split("# %%")[-1]
    assert last.startswith(" [markdown]") and "Break it" in last
    assert len(text.splitlines()) <= 200
