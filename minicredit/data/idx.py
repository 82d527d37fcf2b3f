"""IDX, the format of MNIST, Fashion-MNIST and our digits (LeCun, Cortes & Burges 1998).

    bytes 0, 1          zero
    byte 2              type of the numbers: 8 is unsigned byte, the only one read here
    byte 3              number of dimensions: 3 for images, 1 for labels
    4 bytes each        sizes, most significant byte first
    the rest            one byte a pixel or label, last dimension fastest

The first four bytes as one number, the magic, are 2051 for images and 2049 for labels.
"""
import math

import numpy as np

from minicredit.data import streams
from minicredit.errors import UserError

KIND = {2051: "IDX images", 2049: "IDX labels"}


def magic_number(ndim):
    """2051 for three dimensions, 2049 for one."""
    return 0x0800 + ndim


def read(path, ndim):
    """The array in the IDX file `path`, plain, gzip'd or xz'd.

    Parameters
    ----------
    path : path of a file
    ndim : int
        3 for images (N, rows, columns), 1 for labels (N,).

    Returns
    -------
    uint8 array with `ndim` dimensions

    Raises
    ------
    UserError
        If it is not an IDX file of bytes with `ndim` dimensions, claims no images or more than
        `streams.LARGEST` bytes, or holds fewer or more bytes than it claims.
    """
    shape = header(path, ndim)
    start, want = 4 + 4 * ndim, math.prod(shape)
    if want > streams.LARGEST:
        raise UserError(f"{path}: wanted at most {streams.LARGEST} bytes, its header claims {want} "
                        f"({by(shape)}); the header is damaged")
    data = streams.first(path, start + want + 1)
    if len(data) < start + want:
        raise UserError(f"{path}: wanted {start + want} bytes for {by(shape)}, got {len(data)}; "
                        "the file is cut off, fetch it again")
    if len(data) > start + want:
        raise UserError(f"{path}: wanted {start + want} bytes for {by(shape)}, got more; "
                        "the header is damaged or something was appended")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def header(path, ndim):
    """The shape that the header of `path` claims."""
    head = streams.first(path, 4 + 4 * ndim)
    magic, want = int.from_bytes(head[:4], "big"), magic_number(ndim)
    if len(head) >= 4 and magic != want:
        other = KIND.get(magic)
        hint = f"is this the {other[4:-1]} file?" if other else "it is not such a file"
        raise UserError(f"{path}: wanted magic {want} ({KIND[want]}), got {magic}; {hint}")
    if len(head) < 4 + 4 * ndim:
        raise UserError(f"{path}: wanted a header of {4 + 4 * ndim} bytes, the file ends after "
                        f"{len(head)}; fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(head, ">u4", offset=4))
    if 0 in shape:
        raise UserError(f"{path}: wanted at least one image, its header claims {by(shape)}")
    return shape


def by(shape):
    """(60000, 28, 28) as people write it: 60000x28x28."""
    return "x".join(map(str, shape))


def read_pair(images, labels, K):
    """Images and their labels, from two IDX files.

    Returns
    -------
    x : uint8 array (N, rows, columns)
    y : uint8 array (N,), in 0..K-1

    Raises
    ------
    UserError
        As `read`, and if there are more or fewer labels than images or a label outside 0..K-1.
    """
    x, y = read(images, 3), read(labels, 1)
    if len(x) != len(y):
        than = "fewer" if len(y) < len(x) else "more"
        raise UserError(f"{labels}: {than} labels than images: wanted {len(x)}, one for each image "
                        f"of {images}, got {len(y)}")
    check_labels(labels, y, K)
    return x, y


def check_labels(path, y, K):
    """Refuse the first label of `y`, read from `path`, that is not in 0..K-1."""
    bad = np.flatnonzero(y >= K)
    if len(bad):
        raise UserError(f"{path}: wanted labels 0..{K - 1}, got {y[bad[0]]} at index {bad[0]}; "
                        "the file is damaged or of another data set")
