"""Where a layer of images looks: rows x columns x channels, flat, channels innermost.

A layer with kernel k and stride s has one place for every s rows and s columns of its image,
and each place looks at k x k units of every channel.

    padding="same"      ceil(n / s) places along a side of n; zeros stand in for units past the
                        edge, max((ceil(n / s) - 1) s + k - n, 0) of them, the odd one at the end
                        (TensorFlow's definition; "same" in Bartunov et al. 2018)
    padding="none"      floor((n - k) / s) + 1 places, all inside
"""
from typing import NamedTuple

import numpy as np

from minicredit.errors import UserError
from minicredit.kernels import reference


class Stencil(NamedTuple):
    """Nine integers; the kernels take them as they stand, and see no more of a geometry.

    rows, columns, channels : of the image that is looked at
    kernel, stride : k and s
    top, left : rows and columns of zeros before the image
    rows_out, columns_out : the places
    """

    rows: int
    columns: int
    channels: int
    kernel: int
    stride: int
    top: int
    left: int
    rows_out: int
    columns_out: int


class Cost(NamedTuple):
    """What a layer holds.

    places : int
    weights, biases : int, how many numbers
    parameter_bytes : weights and biases
    patch_bytes : one batch of what every place sees, which a step copies side by side
    """

    places: int
    weights: int
    biases: int
    parameter_bytes: int
    patch_bytes: int


def stencil(shape, kernel, stride=1, padding="same"):
    """The stencil of a k x k kernel over an image.

    Parameters
    ----------
    shape : (rows, columns, channels)
    kernel, stride : int
    padding : {"same", "none"}

    Raises
    ------
    UserError
        If these are not positive integers, or the kernel does not fit the image without padding.
    """
    shape = tuple(shape)
    if len(shape) != 3:
        raise UserError(f"shape: wanted rows, columns, channels; got {shape}")
    for name, n in zip(("rows", "columns", "channels", "kernel", "stride"),
                       (*shape, kernel, stride)):
        positive(name, n)
    if padding not in ("same", "none"):
        raise UserError(f"padding: wanted one of same, none; got {padding!r}")
    if padding == "none" and kernel > min(shape[:2]):
        raise UserError(f"kernel: wanted at most {min(shape[:2])} in an image of {shape[0]} x "
                        f"{shape[1]}, or padding=same; got {kernel}")
    (top, rows), (left, columns) = (side(n, kernel, stride, padding) for n in shape[:2])
    return Stencil(*shape, kernel, stride, top, left, rows, columns)


def positive(name, n):
    """A number of things; returns it.

    Raises
    ------
    UserError
        If it is not a positive integer.
    """
    if not isinstance(n, (int, np.integer)) or n < 1:
        raise UserError(f"{name}: wanted a positive integer; got {n!r}")
    return int(n)


def side(n, kernel, stride, padding):
    """Zeros before, and places along, a side of n units."""
    if padding == "none":
        return 0, (n - kernel) // stride + 1
    places = -(-n // stride)
    return max((places - 1) * stride + kernel - n, 0) // 2, places


def cost(stencil, channels, dtype="float32", batch=0, shared=False):
    """What a layer of so many output channels holds, before any optimiser state.

    Parameters
    ----------
    stencil : Stencil
    channels : int
    dtype : "float32" or "float64"
    batch : int
    shared : bool
        One set of weights for all places: a convolution.

    Returns
    -------
    Cost
    """
    places = stencil.rows_out * stencil.columns_out
    seen = stencil.kernel**2 * stencil.channels
    sets, item = 1 if shared else places, np.dtype(dtype).itemsize
    weights, biases = sets * seen * channels, sets * channels
    return Cost(places, weights, biases, item * (weights + biases),
                item * batch * places * seen)


def matrices(shape, fan_in, fan_out, key, init, host=reference):
    """A stack of initial weight matrices, each as `minicredit.initial` would draw it; float64.

    Glorot & Bengio's fans are the sums that a unit is in, and these need not be a matrix's sides.

    Parameters
    ----------
    shape : tuple of int
        The last two are those of a matrix.
    fan_in, fan_out : int
    key : (seed, stream, i, t)
    init : {"glorot", "orthogonal"}
    host : module
        What draws; see `minicredit.kernels.host`.

    Raises
    ------
    UserError
        If init is neither.
    """
    if init not in ("glorot", "orthogonal"):
        raise UserError(f"init: wanted one of glorot, orthogonal; got {init!r}")
    r = np.sqrt(6 / (fan_in + fan_out))
    W = r * (2 * host.uniform(shape, key, np.float64) - 1)
    if init == "orthogonal":
        U, _, Vt = np.linalg.svd(W, full_matrices=False)
        W = U @ Vt
    return W
