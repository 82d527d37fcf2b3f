"""Whatever is typed: it works, or one line says why not, with exit code 2; never a traceback.

Everything up to the first step is real: words, data, networks, memory, folders.  The work itself is
left out where the words are wild, because a person may well ask for a billion epochs, and is done
where they are tame.
"""
import argparse
import io
import os
import tempfile
from contextlib import redirect_stderr, redirect_stdout

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from minicredit import __main__, lesson_command
from minicredit.__main__ import main
from minicredit.arguments import parser
from minicredit.rules import RULES

EXAMPLES = int(os.environ.get("MINICREDIT_EXAMPLES", 60))
MANY = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
                suppress_health_check=list(HealthCheck))
VALUES = ["digits", "mnist", "cifar10", "folder:pictures", "folder:nowhere", "folder:", "64-10",
          "64-16-10", "64-2xres16-10", "8x8x1-lc3x4s2-16-10", "8x8x1-conv3x4s2-10", "mnist-fc",
          "imagenet-lc", "64-999999-10", "64-0-10", "0", "1", "2", "7", "-1", "0.1", "1e-3", "1e6",
          "1e400", "nan", "inf", "-inf", "999999999", "9" * 30, "16GiB", "1KiB", "tanh", "relu",
          "linear", "glorot", "orthogonal", "constant", "cosine", "numpy", "emulated", "cuda",
          "float32", "float64", "float16", "all", "bp", "bp,fa", "bp,bp", "kickback,dtp", ",",
          "bp.eta=0.1", "bp.eta", "dtp.sigma=-1", "bp.optimizer=adam:beta1=2", "adam", "sgd",
          "momentum:mu=0.5", "adam:", "true", "false", "noisy", "clean", "alternating", "parallel",
          "reward", "error", "stored", "seeded", "out", "out/deeper", "pictures/a/0.png",
          "cifar-lc", "dense", "33x18x21", "up", "", " ", "--", "\n", "é", "\udcff", "%s", "{S}",
          "sqlite:///x.db", "not a url"]


def every_command(one, words=()):
    """{words of a command: the options it knows}."""
    options = [text for action in one._actions for text in action.option_strings
               if text not in ("-h", "--help")]
    nested = [action for action in one._actions if isinstance(action, argparse._SubParsersAction)]
    found = {words: options} if words else {}
    for action in nested:
        for name, below in action.choices.items():
            found.update(every_command(below, (*words, name)))
    return found


COMMANDS = every_command(parser())
WORDS = st.one_of(st.sampled_from(VALUES), st.text(st.characters(
    codec="utf-8", exclude_characters="\0/~"), max_size=8), st.integers().map(str),
                  st.floats().map(str))


@st.composite
def lines(draw):
    """A command, some of its options with some values, and now and then words from nowhere."""
    words = draw(st.sampled_from([*COMMANDS, ()]))
    line = list(words)
    for option in draw(st.lists(st.sampled_from(COMMANDS.get(words) or ["--quiet"]), max_size=5)):
        line += draw(st.sampled_from([[option], [option, draw(WORDS)], [option, draw(WORDS)],
                                      [f"{option}={draw(WORDS)}"]]))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        line.insert(draw(st.integers(0, len(line))), draw(WORDS))
    return line


def said(line):
    """The exit code of a command line, and what it says on stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(line)
        except SystemExit as stop:                      # --help
            code = stop.code
    return code, out.getvalue(), err.getvalue()


def check(line, codes=(0, 2)):
    """It works, or it is refused in one line."""
    code, _, err = said(line)
    assert code in codes, (line, code, err)
    if code == 2:
        assert err.count("\n") == 1 and len(err) > len("minicredit: \n"), (line, err)
        assert err[:-1].isprintable(), (line, err)
    assert "Traceback" not in err


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with some pictures, no data elsewhere, and no work that takes long."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINICREDIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (9, 9), (60 * i, 9, 9)).save(tmp_path / "pictures" / name / f"{i}.png")
    return tmp_path


@pytest.fixture
def idle(here, monkeypatch):
    """No run, no search, no download, no lesson, no kernel."""
    from minicredit import kernel_command, search
    monkeypatch.setattr(__main__, "finish", lambda *_: 0)
    monkeypatch.setattr(search, "search", lambda *_: type("Study", (), {"best_params": {},
                                                                        "best_value": 1.0}))
    monkeypatch.setattr("minicredit.data.get", lambda name: name)
    monkeypatch.setattr(lesson_command, "exec", lambda *_: None, raising=False)
    monkeypatch.setattr(kernel_command, "overview", lambda: 0)
    monkeypatch.setattr("minicredit.kernels.cuda.faults.findings", lambda *_: ([], {}))
    monkeypatch.setattr("minicredit.__main__.show_doctor", lambda _: 0)


def test_every_command_is_there_to_be_tried():
    assert ("compare",) in COMMANDS and ("train", "dtp") in COMMANDS and ("data", "get") in COMMANDS
    assert "--sigma" in COMMANDS["train", "dtp"] and "--resume" in COMMANDS[("compare",)]


@MANY
@given(line=lines())
@example(line=["compare", "--out", "a\nb"])
@example(line=["compare", "--rules", "bp", "--out", "\udcff"])
@example(line=["compare", "a\nb"])
@example(line=["compare", "--batch", "999999999"])
@example(line=["compare", "--limit", "1", "--net", "64-10"])
@example(line=["train", "bp", "--epochs", "9" * 5000])
@example(line=["train", "dtp", "--resume"])
@example(line=["reproduce", "mnist-fc", "--out", "pictures/a/0.png"])
@example(line=["train", "bp", "--eta", "1" * 400])
@example(line=["compare", "--data", "folder:" + "a" * 300])
@example(line=["compare", "--out", "a" * 300])
@example(line=["train", "ao-sdtp", "--n_aux", "9" * 30])
def test_whatever_is_typed_works_or_is_refused_in_one_line(idle, line):
    check(line)


TAME = {"--net": ["64-10", "64-8-10", "64-8-6-10", "8x8x1-lc3x2s4-10", "8x8x1-conv3x2s4-10",
                  "64-res8-10"],
        "--activation": ["tanh", "relu", "linear"], "--init": ["glorot", "orthogonal"],
        "--batch": ["1", "7", "50", "5000"], "--decay": ["constant", "linear", "cosine"],
        "--dtype": ["float32", "float64"], "--checkpoint-steps": ["1", "3"],
        "--checkpoint-minutes": ["1"], "--seeds": ["1", "2"]}


@settings(MANY, max_examples=max(8, EXAMPLES // 8))
@given(rule=st.sampled_from(sorted(RULES)), eta=st.sampled_from(["0", "1e-3", "1", "1e6", "1e30"]),
       optimizer=st.sampled_from(["sgd", "adam", "momentum", "rmsprop-centred", "manhattan"]),
       options=st.fixed_dictionaries({}, optional={key: st.sampled_from(values)
                                                   for key, values in TAME.items()}))
def test_a_small_run_ends_diverges_or_is_refused_in_one_line(here, monkeypatch, rule, eta,
                                                             optimizer, options):
    monkeypatch.setattr("minicredit.report.draw", lambda *_, **__: b"drawn")
    monkeypatch.setattr("minicredit.compare.peaks", lambda config, *_: {rule: 1})
    words = [word for pair in options.items() for word in pair]
    check(["train", rule, "--eta", eta, "--optimizer", optimizer, "--epochs", "1", "--limit", "30",
           "--seeds", "1", "--quiet", "--out", tempfile.mkdtemp(dir=here), *words],
          codes=(0, 2, 3))
