"""The products of matrices on a CUDA device, every tile of every kernel, against float64."""
import numpy as np
import pytest
from conftest import assert_close, same

from minicredit.kernels import reference
from minicredit.kernels.cuda import dense
from minicredit.kernels.cuda.optimisers import STATES, update_fields

DTYPES = "float32", "float64"
SIZES = [(1, 1, 1), (7, 13, 5), (2, 3, 67), (67, 2, 3), (3, 101, 2), (33, 40, 36), (100, 24, 10)]
EMPTY = [(0, 3, 4), (3, 0, 4), (3, 4, 0)]
F = "linear", "tanh", "relu"


def numbers(dtype, *shape, seed=0):
    """Standard normal, as rounded to dtype."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def layer(device, dtype, N, n_in, n_out):
    """h, W, b, delta, another h and another delta: on the host in float64, and on the device."""
    host = [numbers(dtype, *shape, seed=i) for i, shape in enumerate(
        [(N, n_in), (n_in, n_out), (n_out,), (N, n_out), (N, n_in), (N, n_out)])]
    return [x.astype(np.float64) for x in host], [device.asarray(x) for x in host]


def close(device, got, want, terms, dtype):
    """`got` of the device is `want`, of whose `terms` products none is larger than 20."""
    assert got.dtype == dtype
    assert_close(device.to_numpy(got), want, terms, 20)


def use(monkeypatch, tile):
    """From now on every product is made of this tile."""
    for choose in ("tile_for", "gradient_tile"):
        monkeypatch.setattr(dense, choose, lambda *about, **also: tile)


def tiles(dtype):
    """The tiles that there are for a dtype."""
    return [tile for tile in dense.TILES if dtype == "float32" or tile not in dense.SINGLE]


ALL_TILES = [(dtype, tile) for dtype in DTYPES for tile in tiles(dtype)]
GRADIENTS = [pair for pair in ALL_TILES if pair[1] != "pairs"]
SINGLES = [pair for pair in GRADIENTS if pair[1] != "tensor gradient"]
PAIRS = [pair for pair in ALL_TILES if pair[1] not in ("small", "tensor gradient")]


def around(tile):
    """Sizes at which a tile is full, one short and one over; and some far from it."""
    rows, columns, deep = dense.TILES[tile][:3]
    return [*SIZES, (rows, deep, columns), (rows + 1, deep - 1, columns + 1),
            (rows - 1, 2 * deep + 1, columns - 1), (2 * rows + 4, 8, columns + 8)]


# The operations -----------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype, tile", SINGLES)
def test_dense_is_its_definition(device, monkeypatch, dtype, tile):
    use(monkeypatch, tile)
    for i, (N, n_in, n_out) in enumerate(around(tile)):
        (h, W, b, *_), (H, V, c, *_) = layer(device, dtype, N, n_in, n_out)
        f = F[i % 3]
        close(device, dense.dense(device, H, V, c, f), reference.dense(h, W, b, f), n_in + 2, dtype)


@pytest.mark.parametrize("dtype, tile", SINGLES)
def test_an_error_pulled_back_is_its_definition(device, monkeypatch, dtype, tile):
    use(monkeypatch, tile)
    for i, (N, n_in, n_out) in enumerate(around(tile)):
        (h, W, _, delta, *_), (H, V, _, D, *_) = layer(device, dtype, N, n_out, n_in)
        want, f = reference.pull_back(delta, W), F[i % 3]
        close(device, dense.pull_back(device, D, V), want, n_in, dtype)
        out = device.empty(H.shape, H.dtype)
        device.run([dense.pull_back_slope_work(D, V, H, f, out)])
        assert_close(device.to_numpy(out), reference.times_slope(want, h, f), n_in + 2,
                     20 * (1 + h * h))


@pytest.mark.parametrize("dtype, tile", GRADIENTS)
def test_a_gradient_is_its_definition(device, monkeypatch, dtype, tile):
    use(monkeypatch, tile)
    for n_in, N, n_out in around(tile):
        (h, _, _, delta, *_), (H, _, _, D, *_) = layer(device, dtype, N, n_in, n_out)
        for got, want in zip(dense.dense_grad(device, H, D), reference.dense_grad(h, delta)):
            close(device, got, want, 2, dtype)


@pytest.mark.parametrize("size", EMPTY)
@pytest.mark.parametrize("dtype", DTYPES)
def test_empty_sizes_are_as_in_the_reference(device, dtype, size):
    (h, W, b, delta, *_), (H, V, c, D, *_) = layer(device, dtype, *size)
    close(device, dense.dense(device, H, V, c, "tanh"), reference.dense(h, W, b, "tanh"), 2, dtype)
    close(device, dense.pull_back(device, D, V), reference.pull_back(delta, W), 2, dtype)
    with np.errstate(all="ignore"):
        want = reference.dense_grad(h, delta)
    for got, wanted in zip(dense.dense_grad(device, H, D), want):
        assert np.array_equal(device.to_numpy(got), wanted.astype(dtype), equal_nan=size[0] == 0) \
            or np.allclose(device.to_numpy(got), wanted)


@pytest.mark.parametrize("tile", [tile for dtype, tile in SINGLES if dtype == "float32"])
def test_a_nan_reaches_what_depends_on_it_and_nothing_else(device, monkeypatch, tile):
    use(monkeypatch, tile)
    _, (H, V, c, D, *_) = layer(device, "float32", 40, 9, 37)
    h = device.to_numpy(H)
    h[5, 3] = np.nan
    H = device.asarray(h)
    for f in ("relu", "tanh"):
        spoilt = np.isnan(device.to_numpy(dense.dense(device, H, V, c, f)))
        assert spoilt[5].all() and spoilt.sum() == 37
    spoilt = np.isnan(device.to_numpy(dense.dense_grad(device, H, D)[0]))
    assert spoilt[3].all() and spoilt.sum() == 37


def test_softmax_units(device):
    (h, W, b, *_), (H, V, c, *_) = layer(device, "float32", 7, 13, 5)
    close(device, dense.dense(device, H, V, c, "softmax"), reference.dense(h, W, b, "softmax"), 15,
          "float32")


def test_what_a_kernel_would_misread_is_refused(device):
    _, (H, V, c, D, *_) = layer(device, "float32", 4, 4, 4)
    for args in ((H.T, V, c), (H, V.T, c), (H, V, c[::-1]), (H, V[:3], c),
                 (H, device.asarray(np.ones((4, 4))), c), (np.ones((4, 4), "f4"), V, c)):
        with pytest.raises(ValueError):
            dense.dense(device, *args, "relu")
    with pytest.raises(ValueError, match="W"):
        dense.pull_back(device, D, V[:, :3])
    with pytest.raises(ValueError, match="delta"):
        dense.dense_grad(device, H, D[:3])


# What follows a product, in the same kernel -------------------------------------------------------

OPTIMISERS = {"sgd": (0.1,), "momentum": (0.1, 0.9), "manhattan": (0.1,),
              "rmsprop": (0.1, 0.9, 1e-3), "rmsprop_centred": (0.1, 0.95, 0.9, 1e-3),
              "adam": (3, 0.1, 0.9, 0.999, 1e-3)}


def states(device, dtype, shape, name):
    """Running means that an optimiser could have, here and there."""
    host = [1 + 0.1 * np.abs(numbers(dtype, *shape, seed=i)) for i in range(STATES.get(name, 0))]
    if name == "rmsprop_centred":
        host[1] = host[1] + 4                           # v: no less than m^2
    return [x.astype(np.float64) for x in host], [device.asarray(x) for x in host]


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("dtype, tile", GRADIENTS)
def test_weights_move_by_a_gradient_that_nobody_stores(device, monkeypatch, dtype, tile, name):
    if name not in ("sgd", "adam") and tile != "small":
        pytest.skip("an optimiser does not know the tile")
    use(monkeypatch, tile)
    for N, n_in, n_out in [(1, 1, 1), (13, 7, 5), (20, 33, 36), (9, 70, 67)]:
        (h, W, b, delta, *_), (H, V, c, D, *_) = layer(device, dtype, N, n_in, n_out)
        both = []
        for w, moved, g in zip((W, b), (V, c), reference.dense_grad(h, delta)):
            host, there = states(device, dtype, w.shape, name)
            both.append(update_fields(name, (moved, None, *there, *OPTIMISERS[name])))
            if name == "manhattan":                     # a rounding decides where g is nearly 0
                g[np.abs(g) < 1e-5] = 0
            getattr(reference, name)(w, g, *host, *OPTIMISERS[name])
        device.run([dense.descend_work(H, D, *both)])
        for got, want in ((V, W), (c, b)):
            close(device, got, want, 8, dtype)


def test_all_layers_move_in_one_launch(device):
    sizes, works, pairs = (50, 24, 24, 10), [], []
    for n_in, n_out in zip(sizes, sizes[1:]):
        (h, W, b, delta, *_), (H, V, c, D, *_) = layer(device, "float32", 20, n_in, n_out)
        works.append(dense.descend_work(H, D, *(update_fields("sgd", (w, None, 0.1))
                                                for w in (V, c))))
        dW, db = reference.dense_grad(h, delta)
        pairs += [(V, W - 0.1 * dW), (c, b - 0.1 * db)]
    before = getattr(device, "launches", 0)
    device.run(works)
    assert getattr(device, "launches", 1) == before + 1
    for got, want in pairs:
        close(device, got, want, 2, "float32")


@pytest.mark.parametrize("dtype, tile", PAIRS)
def test_a_difference_target_is_its_definition(device, monkeypatch, dtype, tile):
    use(monkeypatch, tile)
    for i, (N, n_in, n_out) in enumerate(around(tile)):
        (h, V, c, below, h_hat, _), there = layer(device, dtype, N, n_in, n_out)
        out, f = device.empty((N, n_out), np.dtype(dtype)), F[i % 3]
        device.run([dense.target_work(there[4], *there[:4], out, f)])
        up, down = reference.dense(h_hat, V, c, f), reference.dense(h, V, c, f)
        close(device, out, reference.difference(below, up, down), 2 * n_in + 4, dtype)


@pytest.mark.parametrize("dtype, tile", PAIRS)
def test_a_met_target_stays_met_bit_for_bit(device, monkeypatch, dtype, tile):
    use(monkeypatch, tile)
    for N, n_in, n_out in [(1, 1, 1), (70, 33, 67)]:
        _, (H, V, c, below, *_) = layer(device, dtype, N, n_in, n_out)
        out = device.empty((N, n_out), H.dtype)
        device.run([dense.target_work(H, device.copy(H), V, c, below, out, "tanh")])
        assert same(device.to_numpy(out), device.to_numpy(below))


@pytest.mark.parametrize("f", F)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_an_inverse_has_to_do_is_its_definition(device, dtype, f):
    for N, n_in, n_out in SIZES:
        (h, V, c, goal, *_), there = layer(device, dtype, N, n_in, n_out)
        out = device.empty((N, n_out), np.dtype(dtype))
        device.run([dense.reconstruct_work(*there[:4], out, f)])
        back = reference.dense(h, V, c, f)
        want = reference.times_slope(back - goal, back, f)
        if f == "relu":                                 # a rounding decides where back is nearly 0
            a = reference.dense(h, V, c, "linear")
            assert np.abs(a).min() > 1e-6
        assert_close(device.to_numpy(out), want, 4 * n_in + 8, 20 * (1 + back * back))


# All kernels --------------------------------------------------------------------------------------

@pytest.mark.parametrize("tile", tiles("float32"))
def test_the_order_of_threads_does_not_matter(tile, monkeypatch):
    emulator = pytest.importorskip("minicredit.kernels.cuda.emulator")
    use(monkeypatch, tile)
    seen = []
    for schedule in ("up", "down", "random"):
        device = emulator.Device(schedule=schedule)
        _, (H, V, c, D, H2, D2) = layer(device, "float32", 37, 70, 41)
        results = [*dense.dense_grad(device, H, D)] if tile != "pairs" else []
        if ("float32", tile) in SINGLES:
            results += [dense.dense(device, H, V, c, "tanh"), dense.pull_back(device, D, V)]
        if ("float32", tile) in PAIRS:
            results.append(device.empty(D.shape, D.dtype))
            device.run([dense.target_work(H2, H, V, c, D2, results[-1], "tanh")])
        seen.append([device.to_numpy(x) for x in results])
    for other in seen[1:]:
        assert all(same(x, y) for x, y in zip(seen[0], other))


def test_the_tile_grows_with_the_matrix():
    for dtype in DTYPES:
        assert dense.tile_for(100, 240, dtype) == "small"
        chosen = [dense.TILES[dense.tile_for(n, n, dtype)][:2] for n in (100, 500, 1000, 8000)]
        areas = [rows * columns for rows, columns in chosen]
        assert areas == sorted(areas) and areas[0] < areas[-1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("widths", [(784, *[240] * 7, 10), (784, 1024, 1024, 1024, 10),
                                    (784, 500, 500, 10), (20, 30, 10)])
def test_layers_of_a_network_have_one_tile(dtype, widths):
    chosen = {dense.gradient_tile(*pair, dtype) for pair in zip(widths, widths[1:])}
    assert len(chosen) == 1
    assert ("medium" in chosen) == (1024 not in widths)


def test_every_tile_is_chosen_for_something():
    ones, many = (16, 100, 256, 1024, 8192), {"pairs"}
    for dtype in DTYPES:
        many |= {dense.tile_for(m, n, dtype, huge=True) for m in ones for n in ones}
        many |= {dense.gradient_tile(m, n, dtype) for m in ones for n in ones}
    assert many == set(dense.TILES)


# The ladder ---------------------------------------------------------------------------------------

RUNGS = {"naive": (32, 8), "coalesced": (8, 32), "shared": (32, 32), "registers": (64, 64),
         "quads": (64, 64)}


def climb(device, name, A, B, dtype, tensor=3):
    """C = A B by one rung."""
    (m, k), n = A.shape, B.shape[1]
    C, square = device.empty((m, n), A.dtype), 128 if dtype == "float32" else 64
    defines = (("real", "float" if dtype == "float32" else "double"),)
    file, threads, grid = "matmul", 256, -(-m // square) * -(-n // square)
    if name == "tensor":
        file, defines = "matmul_tensor", (*defines, ("TENSOR", tensor))
    if name in RUNGS:
        rows, columns = RUNGS[name]
        grid = -(-n // columns), -(-m // rows)
        grid = grid[::-1] if name == "naive" else grid
        threads = threads if rows == 64 else (32, 32) if name == "shared" else (32, 8)
    device.launch(file, name, defines, grid, threads, [A, B, C, m, n, k])
    return device.to_numpy(C)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*RUNGS, "warps", "tensor"])
def test_every_rung_finds_the_product(device, name, dtype):
    if (name, dtype) == ("tensor", "float64"):
        pytest.skip("tensor cores take floats")
    for m, k, n in [*SIZES, (64, 16, 64), (129, 17, 130)]:
        A, B = numbers(dtype, m, k), numbers(dtype, k, n, seed=1)
        got = climb(device, name, device.asarray(A), device.asarray(B), dtype)
        assert_close(got, A.astype(np.float64) @ B, k, 20)


def test_three_tf32_are_as_good_as_a_float_and_one_is_not(device):
    A, B = numbers("float32", 40, 500), numbers("float32", 500, 30, seed=1)
    want, there = A.astype(np.float64) @ B, (device.asarray(A), device.asarray(B))
    error = {name: np.abs(climb(device, rung, *there, "float32", tensor) - want).max()
             for name, rung, tensor in (("float", "warps", 0), ("three", "tensor", 3),
                                        ("one", "tensor", 1))}
    assert error["three"] < 4 * error["float"] < error["one"]
