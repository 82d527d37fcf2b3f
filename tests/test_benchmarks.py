"""The benchmarks run, admit no contender that is wrong, and count what there is to count."""
import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import check, layers, rules, start, steps, tables, tasks, timing, worker
from benchmarks.__main__ import allowed, parser
from benchmarks.check import BATCHES, Judge, Wrong
from minicredit.kernels import reference

ROOT = Path(__file__).parents[1]
NET, OPTIONS = steps.SMALL, {"rounds": 1, "burst": 0.001, "small": True, "without": [],
                             "threads": 1}
EVERY = [tasks.Task(rule, NET, "tanh", 20, optimizer) for optimizer in ("sgd", "adam")
         for rule in ("bp", "fa", "dfa", "kickback", "dtp", "sdtp", "ao-sdtp")]


def task(rule="dtp", optimizer="sgd"):
    return tasks.Task(rule, NET, "tanh", 20, optimizer)


# The command --------------------------------------------------------------------------------------

def test_a_small_run_without_torch_and_jax_writes_its_tables_and_says_who_is_left_out(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--small", "--threads", "1", "--rounds", "2",
               "--burst", "0.001", "--only", "dtp,targets,lc,rules", "--without", "torch,jax",
               "--out", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    page, numbers = (next(tmp_path.glob(f"*.{kind}")).read_text() for kind in ("md", "csv"))
    assert "torch: not wanted" in page and "jax: not wanted" in page and "WRONG" not in page
    assert "| dtp 16-3x8-4 tanh, batch 20, SGD | 1 |" in page and "kickback: wanted" in page
    assert numbers.startswith("group,what,rule,threads,contender,")
    assert ",minicredit numpy," in numbers


def test_a_library_that_is_not_there_is_left_out_with_its_reason(monkeypatch):
    for library in ("torch", "jax"):
        monkeypatch.setitem(sys.modules, library, None)             # what a failed import leaves
        monkeypatch.delitem(sys.modules, f"benchmarks.peers_{library}", raising=False)
    assert steps.peers([]) == ([], {"torch": "torch is not installed",
                                    "jax": "jax is not installed"})
    row = steps.measure("dtp", 0, OPTIONS)
    assert set(row["times"]) == set(steps.OURS.values()) and "torch" in row["left_out"]


def test_two_threads_are_refused_on_a_machine_that_is_not_quiet_unless_asked():
    assert allowed(parser().parse_args(["--threads", "1"]), 1.0) == ([1], [])
    counts, told = allowed(parser().parse_args([]), 1.0)
    assert counts == [1] and "two threads" in told[0]
    args = parser().parse_args(["--busy"])
    assert allowed(args, 1.0)[0] == allowed(args, 0.0)[0]


# No contender is timed before it is right ---------------------------------------------------------

class Steep(tasks.Ours):
    """A fiftieth too fast."""

    def __init__(self, problem, backend="numpy"):
        super().__init__(problem._replace(eta=1.02 * problem.eta), backend)


class Biased(tasks.Ours):
    """Its last bias does not learn."""

    def step(self):
        b = self.rule.net.b[-1].copy()
        loss = super().step()
        self.rule.net.b[-1][...] = b
        return loss


class Forgetful(tasks.Ours):
    """Adam starts anew at every step."""

    def step(self):
        for optimizer in self.rule.optimizers:
            optimizer.state.clear(), optimizer.t.clear()
        return super().step()


class Silent(tasks.Ours):
    """Leaves out the inverses' noise, once nobody says which."""

    def __init__(self, problem, backend="numpy"):
        super().__init__(problem, backend)
        self.rule.sigma = self.rule.sigma if problem.noise else 0.0


class Short(tasks.Ours):
    """Does not show an array that learns."""

    def arrays(self):
        return {name: array for name, array in super().arrays().items() if name != "V[2]"}


class NotANumber(tasks.Ours):
    """Its loss is none."""

    def step(self):
        return np.nan * super().step()


class Planted:
    """Builds a contender that is wrong."""

    def __init__(self, kind):
        self.kind = kind

    def __call__(self, problem):
        return self.kind(problem, "numpy")


@pytest.mark.parametrize("kind, optimizer", [
    (Steep, "sgd"), (Steep, "adam"), (Biased, "sgd"), (Forgetful, "adam"), (Silent, "sgd"),
    (Silent, "adam"), (Short, "sgd"), (NotANumber, "sgd")])
def test_a_planted_mistake_is_found(kind, optimizer):
    with pytest.raises(Wrong):
        Judge(task(optimizer=optimizer)).check(Planted(kind))


def test_a_few_entries_that_hardly_change_are_not_looked_at_unless_they_are_not_numbers():
    right = {"W": np.ones(100)}
    right["W"][7] = 1e-6
    wrong = {"W": np.ones(100)}
    assert check.off(wrong, right)[0] == 0
    assert check.off({"W": wrong["W"] * 1.1}, right)[0] > 0.09
    wrong["W"][7] = 100.0                           # further than anything may go
    assert check.off(wrong, right)[0] == np.inf
    wrong["W"][7] = np.nan
    assert check.off(wrong, right)[0] == np.inf
    right["W"][:10] = 1e-6                          # that is more than a few
    assert check.off({"W": np.ones(100)}, right)[0] > 0.3


def test_a_contender_that_is_wrong_is_not_timed_and_the_table_says_so(monkeypatch):
    monkeypatch.setattr(steps, "contenders", lambda *_: (
        {"minicredit numpy": steps.Backend("numpy"), "steep": Planted(Steep)}, {}))
    row = steps.measure("dtp", 0, OPTIONS)
    assert list(row["times"]) == ["minicredit numpy"]
    assert row["left_out"]["steep"].startswith("WRONG, not timed")


def test_a_contender_that_fails_leaves_the_others_alone():
    def broken(problem):
        raise RuntimeError("no compiler\nand more")
    left_out, judge = {}, Judge(task("bp"))
    errors = steps.admitted({"broken": broken, "right": steps.Backend("numpy")}, judge, left_out)
    assert list(errors) == ["right"] and "no compiler" in left_out["broken"]
    assert len(judge.truths) <= BATCHES


@pytest.mark.parametrize("one", EVERY, ids=tasks.Task.name)
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_contenders_of_other_libraries_do_what_the_reference_does(one, library):
    module = pytest.importorskip(f"benchmarks.peers_{library}", reason=f"{library} is missing",
                                 exc_type=ImportError)
    judge, found = Judge(one), module.contenders(one)
    for make in (make for name, make in found.items() if name != "torch.compile"):
        judge.check(make)


def test_a_layer_that_is_wrong_is_not_timed():
    class Undivided:
        """The reference, but the gradient is a sum."""

        def __getattr__(self, name):
            return getattr(reference, name)

        def local_grad(self, h, delta, stencil):
            dW, db = reference.local_grad(h, delta, stencil)
            return dW * len(h), db

    case, left_out = layers.case(*layers.SMALL[1], 4), {}
    found = {"right": partial(layers.Ours, ops=reference),
             "wrong": partial(layers.Ours, ops=Undivided())}
    ready, errors = layers.admitted(found, case, left_out)
    assert list(ready) == list(errors) == ["right"]
    assert left_out["wrong"].startswith("WRONG, not timed")


@pytest.mark.parametrize("library", ["torch", "jax"])
@pytest.mark.parametrize("geometry", [*layers.SMALL, ((7, 5, 3), 5, 2, 2), ((4, 4, 1), 2, 3, 1)])
def test_the_layers_of_other_libraries_do_what_the_reference_does(geometry, library):
    pytest.importorskip(library)
    other = "jax" if library == "torch" else "torch"
    case = layers.case(*geometry, 3)
    found, left_out = layers.contenders([other])
    assert layers.admitted(found, case, left_out)[0].keys() == found.keys(), left_out
    assert len(found) > len(steps.OURS)


# What is counted ----------------------------------------------------------------------------------

@pytest.mark.parametrize("one", EVERY[:7], ids=tasks.Task.name)
def test_the_operations_of_a_task_are_those_of_its_products(one, monkeypatch):
    counted = []

    def counting(name, size):
        original = getattr(reference, name)

        def counted_one(*args):
            counted.append(2 * size(*args[:2]))
            return original(*args)
        monkeypatch.setattr(reference, name, counted_one)

    for name in ("dense", "pull_back", "signed_pull_back"):
        counting(name, lambda h, W: h.shape[-2] * W.size)
    counting("signed_dense", lambda h, W: h.shape[-2] * W.size)
    counting("dense_grad", lambda h, delta: h.shape[1] * delta.size)
    counting("signed_grad", lambda h, delta: h.shape[-1] * delta.size)
    contender = tasks.Ours(tasks.problem(one), "numpy")
    counted.clear()
    contender.step()
    assert sum(counted) == tasks.operations(one)


@pytest.mark.parametrize("geometry", [*layers.SMALL, ((7, 5, 3), 5, 2, 2)])
def test_the_operations_of_a_layer_are_the_taps_inside_the_image(geometry):
    case, inside = layers.case(*geometry, 2), 0
    R, C, ch, k, s, top, left, R1, C1 = case.stencil
    for r in range(R1):
        for c in range(C1):
            for i in range(k):
                for j in range(k):
                    row, column = r * s - top + i, c * s - left + j
                    inside += 0 <= row < R and 0 <= column < C
    assert layers.operations(case) == 3 * 2 * 2 * ch * case.W.shape[2] * inside


def test_a_ratio_above_one_means_that_ours_is_the_faster():
    times = {"ours": [1.0, 2.0, 1.0], "theirs": [3.0, 4.0, 2.0]}
    assert timing.ratios(times, "ours", "theirs") == (2.0, 2.0, 3.0)
    assert timing.ratios(times, "ours", "nobody") is None


def test_every_contender_runs_in_every_round_and_no_one_always_first():
    order = []
    ran = {name: (lambda name=name: order.append(name)) for name in "abc"}
    times, ceilings = timing.rounds(ran, 3, 0.0, side=8)
    assert {len(values) for values in (*times.values(), ceilings)} == {3}
    began = [name for n, name in enumerate(order) if not n or order[n - 1] != name]
    assert "".join(began) == "abc" + "abc" + "bca" + "cab"      # all are warm before they count


def test_the_ceiling_is_measured_right_before_and_after_the_first_contender(monkeypatch):
    order, speeds = [], iter(range(6))
    monkeypatch.setattr(timing, "ceiling", lambda side: order.append("!") or next(speeds))
    ran = {name: (lambda name=name: order.append(name)) for name in "abc"}
    _, ceilings = timing.rounds(ran, 3, 0.0, side=8)
    began = [name for n, name in enumerate(order) if not n or order[n - 1] != name]
    assert "".join(began) == "abc" + "!a!bc" + "bc!a!" + "c!a!b" and ceilings == [0.5, 2.5, 4.5]


def test_what_a_step_holds_at_once_is_seen():
    def step():
        return np.ones(4 * 2**20).sum()                             # 32 MiB
    found = timing.transient(step)
    assert found is None or 30 * 2**20 < found < 48 * 2**20


def test_a_rule_that_refuses_a_network_is_told_and_not_timed():
    number = rules.cases(OPTIONS).index((rules.SMALL[1], "kickback"))
    row = rules.measure("rules", number, OPTIONS)
    assert not row["times"] and "fully connected" in row["left_out"]["all"]


def test_a_row_that_fails_is_told_and_the_next_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(steps, "measure", lambda *_: 1 / 0)
    row = {**worker.measured("dtp", 0, OPTIONS), "threads": 1}
    assert row["left_out"]["all"].startswith("FAILED: ZeroDivisionError")
    assert "FAILED" in tables.markdown([row], ["heading"])


# The README ---------------------------------------------------------------------------------------

def test_the_readme_has_the_markers():
    page = (ROOT / "README.md").read_text()
    assert page.count(tables.BEGIN) == page.count(tables.END) == 1
    assert page.index(tables.BEGIN) < page.index(tables.END)


def test_the_writer_replaces_what_is_between_the_markers_and_nothing_else():
    page = f"before\n\n{tables.BEGIN}\nold\n{tables.END}\n\nafter\n"
    once = tables.between_markers(page, "new\n")
    assert once == f"before\n\n{tables.BEGIN}\nnew\n{tables.END}\n\nafter\n"
    assert tables.between_markers(once, "new\n") == once


@pytest.mark.parametrize("page", ["", tables.BEGIN, tables.END + tables.BEGIN,
                                  tables.BEGIN + tables.END + tables.END])
def test_the_writer_refuses_a_page_without_each_marker_once(page):
    with pytest.raises(ValueError, match="wanted"):
        tables.between_markers(page, "new")


def test_a_burst_begins_when_whoever_was_before_is_asleep():
    end = time.perf_counter() + 0.4

    def busy():
        while time.perf_counter() < end:
            pass

    thread = threading.Thread(target=busy)
    thread.start()
    timing.settle()
    assert not thread.is_alive() or time.perf_counter() >= end


@pytest.mark.parametrize("asked, found", [("hidden", False), ("seen", True)])
def test_a_process_whose_start_is_timed_sees_scipy_only_if_it_is_to(asked, found, tmp_path):
    (tmp_path / "scipy.py").write_text("")
    code = start.CODE.partition("import numpy")[0] + "import scipy\nprint(*sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, "dtp", asked], text=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True)
    assert (done.returncode == 0) is found
    assert done.stdout == "dtp\n" if found else "ModuleNotFoundError" in done.stderr
