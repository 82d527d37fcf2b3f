"""The benchmarks for a GPU run on a CPU, keep what they have, and admit nobody who is wrong."""
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from unittest.mock import MagicMock

import pytest

from benchmarks import gpu, gpu_epochs, gpu_steps, gpu_tables, gpu_worker, tasks
from benchmarks.check import Judge
from minicredit.rules import RULES

ROOT = Path(__file__).parents[1]
OPTIONS = {"small": True, "device": "cpu", "rounds": 2, "burst": 0.001, "rules": list(RULES),
           "without": []}
TASK = gpu_steps.tasks(OPTIONS)[0]


def test_a_small_run_without_torch_and_jax_writes_its_tables(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--small", "--only", "steps,epochs",
               "--rules", "dfa", "--without", "torch,jax", "--rounds", "2", "--burst", "0.001",
               "--out", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    page, numbers = (next(tmp_path.glob(f"*.{kind}")).read_text() for kind in ("md", "csv"))
    assert "WRONG" not in page and "FAILED" not in page
    assert "--burst 0.001`, 20" in page and str(tmp_path) not in page
    for name in ("minicredit", "minicredit x20", "minicredit, eager"):
        assert f'"dfa 16-3x8-4 tanh, batch 20, SGD",,{name},' in numbers.replace(f'"{name}"', name)
    assert "| dfa 16-3x8-4 tanh, batch 20, SGD |" in page and "| dfa | " in page


# Contenders ---------------------------------------------------------------------------------------

def test_several_steps_of_jax_at_once_are_the_steps():
    jax = pytest.importorskip("benchmarks.peers_jax", reason="jax is missing", exc_type=ImportError)
    for task in (TASK, tasks.Task("bp", TASK.net, "tanh", 20, "adam")):
        Judge(task).check(lambda problem: jax.Scan(problem, 3))


class Uncaptured:
    """A CUDA graph without CUDA: `torch.cuda.graph` takes no step, and a replay takes them."""

    def __init__(self):
        self.inner, self.steps = None, 0

    def replay(self):
        for _ in range(self.steps):
            self.inner.captured.fill_(self.inner.plain_work())


@contextmanager
def capturing(graph):
    """Count the steps that are asked for, and take none."""
    graph.inner = made = Uncaptured.newest
    made.plain_work, made.captured = made.work, made.x.new_empty(())

    def count():
        graph.steps += 1
        return made.captured
    made.work = count
    yield
    made.work = made.plain_work


@pytest.mark.parametrize("rule, optimizer", [
    (rule, optimizer) for rule in ("bp", "fa", "dfa", "dtp", "ao-sdtp", "kickback")
    for optimizer in (["sgd", "adam"] if rule != "kickback" else ["sgd"])])
@pytest.mark.parametrize("at_once", [1, 3])
def test_what_torch_replays_begins_where_everybody_does(rule, optimizer, at_once, monkeypatch):
    torch = pytest.importorskip("torch")
    from benchmarks import peers_cuda
    for name, fake in {"CUDAGraph": Uncaptured, "graph": capturing, "Stream": MagicMock,
                       "stream": MagicMock(), "current_stream": MagicMock()}.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    task = tasks.Task(rule, TASK.net, "tanh", 20, optimizer)
    kind = peers_cuda.CAREFUL.get(rule, peers_cuda.peers_torch.SummedTargets)

    def on_the_cpu(problem, device):
        Uncaptured.newest = kind(problem, "cpu")
        return Uncaptured.newest
    Judge(task).check(lambda problem: peers_cuda.Captured(problem, on_the_cpu, at_once))


def test_every_task_has_contenders_of_every_library_that_has_the_rule():
    pytest.importorskip("torch"), pytest.importorskip("jax")
    for task in gpu_steps.tasks(OPTIONS):
        assert set(gpu_steps.contenders("ours", task, 3, "cpu")) == {
            "minicredit", "minicredit x20", "minicredit, eager"}
        names = set(gpu_steps.contenders("torch", task, 3, "cuda"))
        assert {"torch, careful", "torch, CUDA graph", "torch, CUDA graph x20"} <= names
        found = set(gpu_steps.contenders("jax", task, 3, "cpu"))
        assert found == ({"jax.jit", "jax.jit x20"} if task.rule in ("bp", "fa", "dfa", "dtp")
                         else set())


def test_every_row_belongs_to_one_process_of_a_library():
    for part in (gpu_steps, gpu_epochs):
        for library in gpu.LIBRARIES:
            options = {**OPTIONS, "small": False}
            rows = [row for name, rows in part.processes(options) for row in rows
                    if name == library]
            assert len(rows) == len(set(rows))


# Processes ----------------------------------------------------------------------------------------

TALKING = """
import json, sys, time
for line in sys.stdin:
    asked = json.loads(line)
    if "prepare" in asked:
        for row in asked["prepare"]:
            print("benchmarks: " + json.dumps({"row": row, "names": ["a"]}), flush=True)
    elif asked["time"][0] == 1:
        raise SystemExit("nothing works")
    else:
        if asked["id"] == 1:
            time.sleep(1)
        print("noise")
        print("benchmarks: " + json.dumps({"id": asked["id"], "seconds": asked["id"]}), flush=True)
"""       # a process that answers as it is told to


@pytest.fixture
def process(monkeypatch):
    """A `gpu.Process` around it."""
    popen = subprocess.Popen
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", lambda command, **how: popen(
            [sys.executable, "-c", TALKING], **how))
        made = gpu.Process("ours", [0, 1], "cpu")
    made.ask(prepare=[0, 1])
    made.hear(monotonic() + 20)
    yield made
    made.end()


def test_an_answer_that_comes_too_late_is_not_taken_for_another(process, monkeypatch):
    monkeypatch.setattr(gpu, "PATIENCE", 0.3)
    with pytest.raises(gpu.Silent, match="said nothing"):
        process.timed(0, "a", 0.1)
    monkeypatch.setattr(gpu, "PATIENCE", 20)
    assert process.timed(0, "a", 0.1)["seconds"] == 2


def test_a_contender_that_dies_is_left_out_and_told(process, tmp_path):
    args = gpu.parser().parse_args(["--small", "--rounds", "2", "--out", str(tmp_path)])
    session = gpu.Session(args, "command")
    first, second = (session.row("steps", gpu_steps, number, [process], 1.0) for number in (0, 1))
    assert len(first["times"]["a"]) == 2
    assert not second["times"] and second["left_out"]["a"] == "died with 1: nothing works"


def test_who_prepares_for_too_long_is_ended_and_told(process):
    process.hear(monotonic() + 0.2)                 # nobody asked it again
    assert "said nothing" in process.said[0]["left_out"]["ours"]


def test_a_row_that_cannot_be_prepared_leaves_the_others_alone(monkeypatch, capsys):
    prepared = gpu_steps.prepare
    monkeypatch.setattr(gpu_steps, "prepare", lambda library, row, options: (
        1 / 0 if row == 7 else prepared(library, row, options)))
    asked = {"part": "steps", "library": "ours", "options": OPTIONS, "seconds": 100}
    clocks = {}
    gpu_worker.prepare({**asked, "prepare": [7, 6]}, clocks)
    assert {row for row, _ in clocks} == {6}
    assert "FAILED: ZeroDivisionError" in capsys.readouterr().out


@pytest.mark.parametrize("call", [0.001, 0.5, 3.0])
def test_a_burst_tells_the_time_of_a_step_and_waits_for_all_that_it_began(monkeypatch, call):
    now, open_calls = [0.0], []

    def finish():
        now[0] += call * len(open_calls)                    # begun at once, done when waited for
        open_calls.clear()
    monkeypatch.setattr(gpu_worker, "perf_counter", lambda: now[0])
    clock = gpu_worker.Clock(lambda: open_calls.append(1), finish, 20)
    for _ in range(2):
        assert clock.burst(1.0) == pytest.approx(call / 20)
    assert now[0] < 2 * (1.5 + 3 * call)


# Tables -------------------------------------------------------------------------------------------

def row(**more):
    """A row of two contenders."""
    return {"group": "steps", "what": "dtp", "times": {
        "minicredit": [1e-4, 1e-4], "minicredit x20": [5e-5, 5e-5], "torch": [1e-3, 2e-3],
        "jax.jit x20": [1e-4, 2e-4]}, "ceilings": [4e13, 4e13], "operations": 2e8, "errors": {},
        "left_out": {"torch.compile": "FAILED"}, **more}


def test_a_contender_is_compared_with_ours_that_takes_as_many_steps_in_a_launch():
    assert gpu_tables.cell(row(), "torch") == "1500, 15.00x (10.00 to 20.00)"
    assert gpu_tables.cell(row(), "jax.jit x20") == "150, 3.00x (2.00 to 4.00)"
    assert gpu_tables.cell(row(), "minicredit") == "100"


def test_the_share_of_the_ceiling_is_that_of_the_best_of_ours():
    page = gpu_tables.markdown([row()], "heading", {})
    assert "| 10 % |" in page and "torch.compile: FAILED" in page


def test_an_epoch_is_its_steps():
    rows = [{"group": "epochs", "what": net, "rule": "bp", "steps": 430, "left_out": {},
             "times": {"minicredit": [1e-3]}} for net in ("mnist-fc", "mnist-lc")]
    assert "| bp | 0.43 | 0.43 |" in gpu_tables.markdown(rows, "heading", {})


def test_a_rung_is_told_in_operations_a_second_and_as_a_share_of_cublas():
    one = row(group="products", what="ladder 4 x 4", times={"cuBLAS": [1e-4], "naive": [2e-3]})
    page = gpu_tables.markdown([one], "heading", {})
    assert "| 4 x 4 | 0.10, 5 % | 2.00 |" in page


def test_the_readme_has_the_markers():
    page = (ROOT / "README.md").read_text()
    assert page.count(gpu_tables.BEGIN) == page.count(gpu_tables.END) == 1
