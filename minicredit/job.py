"""A folder of results while they are being made.

    checkpoints/lock            who works here
    checkpoints/unfinished      the command that goes on; removed when everything is done
    checkpoints/dtp-0/          the checkpoints of one rule and one seed

A folder with unfinished work is not begun anew: it is gone on with by --resume, or left alone.
"""
import shlex

from minicredit import checkpoint, files
from minicredit.errors import NotSaved, UserError
from minicredit.keeper import Keeper, described, refuse_other
from minicredit.lock import Lock

ANY = 2**40                     # bytes: a checkpoint of whatever network


class Job:
    """The right to work in a folder, and a keeper for each of its runs; use it in a `with`.

    Parameters
    ----------
    folder : path
    config, versions : dict
    signals : Signals
    resume : bool
        Go on with what is there.
    steps, minutes : see `Keeper`
    warn : function of a line

    Raises
    ------
    UserError
        If another process works there, or there is unfinished work and nobody asked for it.
    """

    def __init__(self, folder, config, versions, signals, resume=False, steps=None, minutes=None,
                 warn=print):
        self.folder, self.config, self.versions, self.signals = folder, config, versions, signals
        self.resume, self.steps, self.minutes, self.warn = resume, steps, minutes, warn
        self.home = folder / "checkpoints"
        self.note = self.home / "unfinished"
        self.command, self.at = going_on(config["command"], folder), None

    def __enter__(self):
        try:
            self.home.mkdir(exist_ok=True)
            self.lock = Lock(self.home / "lock", self.folder).__enter__()
        except OSError as error:
            raise UserError(f"--out: wanted a folder that can be written to; got {self.home}: "
                            f"{error.strerror}") from None
        try:
            self.begin()
        except BaseException:
            self.lock.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.lock.__exit__()

    def begin(self):
        """Refuse what is not wanted here, and clear what is not needed."""
        if not self.resume and self.note.exists():
            raise UserError(f"--out: {self.folder} holds unfinished work; go on with it: "
                            f"{self.told()}; or name another folder, or remove that one")
        try:
            runs = [path for path in self.home.iterdir() if path.is_dir()]
            for folder in (self.folder, *runs):
                for path in files.leftovers(folder):
                    files.remove(path)
            for folder in () if self.resume else runs:
                for path in checkpoint.paths(folder):
                    files.remove(path)
            if self.resume:
                self.refuse_other()
            files.put(self.note, self.command.encode(errors="backslashreplace") + b"\n")
        except OSError as error:
            raise UserError(f"--out: wanted a folder that can be written to; got {self.home}: "
                            f"{error.strerror}") from None

    def refuse_other(self):
        """Refuse the first checkpoint of another configuration, before anything takes long."""
        for seed in range(self.config["seeds"]):
            for rule in self.config["rules"]:
                keeper = self.keeper(rule, seed)
                if found := checkpoint.newest(keeper.folder, ANY, self.warn):
                    refuse_other(found[1], found[0].about, keeper.about, self.warn)
                    return

    def told(self):
        """The command in the note, on one line."""
        with open(self.note, "rb") as file:
            return " ".join(file.read(10_000).decode("utf-8", "replace").split())

    def keeper(self, rule, seed):
        """The keeper of one run."""
        about = described(self.config, self.versions, rule, seed)
        self.at = Keeper(self.home / f"{rule}-{seed}", about, self.signals, self.steps,
                         self.minutes, self.warn)
        return self.at

    def kept(self):
        """What was kept of the run under way, and how to go on; one line."""
        kept = self.at.left() if self.at else "nothing was begun"
        return f"{kept}; to go on: {self.command}"

    def finished(self):
        """Everything is done and written."""
        try:
            self.note.unlink(missing_ok=True)
        except OSError as error:
            raise NotSaved(f"{self.note}: cannot be removed: {error.strerror}; all results are "
                           "there") from None


def unfinished(folder):
    """Whether there is work to go on with in a folder."""
    return (folder / "checkpoints" / "unfinished").exists()


def going_on(command, folder):
    """The command line that goes on with the work of `command`."""
    words, kept, skip = shlex.split(command), [], False
    for word in words:
        if not skip and word != "--resume" and word != "--out" and not word.startswith("--out="):
            kept.append(word)
        skip = word == "--out"
    return shlex.join([*kept, "--out", str(folder), "--resume"])
