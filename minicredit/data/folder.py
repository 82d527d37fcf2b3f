"""Pictures in class folders, as ImageNet has them, decoded while the network learns.

    PATH/train/CLASS/*.JPEG     published training pictures, of which a keyed tenth is `validation`
    PATH/val/CLASS/*.JPEG       is `test`: nobody chooses on what is reported
    PATH/test/CLASS/*.JPEG      where there is such a folder it is `test`, and val/ is `validation`

    PATH/CLASS/*.JPEG           alone: a keyed tenth is `validation`, another `test`

jpg, jpeg and png, in small letters or capitals; names that begin with a dot are not looked at.

A picture becomes RGB, its shorter side `image_size` to 8/7 of that (224: to 256; a picture within
these limits keeps its size), and a square is cut from it: the middle, or for training, where `read`
is given a key, a square at random, flipped left to right every other time.  What a picture becomes
is a function of (seed, AUGMENT, pass, epoch) and its number, whatever the number of workers.  How a
camera was held (EXIF) is not looked at.

Workers are threads: Pillow lets go of Python's lock while it decodes and resizes, and threads hand
over arrays without copying them; processes were not clearly faster on two cores.  At most AHEAD
batches are decoded ahead, so memory does not grow with the data set, but for names and labels (some
hundred bytes a picture).

PATH may also be a tar archive, plain or packed.  A packed one cannot be searched, so any is read
once, from end to end, and its pictures stay in memory as they are, compressed; one that unpacks to
more than `streams.LARGEST` bytes is refused.  Nothing is ever extracted.
"""
import io
import os
import tarfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import chain
from pathlib import Path, PurePosixPath
from threading import Lock

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin

from minicredit.data import Dataset, streams
from minicredit.data.augment import below, coins, draws
from minicredit.errors import UserError
from minicredit.kernels import reference
from minicredit.keys import DATA

PICTURES = ".jpg", ".jpeg", ".png"
PARTS = "train", "val", "test"
DEEPEST = 5                     # folders below PATH that are looked into: no link leads in circles
AHEAD = 2                       # batches decoded before they are asked for
NOTHING = np.empty(0, np.int64)
PIXELS = 2**26                  # of one picture; more is taken for a bomb (Pillow itself: 2^26.4)
LARGE = 2**23                   # pixels; of such pictures one is decoded at a time
LONGEST = 2**27                 # bytes of a picture
SCANS = 100                     # of a JPEG; each goes over all its pixels, and a few bytes make one
SIZES = range(1, 4097)          # of the squares


def load_folder(path, image_size=64, dtype=np.float32, seed=0, crop=True, flip=True, workers=None):
    """The pictures under `path`, to be decoded as they are read.

    Parameters
    ----------
    path : path of a folder or a tar archive
    image_size : int
        Rows and columns of the squares.
    dtype : float dtype
        Of the pixels, which are in [0, 1].
    seed : int
        Fixes which pictures are for validation and testing, where the folders do not say.
    crop, flip : bool
        Whether training pictures are cut out at random and flipped left to right.
    workers : int
        Threads that decode; one for each core by default.

    Returns
    -------
    Dataset, whose splits are Pictures

    Raises
    ------
    UserError
        If there is nothing there, a class has no pictures, or the folders are laid out in another
        way.
    """
    path = Path(path).expanduser()
    if image_size not in SIZES:
        raise UserError(f"image_size: wanted {SIZES[0]} to {SIZES[-1]} rows and columns; got "
                        f"{image_size}")
    if workers is not None and workers < 1:
        raise UserError(f"workers: wanted 1 or more, got {workers}")
    source = Folder(path) if path.is_dir() else Archive(path)
    classes, parts = layout(path, *source.names())
    splits = []
    for (names, y), random in zip(three(path, parts, seed), (True, False, False)):
        splits.append(Pictures(source, names, y, image_size, dtype, random and crop,
                               random and flip, workers or os.cpu_count() or 1))
    return Dataset(f"folder:{path}", (image_size, image_size, 3), len(classes), classes,
                   f"pictures in {path}", *splits, path)


class Pictures:
    """A split that is decoded as it is read; of `Split` it has `n`, `y`, `first` and `read`.

    `damaged` says of each picture that could not be read, so far, which it is and why.  They are
    left out of their batches, which are then shorter.  `ahead` batches wait in memory.
    """

    ahead = AHEAD

    def __init__(self, source, names, y, size, dtype, crop, flip, workers):
        self.source, self.names, self.y, self.n = source, names, y, len(y)
        self.size, self.dtype, self.workers = size, np.dtype(dtype), workers
        self.crop, self.flip = crop, flip
        self.damaged, self.alone = [], Lock()

    def first(self, n):
        """The first n pictures, as a split; all where there are fewer."""
        return Pictures(self.source, self.names[:n], self.y[:n], self.size, self.dtype, self.crop,
                        self.flip, self.workers)

    def read(self, batches, key=None):
        """One (x, y) after the other, for each array of row indices in `batches`.

        Parameters
        ----------
        batches : iterable of int arrays
        key : (seed, DATA, pass, epoch), the key of their order, or None
            AUGMENT takes the place of DATA.  Without a key a square is cut from the middle.

        Yields
        ------
        x : array (N, size * size * 3) in [0, 1]: rows x columns x channels
        y : int64 array (N,)

        A batch of which every picture is damaged comes too, with N = 0.

        Raises
        ------
        UserError
            If not one of the pictures could be read.
        """
        words = None if key is None else draws(self.n, key)
        waiting, asked, given = deque(), 0, 0
        pool = ThreadPoolExecutor(self.workers, "decoding")
        try:
            for rows in chain(batches, AHEAD * [NOTHING]):      # which push the last batches out
                waiting.append(self.begin(pool, np.asarray(rows), words))
                asked += len(rows)
                if len(waiting) > AHEAD:
                    x, y = self.finish(*waiting.popleft())
                    given += len(y)
                    yield x, y
        finally:
            pool.shutdown(cancel_futures=True)
        if asked and not given:
            raise UserError(f"{self.source.path}: not one of {asked} pictures could be read; "
                            f"{self.damaged[0]}")

    def begin(self, pool, rows, words):
        """Have a batch decoded: its rows, an array to be filled, and what will say how it went."""
        x = np.empty((len(rows), self.size * self.size * 3), self.dtype)
        shares = np.array_split(np.arange(len(rows)), min(4 * self.workers, len(rows)) or 1)
        return rows, x, [pool.submit(self.fill, x, rows, words, share) for share in shares]

    def fill(self, x, rows, words, share):
        """Decode a share of a batch into x, in place; [(place, why)] of the damaged ones."""
        damaged = []
        for i in share:
            word = None if words is None else words[rows[i]]
            try:
                with self.source.open(self.names[rows[i]]) as file:
                    picture = square(file, self.size, word if self.crop else None, self.alone)
            except Exception as error:          # a damaged picture can raise anything at all
                damaged.append((i, " ".join(str(error).split()) or type(error).__name__))
                continue
            if self.flip and word is not None and coins(word[2]):
                picture = picture[:, ::-1]
            np.divide(picture, self.dtype.type(255), out=x[i].reshape(picture.shape))
        return damaged

    def finish(self, rows, x, shares):
        """The batch (x, y), once it is decoded, without its damaged pictures."""
        bad = dict(pair for share in shares for pair in share.result())
        for i, why in sorted(bad.items()):
            told = " ".join(f"{self.source.path / self.names[rows[i]]}: {why}".splitlines())
            if told not in self.damaged:
                self.damaged.append(told)
        if bad:
            whole = [i for i in range(len(rows)) if i not in bad]
            rows, x = rows[whole], x[whole]
        return x, self.y[rows]


# One picture --------------------------------------------------------------------------------------

def square(file, size, words=None, alone=nullcontext()):
    """Decode the picture in `file` and cut a square from it.

    Parameters
    ----------
    file : binary file
    size : int
    words : uint32 array (4,)
        Where to cut: the first is for down, the second for across; None: in the middle.
    alone : lock
        Held while a large picture is decoded.

    Returns
    -------
    uint8 array (size, size, 3)
    """
    picture = opened(file)
    width, height = picture.size
    if width * height > PIXELS:
        raise ValueError(f"wanted at most {PIXELS} pixels, it has {width}x{height}")
    short = min(width, height)
    scaled = min(max(short, size), size * 8 // 7)           # what the shorter side becomes
    room = np.round(np.array([height, width]) * scaled / short).astype(np.int64) - size
    place = room / 2 if words is None else below(words[:2], room + 1)
    picture.draft(None, (-(-width * scaled // short), -(-height * scaled // short)))
    scale = min(picture.size) / scaled                      # a JPEG may now be 1/2, 1/4, 1/8
    down, across = (max(0, min(p * scale, side - size * scale))         # 0: of what rounding left
                    for p, side in zip(place, picture.size[::-1]))
    box = across, down, across + size * scale, down + size * scale
    with alone if width * height > LARGE else nullcontext():
        return np.asarray(rgb(picture).resize((size, size), Image.Resampling.BILINEAR, box))


def opened(file):
    """The picture in `file`, JPEG or PNG by its first bytes; no pixel is decoded yet.

    Not by Image.open: it warns of large pictures, process-wide, where we refuse them.
    """
    size = file.seek(0, os.SEEK_END)
    if size > LONGEST:
        raise ValueError(f"wanted at most {LONGEST} bytes, it has {size}")
    file.seek(0)
    data = file.read(size)
    if data[:2] == b"\xff\xd8":
        if (scans := data.count(b"\xff\xda")) > SCANS:
            raise ValueError(f"wanted at most {SCANS} scans, it has {scans}")
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return PngImagePlugin.PngImageFile(io.BytesIO(data))
    raise ValueError(f"wanted a JPEG or PNG, it begins with {data[:8]!r}")


def rgb(picture):
    """A picture in red, green and blue; what was transparent shows its colour."""
    if picture.mode[0] in "IF":
        raise ValueError(f"wanted 8 bits a channel, got more (mode {picture.mode})")
    if picture.mode == "P":
        picture = picture.convert("RGBA")       # transparent palettes warn otherwise
    return picture.convert("RGB")


# Where pictures lie -------------------------------------------------------------------------------

class Folder:
    """Pictures in folders on the disk."""

    def __init__(self, path):
        self.path = path

    def open(self, name):
        return open(self.path / name, "rb")

    def names(self):
        """Every picture and every folder below the path, as "a/b/c"."""
        pictures, folders = [], []
        try:
            self.walk("", pictures, folders, DEEPEST)
        except OSError as error:
            raise UserError(f"{error.filename or self.path}: cannot be read: "
                            f"{error.strerror}") from None
        return pictures, folders

    def walk(self, inside, pictures, folders, deep):
        """Add what lies in the folder `inside` to `pictures` and `folders`, in place."""
        with os.scandir(self.path / inside) as entries:
            for entry in entries:
                name = inside + entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(name)
                    if deep:
                        self.walk(name + "/", pictures, folders, deep - 1)
                elif entry.name.lower().endswith(PICTURES):
                    pictures.append(name)


class Archive:
    """Pictures in a tar archive, which is read once; they are kept as they are, compressed."""

    def __init__(self, path):
        self.path, self.contents, self.folders = path, {}, set()
        try:
            with open(path, "rb") as file:
                stream = streams.Bounded(streams.unpacked(file), path,
                                         "unpack it, and give the folder")
                with tarfile.open(fileobj=stream, mode="r|") as tar:
                    while member := tar.next():
                        tar.members.clear()             # or it would keep a record of each
                        self.add(tar, member)
                    while block := tar.fileobj.read(streams.BLOCK):     # checks gzip's checksum
                        if block.strip(b"\0"):
                            raise tarfile.ReadError("a header is not one")
            if stream.end.strip(b"\0"):
                raise EOFError                          # an archive ends with 1024 zeros
        except UserError:
            raise
        except (*streams.BROKEN, tarfile.TarError, ValueError) as error:
            raise UserError(streams.broken(path, error)) from None

    def add(self, tar, member):
        """Keep one member, if it is a picture."""
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or "\\" in member.name:
            raise UserError(f"{self.path}: wanted names inside the archive's own folders, got "
                            f"{member.name!r}; do not trust this file")
        if any(part.startswith(".") for part in name.parts):
            return
        if member.isdir():
            self.folders.add(str(name))
        elif name.suffix.lower() in PICTURES:
            if not member.isreg() or member.issparse():     # sparse: a few bytes that claim many
                raise UserError(f"{self.path}: wanted {member.name!r} to be a plain file, got a "
                                "link, a device or a sparse file")
            self.contents[str(name)] = tar.extractfile(member).read()
        self.folders.update(map(str, name.parents[:-1]))

    def open(self, name):
        return io.BytesIO(self.contents[name])

    def names(self):
        """Every picture and every folder in the archive, as "a/b/c"."""
        return list(self.contents), list(self.folders)


def layout(path, pictures, folders):
    """The classes, and {"train": (names, labels), ...}; of a folder of classes alone {"": ...}.

    A single folder around everything, as archives have it, is looked through.
    """
    if not pictures:
        raise UserError(f"{path}: wanted pictures ({', '.join(PICTURES)}) in class folders, got "
                        "none")
    top = around(pictures)
    pictures, folders = ([name[len(top):] for name in sorted(names) if name.startswith(top)]
                         for names in (pictures, folders))
    parted = any(name.startswith(tuple(part + "/" for part in PARTS)) for name in pictures)
    found = {}
    for name in folders:
        part, *inside = name.split("/") if parted else ("", *name.split("/"))
        if parted and part not in PARTS:
            continue
        found.setdefault(part, {})
        if len(inside) == 1:
            found[part][inside[0]] = []
    for name in pictures:
        part, *inside = name.split("/") if parted else ("", *name.split("/"))
        if len(inside) != 2 or part not in found:
            want = "train/, val/ or test/ with class folders" if parted else "class folders"
            raise UserError(f"{path}: wanted pictures in {want} and nowhere else, got "
                            f"{top + name!r}")
        found[part][inside[0]].append(top + name)
    return labelled(path, found)


def around(pictures):
    """The folders around everything, as "a/b/", or "": what is in the first name and the last."""
    top, one, other = "", min(pictures).split("/"), max(pictures).split("/")
    while len(one) > 2 < len(other) and one[0] == other[0] not in PARTS:
        top += one[0] + "/"
        one, other = one[1:], other[1:]
    return top


def labelled(path, found):
    """The classes, in order, and {part: (names, labels)}, of {part: {class: names}}."""
    first = "train" if "" not in found else ""
    if first not in found:
        raise UserError(f"{path}: wanted a folder train with class folders, got "
                        f"{' and '.join(sorted(found))} alone")
    classes, parts = tuple(sorted(found[first])), {}
    if len(classes) < 2:
        raise UserError(f"{path}: wanted two class folders or more, got "
                        f"{' and '.join(map(repr, classes)) or 'none'}")
    for part, inside in found.items():
        where = path / part if part else path
        if odd := sorted(set(inside) ^ set(classes)):
            raise UserError(f"{where}: wanted the same {len(classes)} classes as in {first}; "
                            f"{odd[0]!r} is in one of them only")
        if empty := [name for name in classes if not inside[name]]:
            raise UserError(f"{where}: wanted pictures in every class folder, got none in "
                            f"{empty[0]!r}")
        names = [name for each in classes for name in inside[each]]
        counts = [len(inside[each]) for each in classes]
        parts[part] = names, np.repeat(np.arange(len(classes), dtype=np.int64), counts)
    return classes, parts


def three(path, parts, seed):
    """Names and labels for training, validation and testing, each in an order drawn by a key.

    In order of the classes, the first pictures of a split would all be of one.
    """
    mixed = {}
    for part, (names, y) in parts.items():
        order = reference.permutation(len(y), (seed, DATA, PARTS.index(part or "train"), 0))
        mixed[part] = [names[n] for n in order], y[order]
    train = mixed.pop("train" if "train" in mixed else "")
    tenth, rest = max(1, len(train[1]) // 10), [mixed[part] for part in PARTS if part in mixed]
    while len(rest) < 2:
        if len(train[1]) <= 2 * tenth:
            raise UserError(f"{path}: wanted pictures for training, validation and testing, got "
                            f"{sum(len(y) for _, y in parts.values())}")
        rest.insert(0, tuple(part[-tenth:] for part in train))
        train = tuple(part[:-tenth] for part in train)
    return train, *rest
