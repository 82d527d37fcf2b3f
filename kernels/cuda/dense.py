"""Dense layers on a CUDA device: the products of matrices, alone and with what follows them.

    dense, pull_back, dense_grad        the operations
    pull_back_slope_work                (delta W^T) f'(h), with no e between
    descend_work                        a gradient and its optimiser, with no gradient between
    target_work                         h' + (f(h_hat V + c) - f(h V + c)), with no up and down
    reconstruct_work                    (back - goal) f'(back) of back = f(h V + c), with no back

All are one product, tile.cuh, which is compiled for several sizes of tiles: `tile_for`.
"""
from minicredit.kernels.cuda import losses
from minicredit.kernels.cuda.work import Work, require

NONLINEARITY = {"linear": 0, "softmax": 0, "tanh": 1, "relu": 2}    # as in nonlinearity.cuh
ENOUGH, MANY, WIDE = 128, 512, 192      # tiles: keep a large device busy; several times; see below

# A tile's rows and columns; a stage's depth; rows and columns of a thread; slices; stages; blocks
# that a multiprocessor should have room for, which is what limits the registers; products of tf32.
# Measured on an H100, as the fastest of some forty: `python -m benchmarks.gpu_products`.
TILES = {
    "tensor huge": (128, 64, 16, 8, 8, 1, 4, 2, 3),
    "tensor large": (64, 64, 32, 4, 8, 1, 3, 2, 3),
    "tensor medium": (32, 32, 32, 4, 8, 4, 5, 3, 3),
    "tensor gradient": (64, 64, 24, 4, 8, 1, 3, 3, 3),
    "large": (64, 64, 16, 4, 4, 1, 3, 2, 0),
    "medium": (32, 32, 16, 4, 4, 2, 6, 4, 0),
    "small": (16, 16, 128, 4, 4, 16, 2, 2, 0),
    "pairs": (16, 32, 64, 4, 4, 8, 3, 2, 0),
}
SINGLE = {tile for tile in TILES if "tensor" in tile}           # not for numbers of 8 bytes,
DOUBLE = {"small": (16, 16, 64, 4, 4, 16, 4, 2, 0),             # which want smaller stages
          "pairs": (16, 32, 32, 4, 4, 8, 4, 2, 0)}
DEFINES = "BM", "BN", "BK", "TM", "TN", "SPLIT", "STAGES", "BLOCKS", "TENSOR"


# Operations ---------------------------------------------------------------------------------------

def dense(device, h, W, b, f):
    """See kernels.reference.dense.  Bias and nonlinearity while a tile is in registers."""
    (N, n_in), n_out = h.shape, W.shape[-1]
    require("h", h, (N, n_in), h.dtype)
    require("W", W, (n_in, n_out), h.dtype)
    require("b", b, (n_out,), h.dtype)
    out = device.empty((N, n_out), h.dtype)
    device.run([dense_work(h, W, b, out, f)])
    return losses.softmax(device, out) if f == "softmax" else out


def pull_back(device, delta, W):
    """See kernels.reference.pull_back.  W is read along its lines, as it lies."""
    (N, n_out), n_in = delta.shape, W.shape[0]
    require("delta", delta, (N, n_out), delta.dtype)
    require("W", W, (n_in, n_out), delta.dtype)
    e = device.empty((N, n_in), delta.dtype)
    device.run([pull_back_work(delta, W, e)])
    return e


def dense_grad(device, h, delta):
    """See kernels.reference.dense_grad.  delta's columns are added up on their way through."""
    (N, n_in), n_out = h.shape, delta.shape[-1]
    require("h", h, (N, n_in), h.dtype)
    require("delta", delta, (N, n_out), h.dtype)
    dW, db = device.empty((n_in, n_out), h.dtype), device.empty((n_out,), h.dtype)
    device.run([dense_grad_work(h, delta, dW, db)])
    return dW, db


# Works --------------------------------------------------------------------------------------------

def dense_work(h, W, b, out, f):
    """out = f(h W + b), for an f that goes number by number."""
    (N, n_in), n_out = h.shape, W.shape[1]
    problem = {"h": h, "W": W, "b": b, "out": out, "N": N, "n_in": n_in, "n_out": n_out,
               "f": NONLINEARITY[f]}
    tile = tile_for(N, n_out, h.dtype, huge=True)
    return tiled("dense", problem, (N, n_out), tile, [h, W, b], [out])


def pull_back_work(delta, W, e):
    """e = delta W^T."""
    return pull_back_slope_work(delta, W, None, "linear", e)


def pull_back_slope_work(delta, W, h, f, out):
    """out = (delta W^T) f'(h), as `times_slope` after `pull_back`."""
    (N, n_out), n_in = delta.shape, W.shape[0]
    problem = {"delta": delta, "W": W, "h": h, "out": out, "N": N, "n_out": n_out, "n_in": n_in,
               "f": NONLINEARITY[f]}
    reads = [delta, W] if h is None else [delta, W, h]
    tile = tile_for(N, n_in, W.dtype, huge=True)
    return tiled("pull_back", problem, (N, n_in), tile, reads, [out])


def dense_grad_work(h, delta, dW, db):
    """dW = h^T delta / N, db = sum_n delta / N."""
    (N, n_in), n_out = h.shape, delta.shape[1]
    problem = {"h": h, "delta": delta, "dW": dW, "db": db, "N": N, "n_in": n_in, "n_out": n_out}
    tile = gradient_tile(n_in, n_out, h.dtype)
    return tiled("dense_grad", problem, (max(n_in, 1), n_out), tile, [h, delta], [dW, db])


def descend_work(h, delta, W, b):
    """`dense_grad`, and what an optimiser does with it.

    Parameters
    ----------
    h, delta : arrays (N, n_in), (N, n_out)
    W, b : dicts
        The fields of an Update, see `optimisers.update_fields`: the weights and their state.
    """
    (N, n_in), n_out = h.shape, delta.shape[1]
    problem = {"h": h, "delta": delta, "W": W, "b": b, "N": N, "n_in": n_in, "n_out": n_out}
    moved = [u[part] for u in (W, b) for part in ("w", "s1", "s2", "s3") if u[part] is not None]
    tile = gradient_tile(n_in, n_out, h.dtype)
    return tiled("descend", problem, (max(n_in, 1), n_out), tile, [h, delta, *moved], moved)


def target_work(h_hat, h, V, c, below, out, f):
    """out = below + (f(h_hat V + c) - f(h V + c)): both products from the same tile of V."""
    (N, n_above), n_below = h.shape, V.shape[1]
    problem = {"h_hat": h_hat, "h": h, "V": V, "c": c, "below": below, "out": out, "N": N,
               "n_above": n_above, "n_below": n_below, "f": NONLINEARITY[f]}
    tile = tile_for(2 * N, n_below, h.dtype, "pairs")
    return tiled("target", problem, (2 * N, n_below), tile, [h_hat, h, V, c, below], [out])


def reconstruct_work(h, V, c, goal, out, f):
    """out = (back - goal) f'(back), where back = f(h V + c).

    All layers do this at the same time, so there are more tiles than those of one of them.
    """
    (N, n_above), n_below = h.shape, V.shape[1]
    problem = {"h": h, "V": V, "c": c, "goal": goal, "out": out, "N": N, "n_above": n_above,
               "n_below": n_below, "f": NONLINEARITY[f]}
    tile = tile_for(N, n_below, h.dtype, "tensor medium" if h.dtype == "float32" else "small")
    return tiled("reconstruct", problem, (N, n_below), tile, [h, V, c, goal], [out])


# Tiles --------------------------------------------------------------------------------------------

def tile_for(m, n, dtype, smallest="small", huge=False):
    """The name of the largest tile of which an m x n matrix has enough to fill the device.

    Parameters
    ----------
    m, n : int
    dtype : dtype
    smallest : str
        If it has enough of none.
    huge : bool
        Whether the kernel has the registers for the largest.
    """
    if dtype != "float32":
        sizes = {"large": ENOUGH, "medium": ENOUGH}
    else:
        sizes = {"tensor huge": MANY} if huge else {}
        sizes.update({"tensor large": ENOUGH, "tensor medium": ENOUGH})
    return next((name for name, enough in sizes.items() if tiles(name, m, n) >= enough), smallest)


def gradient_tile(n_in, n_out, dtype):
    """The same for a gradient.

    One launch moves all layers of a network if their tiles are alike, so the narrow last layer is
    taken to be as wide as those below, and WIDE, which is beyond 784 x 784, leaves it to them what
    the first layer gets.
    """
    name = "tensor gradient" if dtype == "float32" else "large"
    return name if tiles(name, n_in, max(n_in, n_out)) >= WIDE else "medium"


def tiles(name, m, n):
    """How many of these tiles cover an m x n matrix."""
    rows, columns = TILES[name][:2]
    return -(-m // rows) * -(-n // columns)


def tiled(kernel, problem, shape, name, reads, writes):
    """The work of a kernel that makes a matrix, a tile to a block."""
    tile = DOUBLE.get(name, TILES[name]) if writes[0].dtype == "float64" else TILES[name]
    rows, columns, _, tm, tn, split = tile[:6]
    variant = tuple(zip(DEFINES, tile))
    threads = rows // tm * (columns // tn) * split
    return Work(kernel, variant, problem, tiles(name, *shape), threads, reads, writes)
