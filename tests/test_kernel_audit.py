"""Whatever keeps a kernel right is needed: without it, something is found.

Every barrier and every wait is deleted in turn, and for every kernel a few other lines are changed
(`planted_in_kernels.py`).  What is then found by the emulator's checks, or in the numbers, must be
more than nothing; and nothing, where nothing is changed.
"""
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from planted_in_kernels import FAULTS

from minicredit.kernels.cuda import faults, source
from minicredit.kernels.cuda.emulator.device import SCHEDULES, Device
from minicredit.kernels.cuda.trials import TRIALS, Bench

SIZE = 33, 18, 21                       # no multiple of anything
OTHERS = {                              # where that does not come past every wait
    "matmul": [(9, 18, 330)],
    "descend": [(768, 1024, 0)],        # large tiles, no examples: nothing else waits for the rates
    "signed_descend": [(512, 512, 0)],
    "dense_grad": [(9, 18, 330)],
}
IMAGES = [(33, 40, 21), (33, 17, 70)]
WAITS = [(file, number, where) for file in TRIALS
         for number, where in enumerate(faults.listed(file), 1)]
HEADERS = sorted({where for file, _, where in WAITS if not where.startswith(f"{file}.cu:")})
SPARE = {"descend", "signed_descend"}   # come to a header's barrier right behind one of their own


def sizes(file):
    """At which a kernel is put to work here."""
    return [SIZE, *OTHERS.get(file, ()), *(IMAGES if file.startswith(("local", "conv")) else ())]


def noticed(file, text):
    """Whether something is found in a kernel with another text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)             # means over no examples
        return any(faults.findings(file, size, text)[0] for size in sizes(file))


def missed(file, number):
    """What a kernel is without one of its barriers: "wrong", the "same", or it is "unreached"."""
    if noticed(file, faults.without(file, number)):
        return "wrong"
    reached = any(faults.reached(file, number, size) for size in sizes(file))
    return "same" if reached else "unreached"


def planted(file, old, new):
    """Whether something is found in a kernel with a fault in it; None if it cannot be planted."""
    text = source.located(file).read_text()
    return noticed(file, text.replace(old, new, 1)) if old in text else None


@pytest.fixture(scope="module")
def found(request):
    """What becomes of every fault that is asked for, found out on all cores."""
    jobs = {(job, tuple(item.callspec.params[name] for name in names))
            for item in request.session.items
            for test, job, names in ((test_a_barrier_is_needed, missed, ("file", "number")),
                                     (test_a_planted_fault_is_noticed, planted,
                                      ("file", "old", "new")))
            if getattr(item, "function", None) is test}
    jobs |= {(missed, (file, number)) for item in request.session.items
             if getattr(item, "function", None) is test_a_headers_barrier_is_needed_by_a_kernel
             for file, number, where in WAITS if where == item.callspec.params["where"]}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return {(job, args): pool.submit(job, *args) for job, args in jobs}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("file", TRIALS)
def test_nothing_is_found_in_a_kernel_as_it_is(file, dtype):
    for size in (SIZE, (1, 1, 1)):
        assert faults.findings(file, size, dtype=dtype)[0] == []


@pytest.mark.parametrize("file", TRIALS)
@pytest.mark.parametrize("schedule", ["down", "random"])
def test_nothing_is_found_whoever_runs_first(file, schedule):
    assert faults.findings(file, SIZE, schedule=schedule)[0] == []


@pytest.mark.parametrize("file", TRIALS)
def test_a_kernel_gives_the_same_bits_whoever_runs_first(file):
    runs = []
    for schedule in SCHEDULES:
        device = Device(schedule=schedule)
        got, _ = TRIALS[file](Bench(device), *SIZE)
        runs.append([device.to_numpy(x).tobytes() for x in got])
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("file, number, where", WAITS)
def test_a_barrier_is_needed(found, file, number, where):
    """Unless this kernel never comes to it: it may have a header's function for others."""
    became = found[missed, (file, number)].result()
    assert became == "wrong" or where in HEADERS and (became == "unreached" or file in SPARE), \
        f"nobody misses {where}: {became}"


@pytest.mark.parametrize("where", HEADERS)
def test_a_headers_barrier_is_needed_by_a_kernel(found, where):
    users = [(file, number) for file, number, there in WAITS if there == where]
    assert any(found[missed, user].result() == "wrong" for user in users)


# Faults ------------------------------------------------------------------------------------------

PLANTED = [(file, old, new) for file, faulty in FAULTS.items() for old, new in faulty]


def test_every_kernel_has_three_faults_planted_in_it():
    assert set(FAULTS) == set(TRIALS)
    assert min(map(len, FAULTS.values())) >= 3


@pytest.mark.parametrize("file, old, new", PLANTED)
def test_a_planted_fault_is_noticed(found, file, old, new):
    was_noticed = found[planted, (file, old, new)].result()
    assert was_noticed is not None, f"{file}.cu has changed: plant something else"
    assert was_noticed
