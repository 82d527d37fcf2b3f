"""A debugger walks through one step of every rule: what does who steps in see?"""
import bdb
from pathlib import Path

import pytest

import minicredit
from minicredit.kernels import reference
from minicredit.lessons.one_step import main, small
from minicredit.rules import RULES

OURS = Path(minicredit.__file__).parent, Path(reference.__file__).parent
KERNELS = OURS[1]
DEEPEST = 4                                     # step, feedback, layer, operation
LETTERS = {"net", "layers", "ops", "L", "h", "y", "delta", "loss", "i", "e"}
OWN = {"fa": "B", "weight-mirror": "B", "kolen-pollack": "B", "usf": "M", "frsf": "M", "brsf": "M",
       "tp": "G", "dtp": "G", "sdtp": "G", "ao-sdtp": "G", "kickback": "beta"}


class Walk(bdb.Bdb):
    """Steps into everything; `chains` are the names of our functions under way at each line, where
    an operation counts as one whatever it calls among the kernels, and `seen` are the local names
    of each function."""

    def __init__(self):
        super().__init__()
        self.chains, self.seen, self.lines = set(), {}, 0

    def ours(self, frame):
        """Whether a function is the project's; comprehensions are lines and not functions."""
        path = Path(frame.f_code.co_filename)
        return any(path.is_relative_to(folder) for folder in OURS) and \
            not frame.f_code.co_name.startswith("<")

    def note(self, frame):
        """Write down who called whom."""
        chain, up = [], frame
        while up is not None and up.f_code.co_name != "one_step":
            if self.ours(up):
                chain.append(up)
            up = up.f_back
        chain = [one for one, below in zip(chain, [*chain[1:], None]) if below is None
                 or not all(Path(frame.f_code.co_filename).is_relative_to(KERNELS)
                            for frame in (one, below))]
        self.chains.add(tuple(one.f_code.co_name for one in reversed(chain)))
        self.seen.setdefault(frame.f_code.co_name, set()).update(frame.f_locals)

    def user_call(self, frame, _):
        """A function begins."""
        if self.ours(frame):
            self.note(frame)
        self.set_step()

    def user_line(self, frame):
        """A line is about to run."""
        if self.ours(frame):
            self.lines += 1
            self.note(frame)
        self.set_step()

    def user_return(self, frame, _):
        """A function ends: all its names are there."""
        if self.ours(frame):
            self.note(frame)
        self.set_step()


def walked(name):
    """A debugger that has stepped through one step of a rule."""
    rule, x, y = small(name)
    learn, walk = rule.step, Walk()
    learn(x, y)                                 # optimisers make their state at the first step

    def one_step():
        for method in {learn, *rule.passes}:
            method(x, y)
    walk.runcall(one_step)
    return walk


@pytest.mark.parametrize("name", RULES)
def test_a_debugger_is_never_more_than_four_of_our_functions_deep(name):
    walk = walked(name)
    deepest = max(walk.chains, key=len)
    limit = DEEPEST + (name == "brsf")          # it draws weights, as who makes a network does
    assert walk.lines > 30 and 3 <= len(deepest) <= limit, deepest
    assert ("step", "feedback") in {chain[:2] for chain in walk.chains}


@pytest.mark.parametrize("name", RULES)
def test_what_a_debugger_shows_in_feedback_are_the_letters_of_the_paper(name):
    seen = walked(name).seen["feedback"]
    assert {"h", "y", "delta", "L", "loss"} <= seen
    assert OWN.get(name, "e") in seen
    assert not {n for n in seen - LETTERS if len(n) > 8}, seen


@pytest.mark.parametrize("name", RULES)
def test_no_function_on_the_way_only_wraps_another(name):
    for chain in walked(name).chains:
        assert not {"wrapper", "wrapped", "inner", "__call__", "__getattr__", "call", "apply"} & {
            *chain}, chain


@pytest.mark.parametrize("name", RULES)
def test_one_step_of_every_rule_can_be_started(name, capsys):
    main(name)
    assert "loss [" in capsys.readouterr().out
