"""Every rung of the ladder finds the same product, and is held to NumPy's before it is timed."""
import inspect

import numpy as np
import pytest

from conftest import assert_close
from minicredit.kernels import BackendError, load

try:
    load("numba")
except BackendError as refused:
    pytest.skip(str(refused), allow_module_level=True)

from benchmarks import ladder as bench
from benchmarks import tables
from benchmarks.__main__ import parser, planned
from benchmarks.check import Wrong
from minicredit.kernels.cpu import ladder
from minicredit.kernels.cpu.ladder import COLUMNS, DEEP, ROWS, RUNGS

SIZES = [(1, 1, 1), (7, 11, 13), (ROWS - 1, 3, COLUMNS - 1), (ROWS, 4, COLUMNS),
         (ROWS + 1, 5, COLUMNS + 1), (2, 3, 3 * COLUMNS + 5), (67, 2, 3), (3, 2 * DEEP + 1, 9),
         (9, DEEP, ladder.WIDE + 1), (0, 3, 4), (3, 0, 4), (3, 4, 0)]
OPTIONS = {"rounds": 2, "burst": 0.001, "small": True, "without": [], "threads": 1}


def numbers(dtype, *shape):
    """Random numbers of a type."""
    return np.random.default_rng(shape).standard_normal(shape).astype(dtype)


def product(rung, A, B):
    """What a rung leaves where nothing was."""
    C = np.full((len(A), B.shape[1]), np.nan, A.dtype)
    assert rung(A, B, C) is None
    return C


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.__name__)
def test_every_rung_finds_the_product(rung, dtype):
    for m, k, n in SIZES:
        A, B = numbers(dtype, m, k), numbers(dtype, k, n)
        scale = np.abs(A).astype("float64") @ np.abs(B)
        assert_close(product(rung, A, B), A.astype("float64") @ B, k + 1, scale)


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.__name__)
@pytest.mark.parametrize("m, k, n", [(5, 9, 67), (8, 8, 64)])
def test_a_nan_reaches_its_row_or_its_column_on_every_rung(rung, m, k, n):
    A, B = numbers("float32", m, k), numbers("float32", k, n)
    A[1, k - 1] = B[0, n - 1] = np.nan
    want = np.zeros((m, n), bool)
    want[1] = want[:, n - 1] = True
    assert (np.isnan(product(rung, A, B)) == want).all()


def test_all_rungs_are_called_alike_and_each_says_what_it_adds():
    for rung in RUNGS:
        plain = getattr(rung, "py_func", rung)
        assert list(inspect.signature(plain).parameters) == ["A", "B", "C"] and plain.__doc__
        assert f"    {plain.__name__} " in ladder.__doc__


# The benchmark ------------------------------------------------------------------------------------

def test_every_rung_is_timed_beside_numpy_and_its_share_is_told():
    row = {**bench.measure("ladder", 0, OPTIONS), "threads": 1}
    assert list(row["times"]) == [rung.__name__ for rung in RUNGS] + [tables.BLAS]
    row["times"] = {name: [2.0, 2.0] for name in row["times"]}
    row.update(operations=8e9, goals={"vector_tile": 1.1})
    text = tables.markdown([row], ["heading"])
    assert "| 4.0, 100 % | 4.0, 100 %; goal 110 %, missed | 4.0 |" in text


def test_a_rung_that_is_wrong_is_not_timed(monkeypatch):
    def short(A, B, C):
        np.matmul(A[:, 1:], B[1:], out=C)
    monkeypatch.setattr(bench, "RUNGS", (*RUNGS, short))
    row = bench.measure("ladder", 0, OPTIONS)
    assert "short" not in row["times"] and row["left_out"]["short"].startswith("WRONG")
    with pytest.raises(Wrong):
        bench.checked(lambda A, B, C: None, *(numbers("float32", 3, 3),) * 2)


def test_the_ladder_is_measured_with_one_thread_only():
    args = parser().parse_args(["--only", "ladder,start"])
    args.counts = [1, 2]
    found = {threads: {group for (group, _), _ in planned(args, threads)[1]} for threads in (1, 2)}
    assert found == {1: {"ladder"}, 2: {"start"}}
