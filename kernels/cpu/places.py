"""Where the arrays of a step lie: those that are not needed at the same time in the same memory.

What a step makes is ten times what fits a core's second cache, and most of it is read once, by the
next instruction.  Where one such array is no longer needed the next one of its shape begins, so
that it is still near.  Only the tape knows these arrays: nobody will look at what they once were,
and who does sees NaN.  A step in which somebody gets to know one is computed operation by
operation; see `Recorder`.

An array may follow another in its place

    after a wait        between the last instruction that touches one and the first that does the
                        other
    within a stage      if there all go through either row by row, each thread its own rows
"""
from collections import Counter
from sys import getrefcount

import numpy as np

from minicredit.kernels.cpu.memory import empty
from minicredit.kernels.cpu.order import ROWS


def kept(tape):
    """Whether anybody but the tape holds its batch or what its operations made, or a view of that.

    Who holds something is counted: as many as a sample that nobody else holds has, and one for
    every place where the tape has it.  What was made and returned is copied before anybody gets it.
    """
    made, pairs = {id(a): a for a in tape.made()}, tape.pairs()
    found = {**made, **{id(a): a for a in (tape.x, tape.y, *pairs)}}
    held = Counter([*made, id(tape.x), id(tape.y)])         # in `made`, and as the batch
    held.update(id(a) for entry in tape.entries for a in (*entry.args, *entry.outputs()))
    held.update(2 * [id(pair) for pair in pairs])           # in its entry, and in `pairs`
    held[id(tape.result)] += id(tape.result) in made
    found[None] = np.empty(1)                               # the sample
    usual = getrefcount(found[None])
    del found[None]
    return any(getrefcount(found[key]) != usual + held[key] for key in found)


class Life:
    """From the first instruction that touches an array to the last.

    first, last : int, their places in the order
    begins, ends : int, the stages of these
    made : bool, whether the first writes it; or else it is there before, as the batch is
    crossed : set of stages in which some thread touches more than its own rows
    """

    def __init__(self, at, stage, made):
        self.first, self.begins, self.made, self.crossed = at, stage, made, set()

    def touched(self, at, stage, how):
        """By an instruction, the latest so far."""
        self.last, self.ends = at, stage
        if how != ROWS:
            self.crossed.add(stage)

    def follows(self, other):
        """Whether this may lie where the other did."""
        if self.begins > other.ends:
            return True
        return (self.begins == other.ends and self.first > other.last
                and self.begins not in self.crossed | other.crossed)


def lives(stages):
    """The life of every array that the instructions touch; dict by id."""
    found, at = {}, 0
    for number, stage in enumerate(stages):
        for one in stage:
            for key, how, write in one.accesses:
                life = found.setdefault(key, Life(at, number, write))
                life.touched(at, number, how)
            at += 1
    return found


def shared(stages, loose):
    """Memory for arrays that may be moved; their own is filled with NaN.

    Parameters
    ----------
    stages : list of lists of Instruction
    loose : dict of arrays, by id

    Returns
    -------
    dict of arrays, by id: where each lies now; those that were not moved are not in it
    """
    found, last = {}, {}                            # last: by shape, (life, memory) of who was last
    alive = lives(stages)
    moved = [key for key in loose if key in alive and alive[key].made]
    for key in sorted(moved, key=lambda key: alive[key].first):
        array, life = loose[key], alive[key]
        places = last.setdefault((array.shape, array.dtype), [])
        free = [place for place in places if life.follows(place[0])]
        place = max(free, key=lambda place: place[0].last, default=None)
        if place is None:
            place = [life, empty(array.shape, array.dtype)]
            places.append(place)
        place[0] = life
        found[key] = place[1]
        array.view(np.ndarray)[...] = np.nan
    return found
