"""Downloads, from whichever mirror answers.

A file is written under another name beside its place and moved there when its sha256 is the
published one, so a file with the right name is whole.  pooch does that.  What it leaves to us is
patience: a server that sends a byte now and then never lets a socket time out.  So the transfer
runs in a thread of its own and is given up when no block has arrived for `timeout` seconds.
"""
import sys
import threading
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from minicredit.data import digits, sets
from minicredit.errors import UserError

BLOCK = 2**14           # bytes; slower than one block in `timeout` seconds counts as standing still


class Sink:
    """The file a transfer writes to: notes when bytes came, and refuses more than there should be.

    Parameters
    ----------
    file : file open for writing bytes
    most : int
        The bytes it may get; a server that sends more is not sending the file.
    seen : callable
        Called with completed=bytes that have come, after each block.
    """

    def __init__(self, file, most, seen):
        self.file, self.most, self.seen = file, most, seen
        self.size, self.last = 0, time.monotonic()

    def write(self, block):
        self.size, self.last = self.size + len(block), time.monotonic()
        if self.size > self.most:
            raise UserError(f"wanted {self.most} bytes, it sends more")
        self.file.write(block)
        self.seen(completed=self.size)

    def flush(self):
        pass                        # pooch flushes after every block; closing the file does it


class Transfer:
    """A pooch downloader that fetches one file of `size` bytes and cannot be held up."""

    def __init__(self, size, timeout, seen):
        self.size, self.timeout, self.seen = size, timeout, seen

    def __call__(self, url, path, pooch):
        with open(path, "wb") as file:
            sink, failed, done = Sink(file, self.size, self.seen), [], threading.Event()
            arguments = (url, sink, self.timeout, failed, done)
            threading.Thread(target=copy, args=arguments, daemon=True).start()
            while not done.is_set():
                left = sink.last + self.timeout - time.monotonic()
                if left <= 0:       # the thread ends at its next block: the file is closed then
                    raise UserError(f"stands still: not {BLOCK} bytes in {self.timeout} s")
                done.wait(left)
        if failed:
            raise UserError(reason(failed[0]))


def copy(url, sink, timeout, failed, done):
    """Copy `url` to `sink`; an exception goes into `failed`."""
    import pooch
    try:
        pooch.HTTPDownloader(chunk_size=BLOCK, timeout=timeout, hooks={"response": as_it_is},
                             headers={"Accept-Encoding": "identity"})(url, sink, None)
    except Exception as error:      # whatever it is, the mirror did not deliver
        failed.append(error)
    done.set()


def as_it_is(response, **_):
    """Keep what a server sends packed: some label our .gz files as a packed text to unpack."""
    response.raw.headers.pop("Content-Encoding", None)


def reason(error):
    """Why a transfer failed, in the words of the exception that began it, on one line."""
    if getattr(error, "response", None) is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return " ".join(str(error).split())[:200] or type(error).__name__


def get(name, mirrors=None, folder=None, timeout=30, progress=True):
    """Download a data set; files that are there already, and right, are kept.

    Parameters
    ----------
    name : str
    mirrors : list of str, or None for the known ones
        Addresses to put a file's name behind, tried in turn for each file.
    folder : path, or None
        Where data sets are kept; None is where `load` looks first.
    timeout : float
        Seconds without a block of 16 KiB after which a mirror is given up.
    progress : bool
        Draw a bar for each file on standard error.

    Returns
    -------
    Path of the folder that now holds the set

    Raises
    ------
    UserError
        If the folder cannot be written, or no mirror delivers a file: each, with its reason.
    """
    about = sets.known(name)
    if not about.downloads:
        return digits.FOLDER
    home = Path(folder if folder is not None else next(sets.roots())) / about.home
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{home}: wanted a folder to write {name} to: {error.strerror}") from None
    with bars(progress) as bar:
        for file in about.downloads:
            get_file(about, file, mirrors or about.mirrors, home, timeout, bar)
    return home


def get_file(about, file, mirrors, home, timeout, bar):
    """Download one file from the first mirror that delivers it, unless it is there and right."""
    import pooch
    pooch.get_logger().setLevel("WARNING")      # we say what happens
    (sha256, size), failed = about.downloads[file], []
    task = bar.add_task(file, total=size)
    transfer = Transfer(size, timeout, partial(bar.update, task))
    for mirror in mirrors:
        url = mirror.rstrip("/") + "/" + file
        try:
            pooch.retrieve(url, f"sha256:{sha256}", file, home, downloader=transfer)
        except UserError as error:
            failed.append(f"{url}: {error}")
        except ValueError:          # pooch's, when the sum is wrong
            failed.append(f"{url}: not the published file, its sha256 is another")
        except OSError as error:
            why = error.strerror or " ".join(str(error).split())
            raise UserError(f"{home / file}: cannot be written: {why}") from None
        else:
            return bar.update(task, completed=size)
        print(f"mirror failed: {failed[-1]}", file=sys.stderr)
    raise UserError(f"{file}: no mirror delivered it: {'; '.join(failed)}")


class Silent:
    """Stands in for rich's progress bars where none are wanted."""

    def add_task(self, *_, **__):
        return 0

    def update(self, *_, **__):
        return None


def bars(progress):
    """rich's progress bars on standard error, or silence; use it in a `with`."""
    if not progress:
        return nullcontext(Silent())
    from rich import progress as rich
    from rich.console import Console
    return rich.Progress("{task.description}", rich.BarColumn(), rich.DownloadColumn(),
                         rich.TransferSpeedColumn(), console=Console(stderr=True))
