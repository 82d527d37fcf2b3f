"""One process at a time in a folder.

The lock is the kernel's (flock): it ends with the process that holds it, however that ends, so a
lock that was left behind is none.  The file says who holds it, for the sentence that refuses
others; it stays where it is when the lock is given back, because a lock on a file that somebody
else is about to remove would keep nobody out.
"""
import os
import socket

from minicredit.errors import UserError

try:
    import fcntl
except ImportError:             # where there is no flock: nobody is kept out, nobody is locked out
    fcntl = None


class Lock:
    """Held while a `with` block runs.

    Parameters
    ----------
    path : path of the file
    folder : path
        What is locked, for the refusal.

    Raises
    ------
    UserError
        If another process holds it; names that process.
    """

    def __init__(self, path, folder):
        self.path, self.folder, self.descriptor = path, folder, None

    def __enter__(self):
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except BlockingIOError:
            owner = os.pread(descriptor, 100, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise UserError(f"--out: {self.folder} is in use by process {owner or '(unknown)'}; "
                            "name another folder, or wait until it is done") from None
        except BaseException:
            os.close(descriptor)
            raise
        self.descriptor = descriptor
        return self

    def __exit__(self, *_):
        try:
            os.ftruncate(self.descriptor, 0)
        except OSError:                         # the disk is gone; so is, soon, this process
            pass
        os.close(self.descriptor)
