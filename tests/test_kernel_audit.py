"""Whatever keeps a kernel right is needed: without it, something is found.

Every barrier and every wait is deleted in turn, and for every kernel a few other lines are changed
(`planted_in_kernels.py`).  What is then found by the emulator's checks, or in the numbers, must be
more than nothing; and nothing, where nothing is changed.
"""
import warnings

import pytest
from planted_in_kernels import FAULTS

from minicredit.kernels.cuda import faults, source
from minicredit.kernels.cuda.trials import TRIALS

SIZE = 33, 18, 21                       # no multiple of anything
OTHERS = {                              # where that does not come past every wait
    "matmul": [(9, 18, 330)],
    "descend": [(512, 1024, 0)],        # large tiles, no examples: nothing else waits for the rates
    "dense_grad": [(9, 18, 330)],
}
IMAGES = [(33, 17, 70)]
WAITS = [(file, number, where) for file in TRIALS
         for number, where in enumerate(faults.listed(file), 1)]
OWN = [(file, number, where) for file, number, where in WAITS if where.startswith(f"{file}.cu:")]
SHARED = sorted({where for file, _, where in WAITS} - {where for _, _, where in OWN})


def sizes(file):
    """At which a kernel is put to work here."""
    return [SIZE, *OTHERS.get(file, ()), *(IMAGES if file.startswith(("local", "conv")) else ())]


def noticed(file, text):
    """Whether something is found in a kernel with another text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)             # means over no examples
        return any(faults.findings(file, size, text)[0] for size in sizes(file))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("file", TRIALS)
def test_nothing_is_found_in_a_kernel_as_it_is(file, dtype):
    for size in (SIZE, (1, 1, 1)):
        assert faults.findings(file, size, dtype=dtype)[0] == []


@pytest.mark.parametrize("file", TRIALS)
@pytest.mark.parametrize("schedule", ["down", "random"])
def test_nothing_is_found_whoever_runs_first(file, schedule):
    assert faults.findings(file, SIZE, schedule=schedule)[0] == []


@pytest.mark.parametrize("file, number, where", OWN)
def test_a_kernels_own_barriers_are_needed(file, number, where):
    assert noticed(file, faults.without(file, number)), f"nobody misses {where}"


@pytest.mark.parametrize("where", SHARED)
def test_a_shared_functions_barriers_are_needed_by_a_kernel(where):
    """By one at least: some come past it that have waited already, or do not come past at all."""
    users = [(file, number) for file, number, there in WAITS if there == where]
    assert any(noticed(file, faults.without(file, number)) for file, number in users), \
        f"nobody misses {where}"


# Faults ------------------------------------------------------------------------------------------

PLANTED = [(file, old, new) for file, faulty in FAULTS.items() for old, new in faulty]


def test_every_kernel_has_three_faults_planted_in_it():
    assert set(FAULTS) == set(TRIALS)
    assert min(map(len, FAULTS.values())) >= 3


@pytest.mark.parametrize("file, old, new", PLANTED)
def test_a_planted_fault_is_noticed(file, old, new):
    text = source.located(file).read_text()
    assert old in text, f"{file}.cu has changed: plant something else"
    assert noticed(file, text.replace(old, new, 1))
