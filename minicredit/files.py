"""Files that are whole or absent, whenever the machine stops.

    open    a name of its own beside the final one
    write   until every byte is taken; a system may take fewer than it was given
    fsync   the name must not outrun the bytes
    rename  over the final name: whoever looks finds the old file or the new one
    fsync   of the folder, so that the new name is there after a power cut, too
"""
import os


def put(path, data):
    """Write `data` beside `path` and rename it, so that nobody ever reads half a file.

    Raises
    ------
    OSError
        If that cannot be done; what was under the name is still there.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(beside, data)
        os.replace(beside, path)
    except BaseException:
        remove(beside)
        raise
    settle(path.parent)


def write(path, data):
    """Every byte of `data` to a new file, and to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left):]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def settle(folder):
    """The names in a folder, to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path):
    """A file, gone if it can be; what is in the way of that is not in the way of anything else."""
    try:
        os.unlink(path)
    except OSError:
        pass


def leftovers(folder):
    """What a process that was stopped while it wrote has left in a folder; list of paths."""
    return [path for path in folder.glob(".*.part") if path.is_file()]
