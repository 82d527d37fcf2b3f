"""CIFAR-10 (Krizhevsky 2009), as published or unpacked.

    data_batch_1 .. data_batch_5        training images, 10,000 each
    test_batch                          test images, 10,000

In the binary version a batch is `NAME.bin`, records of 3073 bytes: the label, then 1024 red, 1024
green and 1024 blue bytes, each colour 32x32, row by row.  In the Python version it is a pickle with
the same numbers (`pickles.py`).  Both come as a folder (batches plain, gzip'd or xz'd) or as the
published archive, which is read as a stream: nothing is ever extracted.  Either way an image is
handed on as rows x columns x channels, as the layers want it, no longer colour after colour.
"""
import tarfile
from pathlib import Path

import numpy as np

from minicredit.data import idx, pickles, sets, streams
from minicredit.errors import UserError

K = 10
RECORD = 3073                   # bytes: a label and 3x32x32
SHAPE = 32, 32, 3               # of an image as it is handed on: rows, columns, channels
MEMBERS = {**{f"cifar-10-batches-bin/{name}.bin": name for name in sets.BATCHES},
           **{f"cifar-10-batches-py/{name}": name for name in sets.BATCHES}}


def read(path, N=10_000):
    """The two parts of CIFAR-10, from a folder or a published archive.

    Parameters
    ----------
    path : path of a folder or archive, binary or Python version
    N : int
        Images in a batch.

    Returns
    -------
    x, y, x_test, y_test : uint8 arrays (5N, 32, 32, 3), (5N,), (N, 32, 32, 3), (N,)
    """
    path = Path(path)
    parts = folder(path, N) if path.is_dir() else archive(path, N)
    *training, (x_test, y_test) = (parts[name] for name in sets.BATCHES)
    x, y = zip(*training)
    return channels_last(np.concatenate(x)), np.concatenate(y), channels_last(x_test), y_test


def channels_last(planes):
    """Red, green and blue planes (N, 3072) -> images (N, 32, 32, 3), contiguous."""
    rows, columns, channels = SHAPE
    images = planes.reshape(len(planes), channels, rows, columns)
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def folder(path, N):
    """{name: (x, y)} of the six batches in a folder."""
    parts = {}
    for name in sets.BATCHES:
        file = sets.variant(path, name + ".bin") or sets.variant(path, name)
        if file is None:
            raise UserError(f"{path}: wanted {name}.bin or {name}, plain, .gz or .xz, got neither; "
                            "the folder is not complete")
        parts[name] = batch(streams.first(file, limit(file.name, N) + 1), file, N)
    return parts


def limit(name, N):
    """The most bytes the batch called `name` may have."""
    return N * RECORD if ".bin" in name else pickles.LARGEST


def batch(data, path, N):
    """Images and labels of the batch `data` that was found at `path`, binary or pickled."""
    if ".bin" not in Path(path).name:
        return pickles.batch(bytes(data), path, N)
    if len(data) != N * RECORD:
        got = "more" if len(data) > N * RECORD else len(data)
        raise UserError(f"{path}: wanted {N * RECORD} bytes ({N} records of {RECORD}), got {got}; "
                        "fetch it again")
    records = np.frombuffer(data, np.uint8).reshape(N, RECORD)
    x, y = records[:, 1:], records[:, 0]
    idx.check_labels(path, y, K)
    return x, y


def archive(path, N):
    """{name: (x, y)} of the six batches in a tar archive, which is read once, from end to end."""
    parts = {}
    try:
        with open(path, "rb") as file:
            stream = streams.Bounded(streams.unpacked(file), path, "is this CIFAR-10?")
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    name = MEMBERS.get(member.name.removeprefix("./"))
                    if name:
                        data = contents(tar, member, path, N)
                        parts[name] = batch(data, Path(path, member.name), N)
            while stream.read(streams.BLOCK):           # the checksum of gzip stands at the end
                pass
    except UserError:
        raise
    except (*streams.BROKEN, tarfile.TarError, ValueError) as error:
        raise UserError(streams.broken(path, error)) from None
    if missing := [name for name in sets.BATCHES if name not in parts]:
        raise UserError(f"{path}: wanted six batches of CIFAR-10, it has no {', '.join(missing)}")
    return parts


def contents(tar, member, path, N):
    """The bytes of one member, if it is a file and no larger than it may be."""
    most = limit(Path(member.name).name, N)
    if not member.isreg() or member.size > most:
        what = f"{member.size} bytes" if member.isreg() else "a link or folder"
        raise UserError(f"{path}: wanted {member.name} to be a file of at most {most} bytes, "
                        f"got {what}")
    return tar.extractfile(member).read()
