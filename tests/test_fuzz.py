"""Damaged files: data or one sentence, soon, and in little memory.

Two thousand here; `python tests/fuzz.py` reads a hundred thousand and says how it went.
"""
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz import MEMORY, READERS, changed, fuzz
from runs import scratch

INPUTS = int(os.environ.get("MINICREDIT_FUZZ", 2000))


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_not_damaged_is_read(name):
    files, reader, *_ = READERS[name]
    for data in files():
        with scratch() as folder:
            if name == "IDX":
                reader(data, folder, Chooses(3 if data[3] == 3 else 1))
            else:
                reader(data, folder, random.Random(0))


class Chooses:
    """A random generator that is none."""

    def __init__(self, always):
        self.always = always

    def choice(self, _):
        """What it was told."""
        return self.always


@pytest.mark.parametrize("name", READERS)
def test_damage_is_damage(name):
    good, draw = READERS[name][0](), random.Random(0)
    made = {changed(good[0], good, draw, READERS[name][2]) for _ in range(50)}
    assert len(made) > 40 and len(made - set(good)) > 40


def test_damaged_files_give_data_or_one_sentence_soon_and_in_little_memory():
    """In a process of its own, whose memory is measured."""
    run = [sys.executable, str(Path(__file__).with_name("fuzz.py")), str(INPUTS), "1"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count(" 0 wrong") == len(READERS)


def test_a_reader_that_fails_is_found(monkeypatch):
    def fails(data, folder, draw):
        if len(data) < 40:
            raise ValueError("a fault of ours")
    monkeypatch.setitem(READERS, "IDX", (READERS["IDX"][0], fails, False, False))
    wrong = fuzz(200, 0, ["IDX"], told=lambda line: None, memory=2**50)
    assert wrong and all("ValueError: a fault of ours" in text for text in wrong)


def test_a_reader_that_takes_too_much_memory_is_found(monkeypatch):
    monkeypatch.setitem(READERS, "IDX", (READERS["IDX"][0], lambda *_: None, False, False))
    wrong = fuzz(10, 0, ["IDX"], told=lambda line: None, memory=1)
    assert len(wrong) == 1 and "bytes of memory" in wrong[0]
