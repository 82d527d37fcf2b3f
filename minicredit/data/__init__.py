"""Images to learn from: digits (comes with the package), mnist, fashion-mnist and cifar10.

    data = load("mnist")
    data.train.x        (55000, 784) float32, pixels in [0, 1]
    data.train.y        (55000,) int64, labels 0..K-1
    data.validation     the last 5,000 of the published training images
    data.test           the published test images

    data = load("folder:PATH", image_size=64)       class folders of JPEG or PNG: see `folder`

Choose on the validation images, and look at the test images once.
"""
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minicredit.data import cifar, digits, idx, sets
from minicredit.errors import UserError

NAMES = tuple(sets.SETS)
FOLDER = "folder:"


class Split(NamedTuple):
    """Examples in memory: x (n, features) in [0, 1], y int64 (n,) in 0..K-1.

    What trains and measures asks a split for its `n`, its `y` and for batches by `read`, and so
    can be handed pictures that are decoded as they are read (`folder.Pictures`).
    """

    x: np.ndarray
    y: np.ndarray

    @property
    def n(self):
        """How many examples there are; the length of this tuple is 2."""
        return len(self.y)

    def first(self, n):
        """The first n examples, as a split; all where there are fewer."""
        return type(self)(self.x[:n], self.y[:n])

    def read(self, batches, key=None):
        """One (x, y) after the other, for each array of row indices in `batches`.

        The key is for splits that draw something (`augment.Augmented`); nothing is drawn here.
        """
        for rows in batches:
            yield self.x[rows], self.y[rows]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set.  `shape` is that of one image, `source` whom to cite."""

    name: str
    shape: tuple
    K: int
    classes: tuple = field(repr=False)
    source: str = field(repr=False)
    train: Split = field(repr=False)
    validation: Split = field(repr=False)
    test: Split = field(repr=False)
    path: Path = field(repr=False)


def load(name, dtype=np.float32, image_size=64):
    """Read a data set from the disk.

    It is looked for in the folder that the environment variable MINICREDIT_DATA names, then in
    the user's cache folder, where `get` puts it.

    Parameters
    ----------
    name : str
        One of NAMES, or folder:PATH, a folder or tar archive with class folders of pictures.
    dtype : float dtype
        Of the pixels.
    image_size : int
        Rows and columns to which the pictures of a folder are brought; other sets have their own.

    Returns
    -------
    Dataset

    Raises
    ------
    UserError
        If there is no such set, it is not on this machine, or its files are damaged.
    """
    if np.dtype(dtype).kind != "f":
        raise UserError(f"{name}: wanted a float dtype for the pixels, got {np.dtype(dtype)}")
    if name.startswith(FOLDER):
        from minicredit.data import folder      # here: Pillow is for who has pictures
        return folder.load_folder(name.removeprefix(FOLDER), image_size or 64, dtype)
    about = sets.known(name)
    path, white, parts = read(name)
    check(name, path, parts)
    train, validation, test = (Split(scale(x, white, dtype), y.astype(np.int64)) for x, y in parts)
    return Dataset(name, about.shape, len(about.classes), about.classes, about.source,
                   train, validation, test, path)


def read(name):
    """Where a set lies, its brightest value, and its three splits (x, y) as bytes."""
    if name == "digits":
        return digits.FOLDER, 16, digits.read()
    path = sets.find(name)
    if path is None:
        raise UserError(sets.missing(name))
    x, y, x_test, y_test = cifar.read(path) if name == "cifar10" else read_idx(path)
    n = sets.SETS[name].images[0]
    return path, 255, [(x[:n], y[:n]), (x[n:], y[n:]), (x_test, y_test)]


def read_idx(folder):
    """The training and test images and labels in a folder of four IDX files."""
    images, labels, images_test, labels_test = (sets.variant(folder, file) for file in sets.IDX)
    return *idx.read_pair(images, labels, 10), *idx.read_pair(images_test, labels_test, 10)


def check(name, path, parts):
    """Refuse a set that has not the published number and shape of images."""
    about = sets.SETS[name]
    want, got = about.images, tuple(len(y) for _, y in parts)
    if want != got:
        raise UserError(f"{path}: wanted {want[0] + want[1]} training and {want[2]} test images of "
                        f"{name}, got {got[0] + got[1]} and {got[2]}")
    for x, _ in parts:
        if x.shape[1:] not in (about.shape, (math.prod(about.shape),)):
            raise UserError(f"{path}: wanted {name} images of {idx.by(about.shape)}, got "
                            f"{idx.by(x.shape[1:])}")


def scale(x, white, dtype):
    """Bytes 0..white as rows of numbers 0..1."""
    return np.divide(x.reshape(len(x), -1), np.dtype(dtype).type(white), dtype=dtype)


def get(name, mirrors=None, folder=None, timeout=30, progress=True):
    """Download a data set.  See `minicredit.data.fetch.get`."""
    from minicredit.data import fetch       # here: pooch and rich are for who downloads
    return fetch.get(name, mirrors, folder, timeout, progress)


def table():
    """What there is, one dict a data set.

    Returns
    -------
    list of dict
        name, images (training, validation, test), shape, classes, found (its folder or archive on
        this machine, or None), size_bytes (of the download), terms, source.
    """
    rows = []
    for name, about in sets.SETS.items():
        found, size = sets.find(name), sum(size for _, size in about.downloads.values())
        if name == "digits":
            found = digits.FOLDER
            size = sum(sets.variant(found, file).stat().st_size for file in sets.DIGITS)
        rows.append({"name": name, "images": about.images, "shape": about.shape,
                     "classes": about.classes, "found": found, "size_bytes": size,
                     "terms": about.terms, "source": about.source})
    return rows
