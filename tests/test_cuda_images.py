"""Layers of images on a CUDA device: every geometry, tile and batch, against the reference."""
import numpy as np
import pytest
from conftest import assert_close, same

from minicredit.kernels import reference
from minicredit.kernels.cuda import images
from minicredit.layers.geometry import stencil

DTYPES = "float32", "float64"
GEOMETRIES = [                                      # image, kernel, stride, channels, padding, N
    ((6, 5, 2), 3, 1, 4, "same", 7), ((9, 7, 3), 5, 2, 33, "same", 33),
    ((1, 7, 1), 3, 2, 3, "same", 1), ((7, 1, 3), 1, 4, 1, "none", 33),
    ((2, 3, 1), 7, 1, 8, "same", 7), ((5, 5, 3), 5, 1, 5, "none", 1),
    ((8, 8, 8), 2, 3, 8, "same", 33), ((11, 10, 1), 7, 4, 5, "same", 7),
    ((6, 6, 5), 6, 2, 33, "none", 33), ((1, 1, 1), 1, 1, 1, "none", 1),
    ((4, 4, 33), 4, 3, 3, "none", 7), ((5, 6, 8), 3, 2, 40, "same", 131)]
SMALL, WIDE = GEOMETRIES[0], ((4, 4, 8), 5, 1, 12, "same", 33)
KINDS = "local", "conv"


def emulated(**options):
    """A device on the CPU."""
    emulator = pytest.importorskip("minicredit.kernels.cuda.emulator")
    return emulator.Device(**options)


def numbers(dtype, *shape, seed=0):
    """Random numbers of a type."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def calls(kind, geometry, dtype="float32", N=None):
    """{operation: its arguments} of a kind of layer and its mirror."""
    shape, k, s, F, padding, some = geometry
    where, N = stencil(shape, k, s, padding), some if N is None else N
    P, S, n = where.rows_out * where.columns_out, k * k * shape[2], int(np.prod(shape))
    image, units = numbers(dtype, N, n), numbers(dtype, N, P * F, seed=1)
    W, b, c = (numbers(dtype, *size, seed=2)
               for size in ((P, S, F), (P, F), (n // shape[2], shape[2])))
    if kind == "conv":
        W, b, c = W[0], b[0], c[0]
    V = np.ascontiguousarray(W.swapaxes(-1, -2))
    return {f"{kind}_dense": (image, W, b, "tanh", where),
            f"{kind}_pull_back": (units, W, where), f"{kind}_grad": (image, units, where),
            f"{kind}_transposed": (units, V, c, "relu", where),
            f"{kind}_transposed_pull_back": (image, V, where),
            f"{kind}_transposed_grad": (units, image, where)}


OPERATIONS = [(kind, name) for kind in KINDS for name in calls(kind, SMALL)]
everything = pytest.mark.parametrize("kind, name", OPERATIONS)


def there(device, args):
    """The same arguments, arrays on the device."""
    return [device.asarray(a) if isinstance(a, np.ndarray) else a for a in args]


def answers(device, name, args):
    """What an operation returns on a device, as NumPy arrays."""
    out = getattr(images, name)(device, *there(device, args))
    return [device.to_numpy(x) for x in (out if isinstance(out, tuple) else (out,))]


def wanted(name, args):
    """What the reference returns in float64."""
    out = getattr(reference, name)(*(a.astype("float64") if isinstance(a, np.ndarray) else a
                                     for a in args))
    return out if isinstance(out, tuple) else (out,)


def right(name, args, got):
    """Compare with the reference, allowing for rounding of what was added up."""
    sizes = [abs(a) if isinstance(a, np.ndarray) else "linear" if isinstance(a, str) else a
             for a in args]
    terms = 8 + sum(a.size for a in args if isinstance(a, np.ndarray)) ** 0.5
    for found, want, size in zip(got, wanted(name, args), wanted(name, sizes)):
        assert found.dtype == args[0].dtype
        assert_close(found, want, terms, size + 1e-3)


# Numbers ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@everything
def test_an_operation_is_the_reference(device, kind, name, geometry, dtype):
    args = calls(kind, geometry, dtype)[name]
    right(name, args, answers(device, name, args))


@pytest.mark.parametrize("columns", images.COLUMNS)
@pytest.mark.parametrize("rows", images.ROWS)
@pytest.mark.parametrize("kind, name", [pair for pair in OPERATIONS if "transposed" not in pair[1]])
def test_every_tile_is_right(device, monkeypatch, kind, name, rows, columns):
    monkeypatch.setattr(images, "tile_for", lambda m, n, dtype: (rows, columns, True))
    args = calls(kind, WIDE)[name]
    right(name, args, answers(device, name, args))


@pytest.mark.parametrize("parts", [1, 2, 3, 50])
@everything
def test_any_number_of_parts_is_right(device, monkeypatch, kind, name, parts):
    monkeypatch.setattr(images, "parts_for", lambda tiles, terms: parts)
    args = calls(kind, WIDE)[name]
    right(name, args, answers(device, name, args))


@pytest.mark.parametrize("geometry", [GEOMETRIES[1], WIDE], ids=str)
@everything
def test_sums_are_as_good_as_those_of_float(device, kind, name, geometry):
    """Tensor cores take 11 bits of a number; two of those must be nearly as good as its 24.

    An H100 does not round its sums, it cuts them: five times NumPy's error was seen, and one number
    of 11 bits would be a thousand times off.
    """
    args = calls(kind, geometry)[name]
    linear = [*args[:3], "linear", args[4]] if len(args) == 5 else args
    plain = getattr(reference, name)(*linear)
    plain = plain if isinstance(plain, tuple) else (plain,)
    for got, narrow, want in zip(answers(device, name, linear), plain, wanted(name, linear)):
        assert np.linalg.norm(got - want) < 8 * np.linalg.norm(narrow - want) + 1e-7


@everything
def test_no_examples_are_no_answer(device, kind, name):
    if not name.endswith("grad"):                   # the mean of no examples
        for out, want in zip(answers(device, name, calls(kind, SMALL, N=0)[name]),
                             wanted(name, calls(kind, SMALL, N=0)[name])):
            assert out.shape == want.shape


@everything
def test_arrays_may_begin_anywhere(device, kind, name):
    """Then they cannot be copied 16 bytes at a time."""
    def moved(a):
        if not isinstance(a, np.ndarray):
            return a
        room = device.zeros((a.size + 1,), a.dtype)
        there = room[1:].reshape(a.shape)
        device.overwrite(there, a)
        return there

    args = calls(kind, WIDE)[name]
    out = getattr(images, name)(device, *map(moved, args))
    right(name, args, [device.to_numpy(x) for x in (out if isinstance(out, tuple) else (out,))])


# NaN ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("f", ["linear", "relu", "tanh"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_nan_reaches_the_places_that_see_it_in_its_example_and_nothing_else(device, kind, f):
    h, W, b, _, where = calls(kind, SMALL)[f"{kind}_dense"]
    h[2, 0] = np.nan
    want = np.isnan(reference.local_dense(h, np.ones((30, 18, 4)), np.zeros((30, 4)), f, where))
    assert 0 < want.sum() < want[2].size
    got, = answers(device, f"{kind}_dense", (h, W, b, f, where))
    assert same(np.isnan(got), want)


@pytest.mark.parametrize("name", ["pull_back", "grad", "transposed_grad"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_nan_reaches_all_that_depends_on_it_and_nothing_else(device, kind, name):
    name = f"{kind}_{name}"
    args = calls(kind, SMALL)[name]
    before = wanted(name, args)
    for i in range(1 + name.endswith("grad")):
        kept = args[i][2, 3]
        args[i][2, 3] = 1e3
        other = wanted(name, args)
        args[i][2, 3] = np.nan
        got = answers(device, name, args)
        args[i][2, 3] = kept
        for one, two, was in zip(got, other, before):
            assert same(np.isnan(one), two != was)


@pytest.mark.parametrize("kind", KINDS)
def test_a_nan_weight_is_seen(device, kind):
    for name in (f"{kind}_dense", f"{kind}_pull_back"):
        args = calls(kind, SMALL)[name]
        args[1][...] = np.nan
        assert np.isnan(answers(device, name, args)[0]).all()


# Order --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", DTYPES)
@everything
def test_the_order_of_threads_changes_no_bit(kind, name, dtype):
    args = calls(kind, WIDE, dtype)[name]
    usual = answers(emulated(), name, args)
    for schedule in ("down", "random"):
        for got, want in zip(answers(emulated(schedule=schedule), name, args), usual):
            assert same(got, want)


# What does not fit --------------------------------------------------------------------------------

@everything
def test_a_view_is_refused(device, kind, name):
    args = there(device, calls(kind, SMALL)[name])
    args[0] = device.asarray(np.repeat(device.to_numpy(args[0]), 2, axis=1))[:, ::2]
    with pytest.raises(ValueError, match="C order"):
        getattr(images, name)(device, *args)


@everything
def test_arrays_that_do_not_fit_the_stencil_are_refused(device, kind, name):
    args = calls(kind, SMALL)[name]
    for i, array in enumerate(args):
        if isinstance(array, np.ndarray) and not (i == 0 and name.endswith("grad")):
            wrong = [*args[:i], np.concatenate([array, array[..., :1]], axis=-1), *args[i + 1:]]
            with pytest.raises(ValueError, match="wanted"):
                getattr(images, name)(device, *there(device, wrong))
