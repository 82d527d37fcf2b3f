"""A run as a file: everything that the next step depends on, in the safetensors format.

    arrays      weights, feedback, inverses, optimiser state, by the names of `minicredit.state`
    minicredit  JSON: what the run is (`about`), how many steps are done, the seconds spent on the
                epoch under way, what was measured after each epoch, counters and scales
    sha256      of all of that

A safetensors file is numbers behind a table of contents: nothing in it is ever executed.  Files are
called step-00001640.safetensors; the newest two are kept, and a newest one that is damaged is
passed over for the one before it.
"""
import hashlib
import json
import math
import os
from typing import NamedTuple

import numpy as np

from minicredit import files
from minicredit.errors import UserError

FORMAT = 1
ROOM = 2**26                    # bytes that a file may have beside its arrays


class Damaged(UserError):
    """A checkpoint that is not what was written."""


class Checkpoint(NamedTuple):
    """What a file holds.

    about : dict; what the run is: see `Keeper`
    done : int, steps
    spent : float, seconds of training in the epoch under way
    epochs : list of dict, as `training.epochs` yields them
    numbers, arrays : dict, as `state.copied` gives them
    """

    about: dict
    done: int
    spent: float
    epochs: list
    numbers: dict
    arrays: dict


def packed(checkpoint):
    """A checkpoint as bytes."""
    from safetensors.numpy import save          # here: importing minicredit need not wait for it
    *rest, arrays = checkpoint
    text = json.dumps(dict(zip(Checkpoint._fields, rest)))
    return save(arrays, {"minicredit": text, "sha256": digest(arrays, text)})


def digest(arrays, text):
    """The sha256 of the text and of every array: its name, its type, its shape, its bytes."""
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"\n{name} {array.dtype} {arrays[name].shape}\n".encode())
        found.update(array.reshape(-1).view(np.uint8))
    return found.hexdigest()


def unpacked(data, path):
    """The checkpoint in the bytes `data`, which were read from `path`.

    Raises
    ------
    Damaged
        If that is not what was written.
    """
    from safetensors.numpy import load
    try:
        arrays = load(data)
        size = int.from_bytes(data[:8], "little")
        head = json.loads(data[8:8 + size])["__metadata__"]
        text, whole = head["minicredit"], digest(arrays, head["minicredit"]) == head["sha256"]
    except Exception as error:      # a damaged file can raise anything at all
        raise Damaged(f"{path}: wanted a checkpoint, it is damaged or something else "
                      f"({' '.join(str(error).split())[:200] or type(error).__name__})") from None
    if not whole:
        raise Damaged(f"{path}: wanted a whole checkpoint, its checksum is another; it is damaged")
    try:
        found = Checkpoint(**json.loads(text), arrays=arrays)
        sound = plausible(found)
    except (TypeError, ValueError, RecursionError):
        sound = False
    if not sound:
        raise Damaged(f"{path}: wanted a checkpoint of format {FORMAT}, got something else")
    return found


def plausible(found):
    """Whether the parts of a checkpoint have the types that they should."""
    measured = ("epoch", "seconds", "train_loss", "train_error", "validation_error", "test_error")
    return (isinstance(found.about, dict) and type(found.done) is int and found.done >= 0
            and number(found.spent) and math.isfinite(found.spent)
            and isinstance(found.numbers, dict) and all(map(number, found.numbers.values()))
            and isinstance(found.epochs, list)
            and all(isinstance(epoch, dict) and all(number(epoch.get(key)) for key in measured)
                    and isinstance(epoch.get("angle_to_backprop"), list)
                    for epoch in found.epochs))


def number(value):
    """Whether a value is a number."""
    return isinstance(value, (bool, int, float))


def read(path, most):
    """The checkpoint in a file.

    Parameters
    ----------
    path : path
    most : int
        Bytes that its arrays may have.

    Raises
    ------
    Damaged
        If it cannot be read, is larger than it can be, or is not what was written.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(size) if size <= most + ROOM else b""
    except OSError as error:
        raise Damaged(f"{path}: cannot be read: {error.strerror}") from None
    if size > most + ROOM:
        raise Damaged(f"{path}: wanted a checkpoint of at most {most + ROOM} bytes, got {size}")
    return unpacked(data, path)


def paths(folder):
    """The checkpoints in a folder, the newest first."""
    found = {}
    for path in folder.glob("step-*.safetensors"):
        digits = path.stem.removeprefix("step-")
        if digits.isascii() and digits.isdecimal() and path.is_file():
            found[path] = int(digits)
    return sorted(found, key=found.get, reverse=True)


def newest(folder, most, warn):
    """The newest checkpoint that is whole, and its path; None where there is no file.

    Parameters
    ----------
    folder : path
    most : int
        Bytes that the arrays may have.
    warn : function of a line, told if a newer one was damaged

    Raises
    ------
    UserError
        If there are files, and none is whole.
    """
    failed = []
    for path in paths(folder):
        try:
            found = read(path, most)
        except Damaged as error:
            failed.append(str(error))
            continue
        if failed:
            warn(f"{'; '.join(failed)}; going on from the one before it, {path}")
        return found, path
    if failed:
        raise UserError(f"{'; '.join(failed)}; there is no other: remove {folder} to begin anew")
    return None


def save(folder, checkpoint, before=None):
    """Write a checkpoint, and then remove what is neither it nor the one before it.

    Parameters
    ----------
    folder : path
    checkpoint : Checkpoint
    before : path or None
        The last one that is known to be whole.

    Returns
    -------
    path of the file

    Raises
    ------
    OSError
        If it cannot be written; what was there is there.
    """
    path = folder / f"step-{checkpoint.done:08}.safetensors"
    files.put(path, packed(checkpoint))
    for other in paths(folder):
        if other not in (path, before):
            files.remove(other)
    return path
