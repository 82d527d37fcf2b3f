"""Coherent networks, K side by side: the products of dense layers, with a network to each tile.

A block makes a tile of one network's product, as in `dense`; bias, rectifier and sign go over it
before it is written.  All networks share a launch.
"""
from minicredit.kernels.cuda.dense import tile_for, tiled, tiles
from minicredit.kernels.cuda.losses import floats
from minicredit.kernels.cuda.work import Work, require

THREADS = 256                           # of a block of signed_slope.cu


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


def signed_slope_work(h, sign, s):
    """s = sign [h != 0]."""
    problem = {"h": h, "sign": sign, "s": s, "n": h.size, "n_out": len(sign)}
    return Work("signed_slope", (), problem, -(-h.size // THREADS), THREADS, [h, sign], [s])


def signed_pull_back(device, delta, W):
    """See kernels.reference.signed_pull_back.  W is read along its lines, as it lies."""
    (K, n_in, n_out), N = W.shape, delta.shape[-2]
    require("delta", delta, (K, N, n_out), floats(delta))
    require("W", W, (K, n_in, n_out), delta.dtype)
    e = device.empty((K, N, n_in), delta.dtype)
    device.run([signed_pull_back_work(delta, W, e)])
    return e


def signed_pull_back_work(delta, W, e):
    """e = delta W^T in each network."""
    (K, n_in, n_out), N = W.shape, delta.shape[1]
    problem = {"delta": delta, "W": W, "e": e, "N": N, "n_out": n_out, "n_in": n_in}
    return side_by_side("signed_pull_back", problem, K, (N, n_in), [delta, W], [e])


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


def influence(device, s, W):
    """See kernels.reference.influence, which is `signed_pull_back` of gates."""
    return signed_pull_back(device, s, W)


def side_by_side(kernel, problem, K, shape, reads, writes, smallest="small"):
    """The work of a kernel that makes K matrices of one shape, a tile of one to a block."""
    rows, columns = shape
    name = tile_for(K * rows, columns, writes[0].dtype, smallest)
    each = tiles(name, rows, columns)
    work = tiled(kernel, {**problem, "tiles": each}, shape, name, reads, writes)
    work.blocks = K * each
    return work
