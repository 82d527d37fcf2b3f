"""The compiled backend's own parts, by themselves: the register tile and its panels."""
import numpy as np
import pytest

from conftest import assert_close, same
from minicredit.kernels import BackendError, load

try:
    load("numba")
except BackendError as refused:
    pytest.skip(str(refused), allow_module_level=True)

from minicredit.kernels.cpu import tiles

DTYPES = "float32", "float64"
MR, NR = tiles.MR, tiles.NR["float32"]
ROWS = sorted({*range(1, MR + 3), 2 * MR - 1, 2 * MR, 4 * MR + 1, 31})
COLUMNS = sorted({1, 2, NR // 2 - 1, NR // 2, NR // 2 + 1, NR - 1, NR, NR + 1, 3 * NR + 5})
LENGTHS = 0, 1, 3, 4, 5, 7, 8, 16, 17, 37


def numbers(dtype, *shape, seed=0):
    """Random numbers of a type."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def wide(M):
    """A matrix's numbers with others around them, flat; where it begins; its step."""
    rows, columns = M.shape
    around = np.full((rows + 2, columns + 3), 1e6, M.dtype)
    around[1:-1, 2:-1] = M
    return around.reshape(-1), columns + 5, columns + 3


def packed(B, transposed=False):
    """B in panels, in the middle of other numbers."""
    k, n = B.shape
    P = np.full(tiles.panels(k, n, B) + 8, np.nan, B.dtype)
    memory, start, step = wide(B.T if transposed else B)
    pack = tiles.pack_transposed if transposed else tiles.pack
    pack(memory, start, step, k, n, P, 4)
    assert np.isnan(P[:4]).all() and np.isnan(P[-4:]).all(), "wrote outside its panels"
    return P[4:-4]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("n", COLUMNS)
def test_panels_are_the_matrix_cut_into_columns_of_a_tile_with_zeros_beyond(dtype, transposed, n):
    wide_as = tiles.NR[dtype]
    for k in LENGTHS:
        B = numbers(dtype, k, n)
        want = np.zeros((k, -(-n // wide_as) * wide_as), dtype)
        want[:, :n] = B
        panels = want.reshape(k, -(-n // wide_as), wide_as).swapaxes(0, 1).reshape(-1)
        assert same(packed(B, transposed), panels), k


def multiplied(A, B, transposed=False, more=None):
    """A B by `tiles.product`, A lying either way in memory; `more` is what it is added to."""
    (m, k), n = A.shape, B.shape[1]
    memory, start, step = wide(A.T if transposed else A)
    a_row, a_k = (1, step) if transposed else (step, 1)
    T, first, t_row = wide(np.full((m, n), np.nan, A.dtype) if more is None else more)
    t = np.full(m * tiles.NR[A.dtype.name], np.nan, A.dtype)
    tiles.product(m, n, k, memory, start, a_row, a_k, packed(B), 0,
                  T, first, t_row, more is not None, t)
    T = T.reshape(m + 2, n + 3)
    assert (T[[0, -1]] == 1e6).all() and (T[:, [0, 1, -1]] == 1e6).all(), "wrote outside"
    return T[1:-1, 2:-1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("m", ROWS)
def test_a_product_of_tiles_is_the_product(dtype, transposed, m):
    for n in COLUMNS:
        for k in LENGTHS:
            A, B, C = numbers(dtype, m, k), numbers(dtype, k, n), numbers(dtype, m, n, seed=1)
            want = A.astype("float64") @ B.astype("float64")
            scale = np.abs(A).astype("float64") @ np.abs(B)
            assert_close(multiplied(A, B, transposed), want, k + 1, scale + 1e-30)
            assert_close(multiplied(A, B, transposed, C), C + want, k + 1, scale + np.abs(C))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_nan_reaches_its_row_or_its_column_and_no_other(dtype):
    A, B = numbers(dtype, 2 * MR - 1, 9), numbers(dtype, 9, NR + 3)
    for M, where in ((A, (3, 8)), (B, (0, NR + 1))):
        before, M[where] = M[where], np.nan
        found = np.isnan(multiplied(A, B))
        M[where] = before
        row = int(M is A)
        assert (found.all(axis=row) == (np.arange(found.shape[1 - row]) == where[1 - row])).all()
        assert found.sum() == found.shape[row]


def test_a_tile_reads_rows_that_lie_apart_as_they_lie():
    B, A = numbers("float32", 11, 3 * NR), numbers("float32", MR, 11)
    T = np.empty(MR * NR, "float32")
    tiles.tile(MR, NR, A.reshape(-1), 0, 11, 1, B.reshape(-1), NR, 3 * NR, 11, T, 0, NR, False)
    want = A.astype("float64") @ B[:, NR:2 * NR]
    assert_close(T.reshape(MR, NR), want, 11, np.abs(A) @ np.abs(B[:, NR:2 * NR]))
