"""What a person handed in is wrong, and one sentence says so.

Loaders raise `UserError` where something enters the program: a name, a file, a folder, a mirror.
The sentence names the thing, what was wanted, what came and what to do.  The command line prints
it as one line, without a traceback, and exits with 2.  Every other exception is a fault of ours.
"""


class UserError(ValueError):
    """Something a person handed in is wrong."""


class NotSaved(Exception):
    """Something could not be written while work was under way: the disk is full, or gone.

    The message says what was kept.  The command line prints it as one line and exits with 4.
    """
