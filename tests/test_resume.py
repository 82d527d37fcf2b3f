"""A run that goes on is the run that was never stopped, wherever it was stopped, however."""
import os
import signal

import pytest
from runs import config, final, killed, run, same, scratch, small

from minicredit import state
from minicredit.kernels import load
from minicredit.rules import RULES

BACKENDS = [name for name in os.environ.get("MINICREDIT_BACKENDS", "numpy,numba,emulated").split(",")
            if name != "cuda"]
KILLS = int(os.environ.get("MINICREDIT_KILLS", 20))


@pytest.fixture(scope="module")
def images():
    return small()


@pytest.fixture
def folder():
    with scratch() as path:
        yield path


# Stopped and gone on with -------------------------------------------------------------------------

@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", sorted(RULES))
def test_a_run_that_goes_on_is_the_run_that_was_never_stopped(name, backend, images, folder):
    """In the middle of an epoch, of each pass, and behind an epoch's last step."""
    try:
        load(backend)
    except ImportError as missing:
        pytest.skip(str(missing))
    job, passes = config(name, backend), 7
    want, end = run(job, name, folder / "whole", images)
    for stop in (3, passes + 2, 2 * passes):
        records, _ = run(job, name, folder / "cut", images, stop=stop)
        assert records is None
    records, state_then = run(job, name, folder / "cut", images)
    assert records == want
    assert same(end, state_then) and same(end, final(folder / "cut"))
