"""The digits that come with minicredit, and how they are split.

The 1,797 images lie in the package in their published order, writer after writer.  They are drawn
into another one by a key that is the same on every machine, for ever: image n comes at the place
of sha256("n"), n in decimal, among the others.  The first fifth of that order is the test set, the
last tenth of what remains the validation set, everything between is for training.
"""
import hashlib
from pathlib import Path

from minicredit.data import idx, sets

FOLDER = Path(__file__).parent


def key(n):
    """What image `n` is sorted by."""
    return hashlib.sha256(str(n).encode()).digest()


def split(N):
    """Which of N images are for training, validation and testing: three lists of indices."""
    order = sorted(range(N), key=key)
    test, rest = order[:-(-N // 5)], order[-(-N // 5):]
    cut = len(rest) - len(rest) // 10
    return rest[:cut], rest[cut:], test


def read():
    """The images and labels of the three splits.

    Returns
    -------
    list of three pairs: uint8 arrays (N, 8, 8), 0..16, and (N,), 0..9
    """
    images, labels = (sets.variant(FOLDER, file) for file in sets.DIGITS)
    x, y = idx.read_pair(images, labels, 10)
    return [(x[n], y[n]) for n in split(len(x))]
