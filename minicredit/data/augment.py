"""Other pictures of the same things: random crops and flips, for training images alone.

    padded = image with `crop` rows and columns of zeros on every side
    image'[r, c] = padded[dr + r, dc + c]           dr, dc uniform in 0..2 crop
    image'[r, c] = image'[r, columns - 1 - c]       with probability 1/2, where `flip` says so

What is drawn for an image is a function of (seed, AUGMENT, pass, epoch) and the image's number: not
of its place in a batch, nor of what was read before.  A resumed run sees the same pictures, and the
order of the data is the same with and without.

Bartunov et al. (2018) mention an "augmented training set of vertical flips and random crops" for
CIFAR without saying which of their cells use it.  By default an image is flipped left to right, as
others do with CIFAR; upside down is the option `vertical`.  For digits, turn the flips off.
"""
import numpy as np

from minicredit.errors import UserError
from minicredit.keys import AUGMENT
from minicredit.kernels import reference


class Augmented:
    """A split in memory whose images are cropped and flipped as they are read.

    Parameters
    ----------
    split : Split
        x (n, features), of which nothing is changed.
    shape : (rows, columns) or (rows, columns, channels)
        Of one image.
    crop : int
        Pixels of zeros on every side, from which the crop is cut back to size; 0: no crops.
    flip : bool
        Left to right, every other time.
    vertical : bool
        Upside down, every other time.

    Raises
    ------
    UserError
        If the shape is not that of the images, or `crop` is negative.
    """

    def __init__(self, split, shape, crop=4, flip=True, vertical=False):
        if len(shape) not in (2, 3) or int(np.prod(shape)) != split.x.shape[1]:
            raise UserError(f"augment: wanted the shape of images of {split.x.shape[1]} numbers, "
                            f"got {tuple(shape)}")
        if crop != int(crop) or crop < 0:
            raise UserError(f"crop: wanted a whole number of pixels, 0 or more; got {crop}")
        self.split, self.shape = split, tuple(shape)
        self.crop, self.flip, self.vertical = int(crop), flip, vertical
        self.n, self.y = split.n, split.y

    def first(self, n):
        """The first n examples, augmented in the same way."""
        return Augmented(self.split.first(n), self.shape, self.crop, self.flip, self.vertical)

    def read(self, batches, key=None):
        """One (x, y) after the other, for each array of row indices in `batches`.

        Parameters
        ----------
        batches : iterable of int arrays
        key : (seed, DATA, pass, epoch), the key of their order, or None
            AUGMENT takes the place of DATA.  Without a key the images come as they are.
        """
        words = None if key is None else draws(self.n, key)
        for rows in batches:
            x, y = self.split.x[rows], self.split.y[rows]
            yield (x if words is None else self.changed(x, words[rows])), y

    def changed(self, x, words):
        """The images x (N, features), each cropped and flipped by its words (N, 4)."""
        rows, columns, *channels = self.shape
        p = self.crop
        images = x.reshape(len(x), rows, columns, *channels)
        padded = np.pad(images, ((0, 0), (p, p), (p, p)) + ((0, 0),) * len(channels))
        r = places(rows, words[:, 0], p, self.vertical & coins(words[:, 3]))        # (N, rows)
        c = places(columns, words[:, 1], p, self.flip & coins(words[:, 2]))         # (N, columns)
        n = np.arange(len(x))[:, None, None]
        return padded[n, r[:, :, None], c[:, None, :]].reshape(len(x), -1)


def draws(n, key):
    """Four random words for each of n images; uint32 (n, 4): down, across, flip, upside down."""
    seed, _, number, epoch = key
    return reference.philox(4 * n, (seed, AUGMENT, number, epoch)).reshape(n, 4)


def below(words, n):
    """Random words as whole numbers in 0..n-1; n may be an array; int64."""
    return (words.astype(np.uint64) * np.asarray(n, np.uint64) >> np.uint64(32)).astype(np.int64)


def coins(words):
    """Random words as True or False."""
    return words >> 31 == 1


def places(size, words, p, flipped):
    """Which lines of a padded image become lines 0..size-1: (N,), (N,) -> (N, size)."""
    line = np.arange(size)
    line = np.where(flipped[:, None], line[::-1], line)
    return below(words, 2 * p + 1)[:, None] + line
