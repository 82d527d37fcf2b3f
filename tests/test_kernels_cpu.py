"""The compiled backend's own parts: the register tile, its panels, and how products are cut."""
import numba
import numpy as np
import pytest

from conftest import assert_close, batches, rule_of, same
from minicredit.kernels import BackendError, host, load, recording
from minicredit.keys import FEEDBACK

try:
    load("numba")
except BackendError as refused:
    pytest.skip(str(refused), allow_module_level=True)

from minicredit.kernels import cpu, reference
from minicredit.kernels.cpu import products, randomness, tiles
from minicredit.kernels.cpu.randomness import GROUP, NOISY, NORMAL, UNIFORM

DTYPES = "float32", "float64"
exact = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="NumPy adds up as it likes")
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_turned_into_columns_and_summed_on_the_way(dtype):
    L = tiles.BYTES // np.dtype(dtype).itemsize
    for k in (1, L - 1, L, L + 1, 2 * L, 5 * L + 3):
        for n in (1, L - 1, L, L + 1, 2 * L, 3 * L - 1):
            B, P = numbers(dtype, n, k), np.full((k + 2, n + 3), 1e6, dtype)
            memory, start, step = wide(B)
            S = np.full(n + 2, 1e6, dtype)
            tiles.transpose_and_sum(memory, start, step, k, n, P.reshape(-1), n + 5, n + 3, S, 1)
            assert same(P[1:-1, 2:-1], B.T), (k, n)
            assert (P[[0, -1]] == 1e6).all() and (P[:, [0, 1, -1]] == 1e6).all(), "wrote outside"
            assert (S[[0, -1]] == 1e6).all(), "wrote outside"
            assert_close(S[1:-1], B.sum(axis=1, dtype="float64"), k, abs(B).sum(axis=1))


def multiplied(A, B, transposed=False, more=None):
    """A B by `tiles.product`, A lying either way in memory; `more` is what it is added to."""
    (m, k), n = A.shape, B.shape[1]
    memory, start, step = wide(A.T if transposed else A)
    a_row, a_k = (1, step) if transposed else (step, 1)
    T, first, t_row = wide(np.full((m, n), np.nan, A.dtype) if more is None else more)
    t = np.full(m * tiles.NR[A.dtype.name], np.nan, A.dtype)
    tiles.product(tiles.address(A.dtype), m, n, k, memory, start, a_row, a_k, packed(B), 0,
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
    tiles.strip(tiles.address(A.dtype), MR, 2 * tiles.VECTORS, A.reshape(-1), 0, 11, 1,
                B.reshape(-1), NR, 3 * NR, 11, T, 0, NR, False, tiles.NOTHING)
    want = A.astype("float64") @ B[:, NR:2 * NR]
    assert_close(T.reshape(MR, NR), want, 11, np.abs(A) @ np.abs(B[:, NR:2 * NR]))


# Products of any size -----------------------------------------------------------------------------

SIZES = [(1, 1, 1), (MR - 1, 7, NR - 1), (MR, 8, NR), (MR + 1, 9, NR + 1), (2, 3, 4 * NR),
         (2 * MR + 1, 13, 4 * NR + 1), (31, products.SHALLOW + 1, 17), (3, 5, 9 * NR - 1),
         (products.MOST + 1, 2, 3), (5, products.DEEP // 4 + 1, NR + 3), (40, 128, 128),
         (129, 256, 70), (67, 2 * products.DEEP // 4, 4 * NR), (4 * MR, 1024, 129), (140, 130, 131)]


def in_order(M, order):
    """A matrix in C order, in Fortran order, or in neither."""
    return np.repeat(M, 2, axis=1)[:, ::2] if order == "neither" else np.array(M, order=order)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("orders", ["CC", "FC", "CF", "FF", ("neither", "C"), ("C", "neither")])
@pytest.mark.parametrize("N, n_in, n_out", SIZES)
def test_dense_products_are_right_in_every_order_of_memory(N, n_in, n_out, orders, dtype):
    h, W = numbers(dtype, N, n_in), numbers(dtype, n_in, n_out)
    b, delta = numbers(dtype, n_out), numbers(dtype, N, n_out, seed=1)
    wide_h, wide_W, wide_delta = (a.astype("float64") for a in (h, W, delta))
    size_h, size_W, size_delta = abs(wide_h), abs(wide_W), abs(wide_delta)
    first, second = orders
    assert_close(cpu.dense(in_order(h, first), in_order(W, second), b, "relu"),
                 reference.dense(wide_h, wide_W, b, "relu"), n_in + 1, size_h @ size_W + abs(b))
    assert_close(cpu.pull_back(in_order(delta, first), in_order(W, second)),
                 wide_delta @ wide_W.T, n_out, size_delta @ size_W.T)
    dW, db = cpu.dense_grad(in_order(h, first), in_order(delta, second))
    assert_close(dW, wide_h.T @ wide_delta / N, N + 1, size_h.T @ size_delta / N)
    assert_close(db, wide_delta.mean(axis=0), N + 1, size_delta.mean(axis=0))


def by_blocks(cut, K, m, n, k, ta, tb, f="float32"):
    """K products, cut so; one A for all of them."""
    A, B = numbers(f, k, m) if ta else numbers(f, m, k), numbers(f, K, k * n)
    b, sign, C = numbers(f, K, n), np.sign(numbers(f, n)), np.full((K, m, n), np.nan, f)
    rows, wide = cut
    for at in range(K * -(-m // rows) * -(-n // wide)):
        products.numbered(tiles.address(A.dtype), at, A.reshape(-1), ta, B.reshape(-1), tb,
                          b.reshape(-1), sign, products.SIGNED, 1 / m, (m, n, k, 0), cut,
                          C.reshape(-1))
    return C


@exact
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("m, n, k", [(50, 9 * NR + 3, 37), (33, 5 * NR, 1024), (31, 40, 1601)])
def test_the_bits_do_not_depend_on_how_a_product_is_cut(m, n, k, ta, tb):
    whole = by_blocks((m, n), 2, m, n, k, ta, tb)
    assert np.isfinite(whole).all()
    for threads in (2, 3, 4, 16, 64):
        cut = products.cut(m, n, 2, NR, threads)
        assert same(by_blocks(cut, 2, m, n, k, ta, tb), whole), cut
    assert same(by_blocks((1, NR), 2, m, n, k, ta, tb), whole)


@pytest.mark.parametrize("m, n", [(1, 1), (7, 240), (100, 240), (784, 240), (1024, 1024)])
def test_a_product_is_cut_for_the_threads_there_are(m, n):
    for threads in (1, 2, 4, 16):
        rows, wide = products.cut(m, n, 1, NR, threads)
        assert 1 <= rows <= m and 1 <= wide <= n and (wide == n or wide % NR == 0)
        if m * n >= 100 * 240:
            turns = -(-(-(-m // rows) * -(-n // wide)) // threads)
            assert turns * rows * wide < 1.3 * m * n / threads, (rows, wide)


THREADED = {"dense": lambda h, W, d: cpu.dense(h, W, d[0], "tanh"),
            "pull_back": lambda h, W, d: cpu.pull_back(d, W),
            "dense_grad": lambda h, W, d: cpu.dense_grad(h, d),
            "signed_dense": lambda h, W, d: cpu.signed_dense(h, W[None], d[:1], np.sign(d[0])),
            "signed_pull_back": lambda h, W, d: cpu.signed_pull_back(d[None], W[None]),
            "signed_grad": lambda h, W, d: cpu.signed_grad(h, d[None])}


@exact
@pytest.mark.parametrize("operation", THREADED)
@pytest.mark.parametrize("N, n_in, n_out", [(140, 130, 131), (100, 240, 240), (130, 1024, 256)])
def test_one_thread_and_all_of_them_find_the_same_bits(operation, N, n_in, n_out):
    if (most := numba.get_num_threads()) == 1:
        pytest.skip("there is one thread only")
    h, W, d = (numbers("float32", *s) for s in ((N, n_in), (n_in, n_out), (N, n_out)))
    found = []
    for threads in (1, most):
        numba.set_num_threads(threads)
        out = THREADED[operation](h, W, d)
        found.append(out if isinstance(out, tuple) else (out,))
    assert all(same(one, other) for one, other in zip(*found))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5), (256, 256)])
def test_weights_that_are_drawn_in_every_step_are_the_references(shape, dtype):
    ops = recording(load("numba"))
    for step in (0, 1, 7):
        key = 5, FEEDBACK, 2, step
        assert same(host(ops).uniform(shape, key, dtype), reference.uniform(shape, key, dtype))
        assert same(host(cpu).normal(shape, key, dtype), reference.normal(shape, key, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first", [0, 1, 3, 4, 62, 63, 4 * GROUP - 1])
@pytest.mark.parametrize("n", [0, 1, 2, 61, 64, 65, 4 * GROUP - 1, 4 * GROUP, 9 * GROUP + 2])
def test_numbers_are_the_same_from_wherever_in_their_sequence_they_are_drawn(n, first, dtype):
    key = 5, FEEDBACK, 2, 3
    h, end = numbers(dtype, n), first + n
    name, out = randomness.named(key), [np.full(n, np.nan, dtype) for _ in range(3)]
    for what, one in zip((UNIFORM, NORMAL, NOISY), out):
        randomness.draw(what, first, name, h, 0.25, one)
    assert same(out[0], reference.uniform((end,), key, dtype)[first:])
    assert same(out[1], randomness.normal((end,), key, dtype)[first:])
    assert_close(out[1], reference.normal((end,), key, dtype)[first:], 8)
    assert_close(out[2], h + 0.25 * out[1].astype(np.float64), 1)


def test_fresh_magnitudes_are_numpys_bit_for_bit():
    rules = [rule_of("brsf", backend) for backend in ("numpy", "numba")]
    start = rules[0].M[2].copy()
    for x, y in batches(3):
        for rule in rules:
            rule.net.ops.take(rule.step, x, y)
    assert all(same(*(rule.M[i] for rule in rules)) for i in range(2, rules[0].net.L + 1))
    assert not same(rules[0].M[2], start)


def test_numpy_draws_initial_weights_and_not_those_of_a_later_step(monkeypatch):
    asked = []
    monkeypatch.setattr(reference, "uniform", lambda *given: asked.append(given))
    for step in (0, 3):
        host(cpu).uniform((2, 2), (5, FEEDBACK, 2, step), "float32")
    assert asked == [((2, 2), (5, FEEDBACK, 2, 0), "float32")]
