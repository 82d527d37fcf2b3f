"""The bytes of a file, unpacked, and never more of them than were asked for.

A header can claim four billion images and forty bytes of gzip can claim to be forty megabytes, so
nothing here is allocated because a file says so: bytes are read a block at a time, stop at the
number the caller can use, and whatever the unpackers raise becomes one sentence.  Which unpacker a
file needs is told by its first bytes, not by its name.
"""
import gzip
import lzma
import zlib

from minicredit.errors import UserError

BLOCK = 2**20                       # bytes asked for at a time: the most a false claim can cost
LARGEST = 2**28                     # bytes; the largest set we read, CIFAR-10, unpacks to 184 MB

DICTIONARY = 2**28                  # bytes an xz header may ask for; the largest preset asks 64 MiB

# RecursionError: a tar header may say that the next one is the one that counts, again and again.
BROKEN = (EOFError, OSError, MemoryError, RecursionError, zlib.error, lzma.LZMAError)


def unpacked(file):
    """A stream of what `file`, open for reading bytes at its start, holds when unpacked."""
    start = file.read(6)
    file.seek(0)
    if start[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file)
    if start == b"\xfd7zXZ\x00":
        return Xz(file)
    return file


class Xz:
    """A stream of what an xz file holds; unlike Python's, it does not take what memory it is told.

    Parameters
    ----------
    file : binary file
    """

    def __init__(self, file):
        self.file, self.packer = file, lzma.LZMADecompressor(lzma.FORMAT_XZ, DICTIONARY)

    def read(self, n):
        """At most n bytes; none at the end, where a checksum has been checked."""
        while n:
            if self.packer.eof:
                rest = self.packer.unused_data.lstrip(b"\0") or self.file.read(BLOCK).lstrip(b"\0")
                if not rest:
                    return b""
                self.packer = lzma.LZMADecompressor(lzma.FORMAT_XZ, DICTIONARY)
                data = self.packer.decompress(rest, n)
            else:
                more = self.file.read(BLOCK) if self.packer.needs_input else b""
                if self.packer.needs_input and not more:
                    raise EOFError
                data = self.packer.decompress(more, n)
            if data:
                return data
        return b""


class Bounded:
    """A stream that refuses to be longer than LARGEST bytes; `end` is its last 1024 so far.

    Parameters
    ----------
    stream : binary file
    path : path, for the refusal
    advice : str
        What the refusal says to do.
    """

    def __init__(self, stream, path, advice):
        self.stream, self.path, self.advice = stream, path, advice
        self.left, self.end = LARGEST, b""

    def read(self, n):
        """At most n bytes, and at most BLOCK."""
        data = self.stream.read(min(n, BLOCK))
        self.left -= len(data)
        if self.left < 0:
            raise UserError(f"{self.path}: wanted an archive of at most {LARGEST} bytes, it "
                            f"unpacks to more; {self.advice}")
        self.end = (self.end + data)[-1024:]
        return data


def first(path, n):
    """The first `n` bytes that `path` unpacks to; fewer where it holds fewer.

    Ask for one more than you want and you learn whether the file ends where it should, and make
    the unpacker check its checksum, which stands at the end.

    Returns
    -------
    bytearray

    Raises
    ------
    UserError
        If the file cannot be opened, or is cut off or damaged before byte `n`.
    """
    data = bytearray()
    try:
        with open(path, "rb") as file:
            stream = unpacked(file)
            while block := stream.read(min(BLOCK, n - len(data))):
                data += block
    except BROKEN as error:
        raise UserError(broken(path, error)) from None
    return data


def broken(path, error):
    """The sentence for a file whose unpacking ended in `error`."""
    if isinstance(error, EOFError):
        return f"{path}: wanted a whole compressed file, it is cut off; fetch it again"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{path}: cannot be read: {error.strerror}"
    why = " ".join(str(error).split()) or type(error).__name__
    return f"{path}: wanted a whole compressed file, it is damaged ({why}); fetch it again"
