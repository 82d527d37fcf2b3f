"""The tests themselves are tested: every planted fault is found by the test that is for it."""
import subprocess
import sys
from pathlib import Path

import planted_faults
import pytest


@pytest.mark.slow
def test_every_planted_fault_is_killed_by_the_test_that_is_for_it():
    script = Path(planted_faults.__file__)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_fault_is_planted_twice():
    planted = {(fault.file, fault.old, fault.new) for fault in planted_faults.FAULTS}
    assert len(planted) == len(planted_faults.FAULTS) >= 25
