"""The compiled backend's layers of images: every geometry, batch and order of memory."""
import numba
import numpy as np
import pytest

from benchmarks.timing import transient
from conftest import assert_close, same
from minicredit.kernels import BackendError, load

try:
    load("numba")
except BackendError as refused:
    pytest.skip(str(refused), allow_module_level=True)

from minicredit.kernels import cpu, reference
from minicredit.kernels.cpu import convolution, local, memory, panels, tiles
from minicredit.layers.geometry import stencil

DTYPES = "float32", "float64"
exact = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="NumPy adds up as it likes")
WIDE = tiles.BYTES // 4                             # float32 numbers in a vector
BATCHES = 1, 7, 2 * WIDE - 1, 2 * WIDE, 2 * WIDE + 1, 4 * WIDE + 3
GEOMETRIES = [                                      # image, kernel, stride, channels, padding
    ((6, 5, 2), 3, 1, 4, "same"), ((9, 7, 3), 5, 2, 13, "same"), ((1, 7, 1), 3, 2, 2, "same"),
    ((7, 1, 3), 1, 4, 1, "none"), ((2, 3, 1), 7, 1, 7, "same"), ((5, 5, 2), 5, 1, 3, "none"),
    ((8, 8, 4), 2, 3, 33, "same"), ((11, 10, 1), 7, 4, 8, "same"), ((6, 6, 7), 3, 2, 6, "none"),
    ((1, 1, 1), 1, 1, 1, "none"), ((4, 4, 9), 4, 1, 5, "none")]
KINDS = "local", "conv"


def numbers(dtype, *shape, seed=0):
    """Random numbers of a type."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def lying(M, order):
    """A matrix in C order, in Fortran order, in neither, or in C order and not to be written to."""
    if order == "neither":
        return np.repeat(M, 2, axis=1)[:, ::2]
    M = np.array(M, order="F" if order == "F" else "C")
    M.flags.writeable = order != "read-only"
    return M


def calls(kind, geometry, N, dtype="float64"):
    """{operation: its arguments} of a kind of layer and its mirror."""
    shape, k, s, F, padding = geometry
    where = stencil(shape, k, s, padding)
    P, S, n = where.rows_out * where.columns_out, k * k * shape[2], int(np.prod(shape))
    image, places = numbers(dtype, N, n), numbers(dtype, N, P * F, seed=1)
    W, b, c = (numbers(dtype, *size, seed=2)
               for size in ((P, S, F), (P, F), (n // shape[2], shape[2])))
    if kind == "conv":
        W, b, c = W[0], b[0], c[0]
    V = np.ascontiguousarray(W.swapaxes(-1, -2))
    return {f"{kind}_dense": (image, W, b, "tanh", where),
            f"{kind}_pull_back": (places, W, where), f"{kind}_grad": (image, places, where),
            f"{kind}_transposed": (places, V, c, "relu", where),
            f"{kind}_transposed_pull_back": (image, V, where),
            f"{kind}_transposed_grad": (places, image, where)}


OPERATIONS = [(kind, name) for kind in KINDS for name in calls(kind, GEOMETRIES[0], 1)]


def answers(ops, name, args):
    """What an operation returns, always as a tuple."""
    out = getattr(ops, name)(*args)
    return out if isinstance(out, tuple) else (out,)


def changed(name, args, change):
    """The arguments, but the activities changed: the first, and of a gradient the second."""
    n = 1 + name.endswith("grad")
    return [*map(change, args[:n]), *args[n:]]


def right(name, args, got):
    """Compare with the reference in float64, allowing for rounding of what was added up."""
    wide = [a.astype("float64") if isinstance(a, np.ndarray) else a for a in args]
    sizes = [abs(a) if isinstance(a, np.ndarray) else "linear" if isinstance(a, str) else a
             for a in wide]
    terms = 8 + sum(a.size for a in args if isinstance(a, np.ndarray)) ** 0.5
    for found, want, size in zip(got, answers(reference, name, wide),
                                 answers(reference, name, sizes)):
        assert_close(found, want, terms, size + 1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("kind, name", OPERATIONS)
def test_an_operation_is_the_reference_for_every_batch_in_every_order(kind, name, geometry, dtype):
    for N in BATCHES:
        args = calls(kind, geometry, N, dtype)[name]
        for order in ("C", "F"):
            right(name, args, answers(cpu, name, changed(name, args, lambda a: lying(a, order))))


@pytest.mark.parametrize("order", ["neither", "read-only"])
@pytest.mark.parametrize("kind, name", OPERATIONS)
def test_an_operation_takes_what_lies_in_no_order_and_what_may_not_be_written_to(kind, name, order):
    args = calls(kind, GEOMETRIES[1], 5)[name]
    there = [lying(a, "read-only") if isinstance(a, np.ndarray) else a for a in args]
    right(name, args, answers(cpu, name, changed(name, there, lambda a: lying(a, order))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind, name", OPERATIONS)
def test_a_batch_of_several_slices_and_a_place_of_several_blocks_are_right(kind, name, dtype):
    args = calls(kind, ((5, 5, 3), 3, 1, 4, "same"), 2 * local.SLICE + 3, dtype)[name]
    right(name, args, answers(cpu, name, args))
    wide = (2, 3, local.WEIGHTS // 700), 3, 1, 400, "same"
    args = calls(kind, wide, 4 * WIDE + 1, dtype)[name]
    right(name, args, answers(cpu, name, args))


@pytest.mark.parametrize("kind, name", OPERATIONS)
def test_no_examples_are_no_answer(kind, name):
    if not name.endswith("grad"):                   # the mean of no examples
        for out in answers(cpu, name, calls(kind, GEOMETRIES[0], 0)[name]):
            assert out.shape[0] == 0


@pytest.mark.parametrize("kind, name", OPERATIONS)
def test_activities_go_out_with_the_batch_innermost_and_parameters_in_c_order(kind, name):
    for out in answers(cpu, name, calls(kind, GEOMETRIES[1], 3)[name]):
        assert out.flags.c_contiguous if name.endswith("grad") else out.flags.f_contiguous


@pytest.mark.parametrize("f", ["linear", "relu", "tanh"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_nan_reaches_the_places_that_see_it_in_its_example_and_nothing_else(kind, f):
    h, W, b, _, where = calls(kind, GEOMETRIES[0], 2 * WIDE + 1)[f"{kind}_dense"]
    h[2, 0] = np.nan
    want = np.isnan(reference.local_dense(h, np.ones((30, 18, 4)), np.zeros((30, 4)), f, where))
    assert 0 < want.sum() < want[2].size
    assert same(np.isnan(getattr(cpu, f"{kind}_dense")(h, W, b, f, where)), want)


@pytest.mark.parametrize("name", ["pull_back", "grad", "transposed_grad"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_nan_reaches_all_that_depends_on_it_and_nothing_else(kind, name):
    name = f"{kind}_{name}"
    args = calls(kind, GEOMETRIES[0], 2 * WIDE + 1)[name]
    before = answers(reference, name, args)
    for i in range(1 + name.endswith("grad")):
        found, kept = [], args[i][2, 3]
        for ops, value in ((reference, 1e3), (cpu, np.nan)):
            args[i][2, 3] = value
            found.append(answers(ops, name, args))
        args[i][2, 3] = kept
        for other, got, was in zip(*found, before):
            assert same(np.isnan(got), other != was)


@exact
@pytest.mark.parametrize("kind, name", OPERATIONS)
def test_one_thread_and_all_of_them_find_the_same_bits(kind, name):
    if (most := numba.get_num_threads()) == 1:
        pytest.skip("there is one thread only")
    args, found = calls(kind, ((13, 12, 5), 3, 1, 24, "same"), 301, "float32")[name], []
    for threads in (1, most):
        numba.set_num_threads(threads)
        found.append(answers(cpu, name, args))
    assert all(same(one, other) for one, other in zip(*found))


@pytest.mark.parametrize("down", [False, True])
def test_a_task_writes_what_is_its_own_and_nothing_else(down):
    N, where, F, slices = 2 * local.SLICE, (9, 4, 2, 3, 1, 1, 1, 9, 4), 3, 2
    n = 9 * 4 * (F if down else 2)
    h, W, none = numbers("float64", n * N), numbers("float64", 36 * 18 * F), np.zeros(1)
    written = np.zeros((9 * 4 * (2 if down else F), N), int)
    tasks = slices * (4 if down else 36)
    for at in range(tasks):
        out = np.full(written.shape, np.nan)
        local.task(panels.address(h.dtype), down, at, tasks, slices, h, W, none, 0, where,
                   (N, F, 18 * F, F, 1), out.reshape(-1))
        written += ~np.isnan(out)
    assert (written == 1).all()


@exact
@pytest.mark.parametrize("name", ["local_dense", "local_pull_back", "local_grad"])
def test_nothing_is_held_but_what_is_returned(name):
    args = calls("local", ((24, 24, 2), 5, 1, 32, "same"), 128, "float32")[name]
    args = changed(name, args, lambda a: lying(a, "F"))
    answers(cpu, name, args)
    found = []
    held = [transient(lambda: found.append(answers(cpu, name, args))) for _ in range(3)]
    if None in held:
        pytest.skip("the system does not tell")
    assert min(held) < sum(a.nbytes for a in found[0]) + 2**20


# Sizes that do not fit ----------------------------------------------------------------------------

@pytest.mark.parametrize("kind, name", OPERATIONS)
def test_arrays_that_do_not_fit_the_stencil_are_refused(kind, name):
    args = calls(kind, GEOMETRIES[0], 3)[name]
    for i, a in enumerate(args):
        if isinstance(a, np.ndarray):
            wrong = [*args]
            wrong[i] = np.concatenate([a, a[..., :1]], axis=-1)
            with pytest.raises(ValueError, match=name):
                getattr(cpu, name)(*wrong)


# The product over panels --------------------------------------------------------------------------

def panel_product(groups, m, n, n_k, n_i, more, dtype):
    """A product of that size in the middle of other numbers, and what it should be."""
    A, B = numbers(dtype, groups, m, n_i, n_k), numbers(dtype, n_i, n_k, n)
    start, C = numbers(dtype, m), np.full((groups, m + 2, n + 3), 1e6, dtype)
    C[:, 1:-1, 2:-1] = before = numbers(dtype, groups, m, n, seed=1)
    a, b = (np.concatenate([[np.nan] * 3, M.ravel(), [np.nan]]).astype(dtype) for M in (A, B))
    panels.product(panels.address(start.dtype), groups, m, n, a, 3, m * n_i * n_k, n_i * n_k, 1,
                   n_k, b, 3, n, n_k * n, n_k, n_i, start, 0, 1, C.reshape(-1), n + 5,
                   (m + 2) * (n + 3), n + 3, more, 2,
                   ((C.ctypes.data, C.nbytes, more), (a.ctypes.data, a.nbytes, not more)))
    assert (C[:, [0, -1]] == 1e6).all() and (C[..., [0, 1, -1]] == 1e6).all(), "wrote outside"
    sizes = np.tensordot(abs(A).astype("float64"), abs(B), 2)
    base = before if more else start[:, None]
    return (C[:, 1:-1, 2:-1], base + np.tensordot(A.astype("float64"), B, 2) / 2,
            sizes + abs(base))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("m", range(1, 2 * panels.ROWS + 3))
def test_a_product_over_panels_is_the_product_and_writes_nothing_else(m, more, dtype):
    L = tiles.BYTES // np.dtype(dtype).itemsize
    for n in {1, L - 1, L, L + 1, 2 * L - 1, 2 * L, 2 * L + 1, 4 * L, 4 * L + 1, 8 * L + 3}:
        for groups, n_k, n_i in ((1, 0, 1), (1, 1, 1), (2, 3, 2), (3, 4, 1), (1, 5, 5), (2, 17, 1)):
            got, want, size = panel_product(groups, m, n, n_k, n_i, more, dtype)
            assert_close(got, want, n_k * n_i + 2, size + 1e-30)


def test_no_groups_and_no_rows_are_no_product():
    for groups, m in ((0, 2), (-1, 2), (2, 0)):
        C, one = np.full(8, 3.0), np.ones(8)
        panels.product(panels.address(C.dtype), groups, m, 4, one, 0, 1, 1, 1, 1, one, 0, 1, 1, 2,
                       1, one, 0, 0, C, 0, 4, 4, False, 1, panels.NOTHING)
        assert (C == 3).all()


def test_a_tile_and_its_plain_twin_are_the_same():
    A, B = numbers("float32", 4 * 3 * 5), numbers("float32", 3 * 5 * 40)
    start, found = numbers("float32", 4), []
    for one in (panels.tile, panels.plain_tile):
        C = np.zeros(4 * 40, "float32")
        call = numba.njit(lambda *args: one(*args)) if one is panels.tile else one
        call(4, 2, 2 * WIDE - 3, A, 15, 1, 5, B, 40, 200, 5, 3, start, 1, C, 40, False,
             np.float32(2), A.ctypes.data, 64, True, B.ctypes.data, 64, False)
        found.append(C)
    assert_close(*found, 15, 40)


# Orders of memory ---------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N, n", [(1, 1), (3, 7), (WIDE, WIDE), (65, 1027), (130, 600), (7, 4),
                                  (0, 5), (5, 0)])
def test_noise_is_the_same_bits_in_every_order_of_memory(N, n, dtype):
    h, key = numbers(dtype, N, n), (5, 2, 3, 9)
    want = cpu.noisy(h, 0.3, key)
    got = cpu.noisy(lying(h, "F"), 0.3, key)
    assert same(got, want) and got.flags.f_contiguous
    assert same(cpu.noisy(lying(h, "neither"), 0.3, key), want)


@exact
def test_noise_is_the_same_bits_from_one_thread_and_from_all():
    if (most := numba.get_num_threads()) == 1:
        pytest.skip("there is one thread only")
    h, found = lying(numbers("float32", 130, 1200), "F"), []
    for threads in (1, most):
        numba.set_num_threads(threads)
        found.append(cpu.noisy(h, 0.3, (5, 2, 3, 9)))
    assert same(*found)


@pytest.mark.parametrize("first", ["C", "F"])
@pytest.mark.parametrize("second", ["C", "F", "neither"])
def test_elementwise_operations_keep_the_order_of_the_activity(first, second):
    h, e = lying(numbers("float32", 70, 65), first), numbers("float32", 70, 65, seed=1)
    there = lying(e, second)
    for got, want in ((cpu.times_slope(there, h, "tanh"), reference.times_slope(e, h, "tanh")),
                      (cpu.difference(h, there, h), reference.difference(h, e, h))):
        assert_close(got, want, scale=8)
        assert got.flags.f_contiguous == (first == "F")


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_turned_round_is_the_transpose(dtype):
    for m, n in ((1, 1), (1, 9), (9, 1), (7, 8), (8, 7), (64, 65), (130, 67), (500, 120)):
        M = numbers(dtype, m, n)
        assert same(memory.in_f(M).reshape(n, m), np.ascontiguousarray(M.T))
        assert same(memory.in_c(lying(M, "F")).reshape(m, n), M)


def test_an_empty_array_begins_at_a_line_of_the_cache():
    for dtype in DTYPES:
        for n in (1, 3, 1000):
            assert memory.empty((n, 3), dtype, n == 3).ctypes.data % memory.LINE == 0


def test_the_sum_of_a_convolution_is_cut_by_sizes_and_stays_small():
    h, delta = numbers("float32", 128, 8 * 8 * 3), numbers("float32", 128, 8 * 8 * 4)
    where = stencil((8, 8, 3), 3, 1)
    for threads in {1, numba.get_num_threads()}:
        numba.set_num_threads(threads)
        parts = convolution.groups(h, delta, 64, 27 * 4)
        assert 1 < parts <= convolution.PARTS
        assert 4 * parts * 27 * 4 <= h.size + delta.size
    right("conv_grad", (h, delta, where), cpu.conv_grad(h, delta, where))
