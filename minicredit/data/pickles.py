"""CIFAR-10's Python batches, read without running them.

A pickle is a program: it names functions and calls them.  Ours may name the four that a batch
needs, and gets none of them.  Each name stands for `Parts`, which keeps what the call was handed
and does nothing; the array is then put together here, from bytes whose number was checked.  Any
other name is refused before anything with it can happen.

    {"data": uint8 (N, 3072), "labels": list of N, ...}     keys str, or bytes from Python 2
"""
import io
import pickle

import numpy as np

from minicredit.data import idx
from minicredit.errors import UserError

LARGEST = 2**26             # bytes; the published batches have 31 MB
BYTE = ("u1", "|u1", b"u1", b"|u1")        # how numpy spells the dtype
BYTES = range(256)

KNOWN = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
         ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


class Parts:
    """Stands for every function and class a pickle may name: keeps its arguments, does nothing."""

    args, state = (), None

    def __init__(self, *args):
        self.args = args

    def __setstate__(self, state):
        self.state = state


UNKNOWN = (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.BYTEARRAY8,
           pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.PERSID, pickle.BINPERSID)


def keyed(items):
    """[key, value, key, value, ...] -> dict, of keys that are text."""
    if not all(type(key) in (str, bytes) or isinstance(key, Parts) for key in items[::2]):
        raise UserError("refused a key that is no text")
    return dict(zip(items[::2], items[1::2]))


def fill(found, items):
    """The same into a dict, in place."""
    if type(found) is not dict:
        raise UserError("refused items of what is no dict")
    found.update(keyed(items))


class Reader(pickle._Unpickler):
    """An unpickler that knows the names in KNOWN, and `Parts` behind all of them.

    The one in Python, not the faster one in C: that one allocates whatever length or memo index
    the file claims.  It knows no sets and no keys but text, because what is to be a key is hashed,
    and a tuple of a tuple of a tuple, each twice, takes for ever.
    """

    dispatch = {code: do for code, do in pickle._Unpickler.dispatch.items()
                if code not in {opcode[0] for opcode in UNKNOWN}}

    def load_dict(self):
        """Many items, one after the other, become a new dict."""
        items = self.pop_mark()
        self.append(keyed(items))

    def load_setitem(self):
        """One item more in a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        fill(self.stack[-1], [key, value])

    def load_setitems(self):
        """Many items more in a dict."""
        items = self.pop_mark()
        fill(self.stack[-1], items)

    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems

    def find_class(self, module, name):
        if (module, name) not in KNOWN:
            raise UserError(f"refused {module + '.' + name!r}")     # repr: it may hold anything
        return Parts

    def get_extension(self, code):
        raise UserError(f"refused extension {code}")


def read(data, path):
    """What a pickle holds, as a dict with keys of type str; empty if it holds no dict."""
    if len(data) > LARGEST:
        raise UserError(f"{path}: wanted a CIFAR-10 batch of at most {LARGEST} bytes, got more")
    try:
        found = Reader(io.BytesIO(data), encoding="bytes").load()
    except UserError as error:
        raise UserError(f"{path}: wanted a pickle of arrays and lists, it asks for other code: "
                        f"{error}; do not trust this file") from None
    except Exception as error:      # a damaged pickle can raise anything at all
        raise UserError(f"{path}: wanted a CIFAR-10 batch (pickle), it is damaged "
                        f"({type(error).__name__}); fetch it again") from None
    return {text(key): value for key, value in found.items()} if type(found) is dict else {}


def batch(data, path, N):
    """Images and labels of one batch.

    Parameters
    ----------
    data : bytes
        The pickle, whole.
    path : path
        Where it came from, for the errors.
    N : int
        Images wanted.

    Returns
    -------
    x : uint8 array (N, 3072)
    y : uint8 array (N,), in 0..9

    Raises
    ------
    UserError
        If the pickle names a function that no batch needs, or is not a batch of N images.
    """
    entries = read(data, path)
    x, y = entries.get("data"), entries.get("labels")
    if raw(x, N) is None:
        raise UserError(f"{path}: wanted an entry 'data' with {N}x3072 unsigned bytes, got none; "
                        "is this a batch of CIFAR-10?")
    if type(y) is not list or len(y) != N or any(type(k) is not int or k not in BYTES for k in y):
        raise UserError(f"{path}: wanted an entry 'labels', a list of {N} numbers 0..9, got none; "
                        "is this a batch of CIFAR-10?")
    y = np.array(y, np.uint8)
    idx.check_labels(path, y, 10)
    order = "F" if x.state[3] else "C"
    return np.frombuffer(raw(x, N), np.uint8).reshape((N, 3072), order=order), y


def raw(array, N):
    """The bytes of a pickled (N, 3072) array of unsigned bytes; None if it is not one."""
    state = getattr(array, "state", None)
    if type(state) is not tuple or len(state) != 5:
        return None
    _, shape, dtype, _, data = state
    data = encoded(data)
    fits = shape == (N, 3072) and type(data) is bytes and len(data) == N * 3072
    byte = isinstance(dtype, Parts) and dtype.args[:1] and dtype.args[0] in BYTE
    return data if fits and byte else None


def encoded(value):
    """bytes, also where Python 3 wrote them as _codecs.encode(str, "latin1") for protocol 2.

    A character that is no byte is dropped; the length, which the caller checks, then tells.
    """
    if isinstance(value, Parts) and len(value.args) == 2 and type(value.args[0]) is str:
        return value.args[0].encode("latin-1", "ignore")
    return value


def text(key):
    """A key as str, whichever Python wrote it."""
    key = encoded(key)
    return key.decode("latin-1") if type(key) is bytes else key
