"""A run that goes on is the run that was never stopped, wherever it was stopped, however."""
import os
import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from conftest import asked
from runs import begun, config, final, killed, run, same, scratch, small

from minicredit import create, state
from minicredit.data.augment import Augmented
from minicredit.errors import UserError
from minicredit.memory import SAVED
from minicredit.rules import RULES
from minicredit.training import epochs

KILLS = int(os.environ.get("MINICREDIT_KILLS", 20))
KILLED = sorted(RULES) if "MINICREDIT_KILLS" in os.environ else ["ao-sdtp", "brsf", "dtp"]


@pytest.fixture(scope="module")
def images():
    return small()


@pytest.fixture
def folder():
    with scratch() as path:
        yield path


# Stopped and gone on with -------------------------------------------------------------------------

@pytest.mark.parametrize("backend", asked())
@pytest.mark.parametrize("name", sorted(RULES))
def test_a_run_that_goes_on_is_the_run_that_was_never_stopped(name, backend, images, folder):
    """In the middle of an epoch, of each pass, and behind an epoch's last step."""
    job, passes = config(name, backend), 7
    want, end = run(job, name, folder / "whole", images)
    for stop in (3, passes + 2, 2 * passes):
        records, _ = run(job, name, folder / "cut", images, stop=stop)
        assert records is None
    records, state_then = run(job, name, folder / "cut", images)
    assert records == want
    assert same(end, state_then) and same(end, final(folder / "cut"))


def test_everything_that_a_rule_keeps_is_found():
    rule = RULES["dtp"](create((8, 6, 5, 4)))
    rule.step(np.ones((3, 8), np.float32), np.arange(3))
    rule.memory, rule.counts = {"far": [np.zeros(2), (np.ones(3),)]}, {"near": 4}
    arrays, numbers = state.copied(rule)
    assert {"W[1]", "b[3]", "V[2]", "c[2]", "optimizer.state[W[1]][0]", "memory[far][0]",
            "memory[far][1][0]", "optimizer_inverse.state[V[2]][1]"} <= set(arrays)
    assert numbers["t"] == numbers["optimizer.t[W[1]]"] == 1 and numbers["counts[near]"] == 4
    assert len(arrays) == 6 + 2 + 2 * 8 + 2                 # each once


def test_what_is_restored_is_what_was_copied():
    rules = [RULES["brsf"](create((8, 6, 5, 4)), seed=1) for _ in range(2)]
    for t in range(3):
        rules[0].step(np.full((3, 8), t, np.float32), np.arange(3))
    rules[1].step(np.ones((3, 8), np.float32), np.arange(3))
    state.restore(rules[1], *state.copied(rules[0]))
    assert same(state.copied(rules[0]), state.copied(rules[1]))


@pytest.mark.parametrize("lose, told", [("W[2]", "the file has not the array W[2]"),
                                        ("optimizer.t[W[1]]", "the number optimizer.t[W[1]]")])
def test_state_that_lacks_something_is_refused_by_its_name(lose, told):
    rule = RULES["bp"](create((8, 6, 4)))
    rule.step(np.ones((3, 8), np.float32), np.arange(3))
    held = state.copied(rule)
    for part in held:
        part.pop(lose, None)
    with pytest.raises(UserError, match=re.escape(told)):
        state.restore(rule, *held)


def test_state_of_another_shape_or_type_is_refused_with_both():
    held = state.copied(RULES["bp"](create((8, 6, 4))))
    with pytest.raises(UserError, match=r"W\[1\] is float32 \(8, 6\) .*, float32 \(8, 5\) now"):
        state.restore(RULES["bp"](create((8, 5, 4))), *held)
    with pytest.raises(UserError, match="float32 .* float64"):
        state.restore(RULES["bp"](create((8, 6, 4), dtype="float64")), *held)


def test_a_first_step_that_is_undone_changes_nothing(images):
    rule = RULES["dtp"](create((64, 12, 10)))
    before = state.copied(rule)
    state.warm_up(rule, images.train, 16)
    arrays, numbers = state.copied(rule)
    assert all((arrays[name] == array).all() for name, array in before[0].items())
    assert all(numbers[name] == number for name, number in before[1].items())
    assert not any(arrays[name].any() for name in set(arrays) - set(before[0]))


@pytest.mark.parametrize("steps, minutes, want", [(None, None, [0, 7, 14]),
                                                  (3, None, [0, 3, 6, 7, 10, 13, 14]),
                                                  (None, 0.0, list(range(15)))])
def test_a_run_is_saved_after_every_epoch_and_every_n_steps_or_minutes(steps, minutes, want, images,
                                                                       folder):
    rule, keeper = begun(config("bp"), "bp", folder, steps)
    keeper.minutes, saved, plain = minutes, [], keeper.save
    keeper.save = lambda rule, done, *rest: (saved.append(done), plain(rule, done, *rest))
    list(epochs(rule, images, 2, 16, "cosine", 0, None, keeper))
    assert sorted(set(saved)) == want


def test_saving_takes_no_more_memory_than_was_foreseen(images, folder):
    rule, keeper = begun(config("bp", net="64-3000-10"), "bp", folder)
    keeper.begin(rule, images.train, 16)
    tracemalloc.start()
    try:
        keeper.save(rule, 1, 0.0, [])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.05 * (SAVED - 1) * state.size(rule)         # the rule itself is there already


# Killed -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", KILLED)
def test_a_run_that_is_killed_again_and_again_loses_steps_and_nothing_else(name, images, folder):
    """At any moment, and at the calls that write a checkpoint; see runs.killed.

    Set MINICREDIT_KILLS to kill every rule so many times; `python tests/runs.py` says how it went.
    """
    job = config(name)
    _, want = run(job, name, folder, images, steps=3)
    ends = killed(job, name, images, KILLS, seed=0)
    assert all(same(want, end) for end in ends)


# Pictures -----------------------------------------------------------------------------------------

def test_pictures_are_cut_and_flipped_as_if_nothing_had_been(images, folder):
    images = replace(images, train=Augmented(images.train, (8, 8), crop=1))
    job = config("bp")
    want, end = run(job, "bp", folder / "whole", images)
    assert run(job, "bp", folder / "cut", images, stop=4)[0] is None
    assert run(job, "bp", folder / "cut", images)[0] == want
    assert same(end, final(folder / "cut"))
