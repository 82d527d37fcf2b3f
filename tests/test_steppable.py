"""Without its compiler Numba runs every kernel as Python, and a debugger steps into it."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SELECTION = ["tests/test_recorder.py", "-k", "sgd or shorter or something_else or label_that"]
STEP = """
import sys
import numpy as np
from minicredit.compare import build, steps
from minicredit.settings import hyperparameters
rule = build("dtp", {"net": "12-8-8-3", "activation": "tanh", "init": "glorot", "dtype": "float32",
                     "backend": "numba", "rules": {"dtp": hyperparameters("dtp", {})}}, 3, seed=0)
x, y = np.ones((5, 12), np.float32), np.arange(5) % 3
seen = set()
for _ in range(2):
    steps(rule, x, y)
sys.settrace(lambda frame, *_: seen.add((frame.f_code.co_filename, frame.f_code.co_name)))
steps(rule, x, y)
sys.settrace(None)
print(sorted(name for file, name in seen if file.endswith("program.py")))
"""


def without_compiler(*command):
    """A process in which Numba compiles nothing; what it printed."""
    ran = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True,
                         env={**os.environ, "NUMBA_DISABLE_JIT": "1"})
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-2000:]
    return ran.stdout


def test_recorded_steps_are_right_without_the_compiler():
    said = without_compiler("-m", "pytest", "-q", "-p", "no:cacheprovider", *SELECTION)
    assert " passed" in said and "failed" not in said


def test_a_debugger_sees_every_instruction_of_a_step():
    seen = without_compiler("-c", STEP)
    assert all(f"'{name}'" in seen for name in ("stage", "product", "gradient", "bias", "each",
                                                "noise", "losses", "descend"))
