"""Coherent networks, K side by side: a block makes a 32 x 32 tile of one network's product.

Bias, rectifier and sign go over a tile before it is written; db is added up by those blocks of a
gradient that have all of delta go by.  coherent.cu has the kernels.
"""
from minicredit.kernels.cuda.work import Work, require

TILE = 32
THREADS = 256                           # of a block


def tiles(K, m, n):
    """How many blocks make K products (m, n)."""
    return K * -(-m // TILE) * -(-n // TILE)


def signed_dense(device, h, W, b, sign):
    """See kernels.reference.signed_dense."""
    (K, n_in, n_out), N, dtype = W.shape, h.shape[-2], h.dtype
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
    return Work("coherent:signed_dense", (), problem, tiles(K, N, n_out), THREADS,
                [h, W, b, sign], [out])


def signed_slope(device, h, sign):
    """See kernels.reference.signed_slope."""
    require("h", h, h.shape, h.dtype)
    require("sign", sign, h.shape[-1:], h.dtype)
    s = device.empty(h.shape, h.dtype)
    problem = {"h": h, "sign": sign, "s": s, "n": h.size, "n_out": len(sign)}
    device.run([Work("coherent:signed_slope", (), problem, -(-h.size // THREADS), THREADS,
                     [h, sign], [s])])
    return s


def signed_pull_back(device, delta, W):
    """See kernels.reference.signed_pull_back."""
    (K, n_in, n_out), N = W.shape, delta.shape[-2]
    require("delta", delta, (K, N, n_out), delta.dtype)
    require("W", W, (K, n_in, n_out), delta.dtype)
    e = device.empty((K, N, n_in), delta.dtype)
    problem = {"delta": delta, "W": W, "e": e, "N": N, "n_in": n_in, "n_out": n_out}
    device.run([Work("coherent:signed_pull_back", (), problem, tiles(K, N, n_in), THREADS,
                     [delta, W], [e])])
    return e


def signed_grad(device, h, delta):
    """See kernels.reference.signed_grad."""
    (K, N, n_out), n_in, dtype = delta.shape, h.shape[-1], h.dtype
    require("h", h, (N, n_in) if h.ndim == 2 else (K, N, n_in), dtype)
    require("delta", delta, (K, N, n_out), dtype)
    dW, db = device.empty((K, n_in, n_out), dtype), device.empty((K, n_out), dtype)
    problem = {"h": h, "delta": delta, "dW": dW, "db": db, "N": N, "n_in": n_in, "n_out": n_out,
               "common": int(h.ndim == 2)}
    device.run([Work("coherent:signed_grad", (), problem, tiles(K, n_in, n_out), THREADS,
                     [h, delta], [dW, db])])
    return dW, db


def influence(device, s, W):
    """See kernels.reference.influence, which is `signed_pull_back` of gates."""
    return signed_pull_back(device, s, W)
