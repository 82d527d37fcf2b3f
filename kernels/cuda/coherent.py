"""Coherent networks, K side by side: the products of dense layers, with a network to each tile.

A block makes a tile of one network's product, as in `dense`; bias, rectifier and sign go over it
before it is written, and so do slopes, and the optimiser over a gradient: `signed_pull_back_work`
with an h, `signed_descend_work`.  All networks share a launch.
"""
from minicredit.kernels.cuda.dense import NONLINEARITY, tile_for, tiled, tiles
from minicredit.kernels.cuda.losses import floats
from minicredit.kernels.cuda.work import Work, require

THREADS, SUMS = 256, 128                # of a block of signed_slope.cu or keep_signs.cu; of sums.cu


def signed_dense(device, h, W, b, sign):
    """See kernels.reference.signed_dense."""
    (K, n_in, n_out), N, dtype = W.shape, h.shape[-2], floats(h)
    require("h", h, (N, n_in) if h.ndim == 2 else (K, N, n_in), dtype)
    require("W", W, (K, n_in, n_out), dtype)
    require("b", b, (K, n_out), dtype)
    require("sign", sign, (n_out,), dtype)
    out = device.empty((K, N, n_out), dtype)
    device.run([signed_dense_work(h, W, b, sign, out)])
    return out


def signed_dense_work(h, W, b, sign, out):
    """out = sign max(0, h W + b) in each network."""
    (K, n_in, n_out), N = W.shape, h.shape[-2]
    problem = {"h": h, "W": W, "b": b, "sign": sign, "out": out, "N": N, "n_in": n_in,
               "n_out": n_out, "common": int(h.ndim == 2)}
    return side_by_side("signed_dense", problem, K, (N, n_out), [h, W, b, sign], [out])


def signed_slope(device, h, sign):
    """See kernels.reference.signed_slope.  One pass."""
    require("h", h, h.shape, floats(h))
    require("sign", sign, h.shape[-1:], h.dtype)
    s = device.empty(h.shape, h.dtype)
    device.run([signed_slope_work(h, sign, s)])
    return s


def signed_slope_work(h, sign, s, e=None, strides=(0, 0, 0)):
    """s = sign [h != 0], or e times that.

    Parameters
    ----------
    e : array, or None
    strides : (network, row, unit)
        How much further on in e the next network's, example's and unit's number is.
    """
    problem = {"e": e, "h": h, "sign": sign, "s": s, "n": h.size, "N": h.shape[-2],
               "n_out": len(sign), **dict(zip(("network", "row", "unit"), strides))}
    reads = [h, sign] if e is None else [e, h, sign]
    return Work("signed_slope", (), problem, -(-h.size // THREADS), THREADS, reads, [s])


def signed_times_slope(device, e, h, sign):
    """See kernels.reference.signed_times_slope.  One pass."""
    (K, N, n), dtype = h.shape, floats(h)
    require("e", e, (K, N, 1 if e.shape[-1] == 1 else n), dtype)
    require("h", h, (K, N, n), dtype)
    require("sign", sign, (n,), dtype)
    delta = device.empty((K, N, n), dtype)
    width = e.shape[2]
    strides = N * width, width, int(width == n)
    device.run([signed_slope_work(h, sign, delta, e, strides)])
    return delta


def signed_pull_back(device, delta, W):
    """See kernels.reference.signed_pull_back.  W is read along its lines, as it lies."""
    (K, n_in, n_out), N = W.shape, delta.shape[-2]
    require("delta", delta, (K, N, n_out), floats(delta))
    require("W", W, (K, n_in, n_out), delta.dtype)
    e = device.empty((K, N, n_in), delta.dtype)
    device.run([signed_pull_back_work(delta, W, e)])
    return e


def signed_pull_back_work(delta, W, e, h=None, sign=None):
    """e = delta W^T in each network; times sign [h != 0] if there is an h (K, N, n_in)."""
    (K, n_in, n_out), N = W.shape, delta.shape[1]
    problem = {"delta": delta, "W": W, "h": h, "sign": sign, "e": e, "N": N, "n_out": n_out,
               "n_in": n_in}
    reads = [delta, W] if h is None else [delta, W, h, sign]
    return side_by_side("signed_pull_back", problem, K, (N, n_in), reads, [e])


def signed_grad(device, h, delta):
    """See kernels.reference.signed_grad.  delta's columns are added up on their way through."""
    (K, N, n_out), n_in, dtype = delta.shape, h.shape[-1], floats(h)
    require("h", h, (N, n_in) if h.ndim == 2 else (K, N, n_in), dtype)
    require("delta", delta, (K, N, n_out), dtype)
    dW, db = device.empty((K, n_in, n_out), dtype), device.empty((K, n_out), dtype)
    device.run([signed_grad_work(h, delta, dW, db)])
    return dW, db


def signed_grad_work(h, delta, dW, db):
    """dW = h^T delta / N, db = sum_n delta / N in each network."""
    (K, N, n_out), n_in = delta.shape, h.shape[-1]
    problem = {"h": h, "delta": delta, "dW": dW, "db": db, "N": N, "n_in": n_in, "n_out": n_out,
               "common": int(h.ndim == 2)}
    return side_by_side("signed_grad", problem, K, (max(n_in, 1), n_out), [h, delta], [dW, db],
                        "medium")


def signed_descend_work(h, delta, W, b, sign=None):
    """`signed_grad`, what an optimiser does with it, and `keep_signs` if there are signs to keep.

    Parameters
    ----------
    h, delta : arrays
    W, b : dicts
        The fields of an Update, see `optimisers.update_fields`: the weights and their state.
    sign : array (n_out,), or None
    """
    (K, N, n_out), n_in = delta.shape, h.shape[-1]
    problem = {"h": h, "delta": delta, "sign": sign, "W": W, "b": b, "N": N, "n_in": n_in,
               "n_out": n_out, "common": int(h.ndim == 2)}
    moved = [u[part] for u in (W, b) for part in ("w", "s1", "s2", "s3") if u[part] is not None]
    reads = [h, delta, *moved] if sign is None else [h, delta, sign, *moved]
    return side_by_side("signed_descend", problem, K, (max(n_in, 1), n_out), reads, moved, "medium")


def influence(device, s, W):
    """See kernels.reference.influence, which is `signed_pull_back` of gates."""
    return signed_pull_back(device, s, W)


def class_sums(device, h):
    """See kernels.reference.class_sums."""
    K, N, n = h.shape
    require("h", h, (K, N, n), floats(h))
    z = device.empty((N, K), h.dtype)
    device.run([sums_work(h, z, (N, K, n), (n, N * n, 1))])
    return z


def by_class(device, beta):
    """See kernels.reference.by_class."""
    N, K = beta.shape
    require("beta", beta, (N, K), floats(beta))
    out = device.empty((K, N, 1), beta.dtype)
    device.run([sums_work(beta, out, (K, N, 1), (1, K, 0))])
    return out


def network_sum(device, e):
    """See kernels.reference.network_sum."""
    K, N, n = e.shape
    require("e", e, (K, N, n), floats(e))
    total = device.empty((N, n), e.dtype)
    device.run([network_sum_work(e, total)])
    return total


def network_sum_work(e, out, h=None, f="linear"):
    """out = sum_c e_c; times f'(h) of the layer that the networks share if there is an h."""
    K, N, n = e.shape
    return sums_work(e, out, (N, n, K), (n, 1, N * n), h, f)


def sums_work(x, out, sizes, strides, h=None, f="linear"):
    """out[r, c] = sum_j x[r row + c column + j step], times f'(h[r, c]) if there is an h.

    Parameters
    ----------
    sizes : rows, columns, terms
    strides : row, column, step
    """
    problem = {"x": x, "h": h, "out": out, "f": NONLINEARITY[f],
               **dict(zip(("rows", "columns", "terms"), sizes)),
               **dict(zip(("row", "column", "step"), strides))}
    reads = [x] if h is None else [x, h]
    return Work("sums", (), problem, -(-out.size // SUMS), SUMS, reads, [out])


def keep_signs(device, W, sign):
    """See kernels.reference.keep_signs."""
    require("W", W, W.shape, floats(W))
    require("sign", sign, W.shape[-1:], W.dtype)
    device.run([keep_signs_work(W, sign)])


def keep_signs_work(W, sign):
    """W = sign max(0, sign W)."""
    problem = {"W": W, "sign": sign, "n": W.size, "n_out": len(sign)}
    return Work("keep_signs", (), problem, -(-W.size // THREADS), THREADS, [W, sign], [W])


def side_by_side(kernel, problem, K, shape, reads, writes, smallest="small"):
    """The work of a kernel that makes K matrices of one shape, a tile of one to a block."""
    rows, columns = shape
    name = tile_for(K * rows, columns, writes[0].dtype, smallest)
    each = tiles(name, rows, columns)
    work = tiled(kernel, {**problem, "tiles": each}, shape, name, reads, writes)
    work.blocks = K * each
    return work
