"""SARCOS: which torque does a robot arm need for a movement?  A regression for coherent networks.

    data = sarcos.load(joint=1)
    data.train.x        (3500, 21): positions, velocities and accelerations of 7 joints
    data.train.y        (3500, 1): the torque of one joint
    data.validation     449 rows
    data.test           500 rows

**Not comparable with published errors.**  This is the published *test* file alone, 4,449 rows,
split at random: rows that follow each other in time stand on both sides of the split.  (The usual
protocol trains on the 44,484 rows of another file.)  Compare rules with each other on it, no more.

Inputs and target are standardised by the mean and deviation of the 3,500.  The file, MATLAB's
version 5, is looked for as sarcos/sarcos_inv_test.mat in the folder that MINICREDIT_DATA names,
then in the user's cache folder (Vijayakumar & Schaal 2000; Rasmussen & Williams 2006, chapter 2.5).
"""
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minicredit.data import Split, sets, streams
from minicredit.errors import UserError
from minicredit.kernels import reference
from minicredit.keys import DATA

FILE = Path("sarcos") / "sarcos_inv_test.mat"
ROWS, COLUMNS, INPUTS = 4449, 28, 21
TRAIN, VALIDATION = 3500, 449                       # the other 500 are the test
KEY = (20150125, DATA, 0, 0)                        # of the permutation: one split for everybody
LARGEST = 2**25                                     # bytes; the file has 996,776

# Types of a MATLAB 5 element, and the one class of array that is read here.
INT8, INT32, UINT32, DOUBLE, MATRIX, COMPRESSED = 1, 5, 6, 9, 14, 15
DOUBLE_ARRAY, COMPLEX = 6, 0x0800


class Sarcos(NamedTuple):
    """The three splits, each (x, y), and where the file lies."""

    train: Split
    validation: Split
    test: Split
    path: Path


def load(joint=1, dtype=np.float64):
    """The torque of one joint, standardised.

    Parameters
    ----------
    joint : int, 1 .. 7
    dtype : float dtype

    Returns
    -------
    Sarcos

    Raises
    ------
    UserError
        If the file is not on this machine or is damaged, or there is no such joint.
    """
    if joint not in range(1, 8):
        raise UserError(f"sarcos: wanted a joint from 1 to 7, got {joint!r}")
    if np.dtype(dtype).kind != "f":
        raise UserError(f"sarcos: wanted a float dtype, got {np.dtype(dtype)}")
    path = find()
    rows = read(path)[reference.permutation(ROWS, KEY)]
    x, y = rows[:, :INPUTS], rows[:, INPUTS + joint - 1:INPUTS + joint]
    x, y = (standardised(columns).astype(dtype) for columns in (x, y))
    edges = (0, TRAIN, TRAIN + VALIDATION, ROWS)
    return Sarcos(*(Split(x[a:b], y[a:b]) for a, b in zip(edges, edges[1:])), path)


def standardised(columns):
    """Mean 0 and deviation 1 over the training rows, which are the first."""
    train = columns[:TRAIN]
    return (columns - train.mean(axis=0)) / train.std(axis=0)


def nmse(prediction, y):
    """Mean squared error over the variance of y: 0 is perfect, 1 is what the mean of y gets."""
    return float(np.mean((prediction - y) ** 2) / np.var(y))


def find():
    """The file on this machine.

    Raises
    ------
    UserError
        If it is not there.
    """
    tried = [root / FILE for root in sets.roots()]
    for path in tried:
        if path.is_file():
            return path
    raise UserError(f"sarcos: wanted {FILE.name}, not found as {' or '.join(map(str, tried))}; put "
                    "it there, or set MINICREDIT_DATA to the folder that has sarcos/")


def read(path):
    """The rows of the published test file, float64 (4449, 28): 21 inputs, then 7 torques.

    Raises
    ------
    UserError
        If the file does not hold that.
    """
    rows = matrix(path)
    if rows.shape != (ROWS, COLUMNS):
        raise UserError(f"{path}: wanted {ROWS}x{COLUMNS} numbers, got "
                        f"{rows.shape[0]}x{rows.shape[1]}; is this the test file of SARCOS?")
    if not np.isfinite(rows).all():
        raise UserError(f"{path}: wanted finite numbers, got others; the file is damaged")
    return rows


# MATLAB 5: a header of 128 bytes, then elements (type, bytes, content) ----------------------------

def matrix(path):
    """The first array of a MATLAB 5 file, which must be a real matrix of doubles; float64.

    Raises
    ------
    UserError
        If the file is of another kind, larger than LARGEST, or claims more than it holds.
    """
    data = streams.first(path, LARGEST + 1)
    if len(data) > LARGEST:
        raise UserError(f"{path}: wanted at most {LARGEST} bytes, got more")
    if len(data) < 128 or data[:6] != b"MATLAB" or data[124:128] != b"\x00\x01IM":
        raise UserError(f"{path}: wanted a MATLAB 5 file, little-endian (bytes 124..127 00 01 49 "
                        f"4d), got {len(data)} bytes that start with {bytes(data[:6])!r} and have "
                        f"{data[124:128].hex(' ') or 'nothing'} there")
    kind, content, _ = element(data, 128, path)
    if kind == COMPRESSED:
        kind, content, _ = element(unpacked(content, path), 0, path)
    if kind != MATRIX:
        raise UserError(f"{path}: wanted a matrix (type {MATRIX}), got type {kind}")
    flags, start = part(content, 0, "flags", UINT32, 8, path)
    shape, start = part(content, start, "shape", INT32, 8, path)
    _, start = part(content, start, "name", INT8, None, path)
    flags, (rows, columns) = struct.unpack("<II", flags)[0], struct.unpack("<ii", shape)
    if flags & 0xFF != DOUBLE_ARRAY or flags & COMPLEX or rows < 1 or columns < 1:
        raise UserError(f"{path}: wanted a real matrix of doubles, got flags {flags:#x} and "
                        f"{rows}x{columns}")
    numbers, _ = part(content, start, f"{rows}x{columns} numbers", DOUBLE, 8 * rows * columns, path)
    return np.frombuffer(numbers, "<f8").reshape((rows, columns), order="F")


def element(data, start, path):
    """Type, content and end of the element that begins at byte `start` of `data`.

    A tag is two numbers of four bytes, type and bytes; a content of up to four bytes stands in the
    tag itself, whose first number is then bytes << 16 | type.  Elements begin at multiples of 8.
    """
    if len(data) < start + 8:
        raise UserError(f"{path}: wanted an element at byte {start}, the file or matrix ends at "
                        f"{len(data)}; fetch it again")
    kind, size = struct.unpack_from("<II", data, start)
    begin = start + 8
    if kind >> 16:
        kind, size, begin = kind & 0xFFFF, kind >> 16, start + 4
    small = begin == start + 4
    if small and size > 4 or len(data) < begin + size:
        room = 4 if small else len(data) - begin
        raise UserError(f"{path}: wanted {size} bytes at byte {begin}, as its element claims, got "
                        f"{room}; the file is cut off or damaged, fetch it again")
    return kind, data[begin:begin + size], start + 8 if small else begin + size + -size % 8


def part(content, start, name, kind, size, path):
    """Content and end of one element of a matrix, if it is of that type and size (None: any)."""
    got, data, end = element(content, start, path)
    if got != kind or size not in (None, len(data)):
        raise UserError(f"{path}: wanted {name} of type {kind} and {size or 'any'} bytes, got type "
                        f"{got} and {len(data)} bytes")
    return data, end


def unpacked(content, path):
    """What a compressed element holds, and never more than LARGEST bytes of it."""
    packer = zlib.decompressobj()
    try:
        data = packer.decompress(content, LARGEST + 1)
    except zlib.error as error:
        raise UserError(f"{path}: wanted a whole compressed matrix, it is damaged ({error}); fetch "
                        "it again") from None
    if len(data) > LARGEST or not packer.eof:
        got = "more" if len(data) > LARGEST else "one that is cut off"
        raise UserError(f"{path}: wanted a compressed matrix of at most {LARGEST} bytes, got {got}")
    return data
