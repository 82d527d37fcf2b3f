"""Layers of images on a CUDA device: what places see, times their weights, with no patches copied.

    local_*     each place has weights of its own           local_gather.cu, _scatter.cu, _grad.cu
    conv_*      all places share theirs                     conv_gather.cu, _scatter.cu, _grad.cu

    gather      a[p] = h[what p sees] W[p]                  the forward; the mirror's pull back
    scatter     e += delta[p] W[p]^T, there                 the pull back; the mirror's forward
    gradient    dW[p] = h[what p sees]^T delta[p] / N       and the mirror's, transposed

All read the image where it lies, see image_product.cuh.  So nothing is allocated but what is
returned and, where a product has few tiles for a large device, the sums of `parts` of its terms,
which another kernel adds up, in order.
"""
from minicredit.kernels.cuda.dense import NONLINEARITY
from minicredit.kernels.cuda.work import Work, require

NAMES = "R", "C", "ch", "k", "s", "top", "left", "R1", "C1"
ROWS, COLUMNS = (32, 128), (16, 48, 64)                 # tiles of tensor cores
BRINGING = 32                           # products that take as long as bringing a number
ENOUGH = 256                            # blocks that keep a large device busy
LEAST = 64                              # terms that are worth a block
MOST = 128                              # parts of one product
THREADS = 256                           # of a tile's block, as in image_sums.cuh
SUMMED = 256                            # threads of sum_parts and conv_grad_mean
ACROSS, DOWN = 32, 8                    # threads of mean_rows


# Operations: each place has its own weights -------------------------------------------------------

def local_dense(device, h, W, b, f, stencil):
    """See kernels.reference.local_dense.  A block makes a tile of one place."""
    P, F = places(stencil), W.shape[-1]
    require("h", h, (len(h), numbers(stencil)), h.dtype)
    require("W", W, (P, seen(stencil), F), h.dtype)
    require("b", b, (P, F), h.dtype)
    return gather(device, "local", h, W, b, f, stencil, F, 0)


def local_pull_back(device, delta, W, stencil):
    """See kernels.reference.local_pull_back.  A block makes a tile of one unit of the image."""
    P, F = places(stencil), W.shape[-1]
    require("delta", delta, (len(delta), P * F), delta.dtype)
    require("W", W, (P, seen(stencil), F), delta.dtype)
    return scatter(device, "local", delta, W, None, "linear", stencil, F, 0)


def local_grad(device, h, delta, stencil):
    """See kernels.reference.local_grad.  A block makes a tile of one place's dW."""
    P, S, F = places(stencil), seen(stencil), channels(delta, stencil)
    require("h", h, (len(h), numbers(stencil)), h.dtype)
    require("delta", delta, (len(h), P * F), h.dtype)
    dW, db = device.empty((P, S, F), h.dtype), device.empty((P, F), h.dtype)
    device.run([local_grad_work(h, delta, dW, stencil, 0), *mean_works(device, delta, db, len(h))])
    return dW, db


def local_transposed(device, h, W, b, f, stencil):
    """See kernels.reference.local_transposed.  As `local_pull_back`."""
    R, C, ch = stencil[:3]
    P, F = places(stencil), W.shape[-2]
    require("h", h, (len(h), P * F), h.dtype)
    require("W", W, (P, F, seen(stencil)), h.dtype)
    require("b", b, (R * C, ch), h.dtype)
    return scatter(device, "local", h, W, b, f, stencil, F, 1)


def local_transposed_pull_back(device, delta, W, stencil):
    """See kernels.reference.local_transposed_pull_back.  As `local_dense`."""
    P, F = places(stencil), W.shape[-2]
    require("delta", delta, (len(delta), numbers(stencil)), delta.dtype)
    require("W", W, (P, F, seen(stencil)), delta.dtype)
    return gather(device, "local", delta, W, None, "linear", stencil, F, 1)


def local_transposed_grad(device, h, delta, stencil):
    """See kernels.reference.local_transposed_grad.  As `local_grad`."""
    R, C, ch = stencil[:3]
    P, S, F = places(stencil), seen(stencil), channels(h, stencil)
    require("h", h, (len(h), P * F), h.dtype)
    require("delta", delta, (len(h), numbers(stencil)), h.dtype)
    dW, db = device.empty((P, F, S), h.dtype), device.empty((R * C, ch), h.dtype)
    device.run([local_grad_work(delta, h, dW, stencil, 1), *mean_works(device, delta, db, len(h))])
    return dW, db


# Operations: all places share their weights -------------------------------------------------------

def conv_dense(device, h, W, b, f, stencil):
    """See kernels.reference.conv_dense.  A block makes a tile of the places of all examples."""
    F = W.shape[-1]
    require("h", h, (len(h), numbers(stencil)), h.dtype)
    require("W", W, (seen(stencil), F), h.dtype)
    require("b", b, (F,), h.dtype)
    return gather(device, "conv", h, W, b, f, stencil, F, 0)


def conv_pull_back(device, delta, W, stencil):
    """See kernels.reference.conv_pull_back.  A block makes a tile of the units of one kind."""
    F = W.shape[-1]
    require("delta", delta, (len(delta), places(stencil) * F), delta.dtype)
    require("W", W, (seen(stencil), F), delta.dtype)
    return scatter(device, "conv", delta, W, None, "linear", stencil, F, 0)


def conv_grad(device, h, delta, stencil):
    """See kernels.reference.conv_grad.  A block makes a tile of dW, from part of the places."""
    P, S, F = places(stencil), seen(stencil), channels(delta, stencil)
    require("h", h, (len(h), numbers(stencil)), h.dtype)
    require("delta", delta, (len(h), P * F), h.dtype)
    dW, db = device.empty((S, F), h.dtype), device.empty((F,), h.dtype)
    device.run([*conv_grad_works(device, h, delta, dW, stencil, 0),
                *mean_works(device, delta, db, len(h))])
    return dW, db


def conv_transposed(device, h, W, b, f, stencil):
    """See kernels.reference.conv_transposed.  As `conv_pull_back`."""
    F = W.shape[-2]
    require("h", h, (len(h), places(stencil) * F), h.dtype)
    require("W", W, (F, seen(stencil)), h.dtype)
    require("b", b, (stencil[2],), h.dtype)
    return scatter(device, "conv", h, W, b, f, stencil, F, 1)


def conv_transposed_pull_back(device, delta, W, stencil):
    """See kernels.reference.conv_transposed_pull_back.  As `conv_dense`."""
    F = W.shape[-2]
    require("delta", delta, (len(delta), numbers(stencil)), delta.dtype)
    require("W", W, (F, seen(stencil)), delta.dtype)
    return gather(device, "conv", delta, W, None, "linear", stencil, F, 1)


def conv_transposed_grad(device, h, delta, stencil):
    """See kernels.reference.conv_transposed_grad.  As `conv_grad`."""
    P, S, F = places(stencil), seen(stencil), channels(h, stencil)
    require("h", h, (len(h), P * F), h.dtype)
    require("delta", delta, (len(h), numbers(stencil)), h.dtype)
    dW, db = device.empty((F, S), h.dtype), device.empty((stencil[2],), h.dtype)
    device.run([*conv_grad_works(device, delta, h, dW, stencil, 1),
                *mean_works(device, delta, db, len(h))])
    return dW, db


# Geometry -----------------------------------------------------------------------------------------

def numbers(stencil):
    """How many numbers an image has."""
    return stencil[0] * stencil[1] * stencil[2]


def seen(stencil):
    """How many of them a place sees."""
    return stencil[3] ** 2 * stencil[2]


def places(stencil):
    """How many places there are."""
    return stencil[7] * stencil[8]


def channels(units, stencil):
    """How many numbers each place has in `units` (N, P F)."""
    return units.shape[-1] // places(stencil)


# Works --------------------------------------------------------------------------------------------

def gather(device, kind, h, W, b, f, stencil, F, transposed):
    """f(what places see, times their weights, + b): a new array (N, P F)."""
    N, P = len(h), places(stencil)
    out = device.empty((N, P * F), h.dtype)
    sums = sums_for(device, gather_shape(kind, N, F, stencil), seen(stencil), out)
    device.run(gather_works(kind, h, W, b, out, sums, f, stencil, F, transposed))
    return out


def gather_works(kind, h, W, b, out, sums, f, stencil, F, transposed):
    """The product; with several parts also the end of their sum."""
    problem = {"h": h, "W": W, "where": fields(stencil), "N": len(h), "F": F}
    shape = gather_shape(kind, len(h), F, stencil)
    return in_parts(f"{kind}_gather", problem, shape, h, W, b, out, sums, f, transposed)


def gather_shape(kind, N, F, stencil):
    """The products of a gather: how many, their rows and columns."""
    P = places(stencil)
    return (P, N, F) if kind == "local" else (1, N * P, F)


def scatter(device, kind, h, W, b, f, stencil, F, transposed):
    """f(what places say where they look, + b): a new array (N, R C ch)."""
    out = device.empty((len(h), numbers(stencil)), h.dtype)
    taps = (-(-stencil[3] // stencil[4])) ** 2
    sums = sums_for(device, scatter_shape(kind, len(h), stencil), taps * F, out)
    device.run(scatter_works(kind, h, W, b, out, sums, f, stencil, F, transposed))
    return out


def scatter_works(kind, h, W, b, out, sums, f, stencil, F, transposed):
    """The product; with several parts also the end of their sum."""
    problem = {"h": h, "W": W, "where": fields(stencil), "N": len(h), "F": F}
    shape = scatter_shape(kind, len(h), stencil)
    return in_parts(f"{kind}_scatter", problem, shape, h, W, b, out, sums, f, transposed)


def scatter_shape(kind, N, stencil):
    """The products of a scatter: how many, and the rows and columns of the largest."""
    R, C, ch, _, s = stencil[:5]
    return (R * C, N, ch) if kind == "local" else (s * s, N * -(-R // s) * -(-C // s), ch)


def in_parts(kernel, problem, shape, h, W, b, out, sums, f, transposed):
    """A product's work; its parts leave their sums in `sums`, for a second one to add up."""
    tile, f = tile_for(*shape[1:], h.dtype), NONLINEARITY[f]
    parts = 1 if sums is None else len(sums)
    blocks = shape[0] * cover(*shape[1:], tile) * parts
    variant = (*tile_defines(tile), ("TRANSPOSED", transposed))
    reads = [h, W] if b is None else [h, W, b]
    if sums is None:
        problem = {**problem, "b": b, "out": out, "f": f, "parts": 1}
        return [Work(kernel, variant, problem, blocks, THREADS, reads, [out])]
    problem = {**problem, "b": None, "out": sums, "f": 0, "parts": parts}
    return [Work(kernel, variant, problem, blocks, THREADS, [h, W], [sums]),
            sum_work(sums, b, out, f, 1)]


def sum_work(sums, b, out, f, N):
    """out = f(the sum of the parts / N + b), for the code of an f."""
    problem = {"sums": sums, "b": b, "out": out, "count": out.size, "parts": len(sums),
               "biases": 1 if b is None else b.size, "f": f, "N": N}
    return Work("sum_parts", (), problem, -(-out.size // SUMMED), SUMMED,
                [sums] if b is None else [sums, b], [out])


def local_grad_work(image, units, dW, stencil, transposed):
    """dW = image[what p sees]^T units[p] / N at every place p, or its transpose."""
    P, rows, columns = dW.shape
    tile = tile_for(rows, columns, dW.dtype)
    problem = {"image": image, "units": units, "dW": dW, "where": fields(stencil),
               "N": len(image), "F": channels(units, stencil)}
    variant = (*tile_defines(tile), ("TRANSPOSED", transposed))
    return Work("local_grad", variant, problem, P * cover(rows, columns, tile), THREADS,
                [image, units], [dW])


def conv_grad_works(device, image, units, dW, stencil, transposed):
    """The same summed over all places: the sums of its parts, and then their mean."""
    tile, N, P = tile_for(*dW.shape, dW.dtype), len(image), places(stencil)
    tiles = cover(*dW.shape, tile)
    parts = parts_for(tiles, N * P)
    sums = device.empty((parts, *dW.shape), dW.dtype)
    problem = {"image": image, "units": units, "sums": sums, "dW": dW, "where": fields(stencil),
               "N": N, "F": channels(units, stencil), "parts": parts}
    variant = (*tile_defines(tile), ("TRANSPOSED", transposed))
    return [Work("conv_grad", variant, problem, tiles * parts, THREADS, [image, units],
                 [sums]),
            Work("conv_grad:conv_grad_mean", variant, problem, -(-dW.size // SUMMED), SUMMED,
                 [image, units, sums], [dW])]


def mean_works(device, delta, db, N):
    """db = the rows of delta, as many columns wide as db has entries, added up, / N."""
    columns = db.size
    rows, across = delta.size // columns, -(-columns // ACROSS)
    parts = parts_for(across, rows)
    sums = db if parts == 1 else device.empty((parts, columns), db.dtype)
    problem = {"delta": delta, "out": sums, "rows": rows, "columns": columns, "parts": parts,
               "N": N if parts == 1 else 1}
    work = Work("mean_rows", (), problem, across * parts, (ACROSS, DOWN), [delta], [sums])
    return [work] if parts == 1 else [work, sum_work(sums, None, db, 0, N)]


def fields(stencil):
    """A stencil as the kernels' struct."""
    return dict(zip(NAMES, map(int, stencil)))


# Tiles --------------------------------------------------------------------------------------------

def tile_for(rows, columns, dtype):
    """The rows and columns of a block's tile, and whether tensor cores make it (no float64).

    That which covers a product with the least work: its numbers, and what it reads for them.
    """
    if dtype.name != "float32":
        return 64, 64, False
    tiles = [(m, n, True) for m in ROWS for n in COLUMNS]
    return min(tiles, key=lambda tile: cover(rows, columns, tile) * work_of(tile))


def work_of(tile):
    """What a tile costs a term, in products: to multiply, and to bring what is multiplied."""
    rows, columns, _ = tile
    return rows * columns + BRINGING * (rows + columns)


def tile_defines(tile):
    """What a kernel is compiled with for these tiles."""
    rows, columns, tensor = tile
    return (("BM", rows), ("BN", columns), *((("TENSOR", 1),) if tensor else ()))


def cover(rows, columns, tile):
    """How many tiles cover so many rows and columns."""
    return -(-rows // tile[0]) * -(-columns // tile[1])


def parts_for(tiles, terms):
    """How many blocks share the terms of a tile: enough for a large device, none with too few."""
    return max(1, min(ENOUGH // max(tiles, 1), terms // LEAST, MOST))


def sums_for(device, shape, terms, out):
    """Where the parts of products leave their sums; None if each product has one part only."""
    tile = tile_for(*shape[1:], out.dtype)
    parts = parts_for(shape[0] * cover(*shape[1:], tile), terms) if out.size else 1
    return device.empty((parts, *out.shape), out.dtype) if parts > 1 else None
