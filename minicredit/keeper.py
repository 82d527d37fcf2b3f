"""When a run is saved, and where it goes on.

    before the first step       so that there is always a last good state
    after every epoch           with what was measured
    every N steps or minutes    if asked
    when a signal came          and then it stops

A run goes on only as what it was: the same configuration, on the same versions of what its numbers
depend on to the last bit.  What may change the last bit, and may not, is a warning.
"""
import json
from importlib.metadata import version
from time import monotonic

from minicredit import checkpoint, files, state
from minicredit.checkpoint import FORMAT, Checkpoint
from minicredit.errors import NotSaved, UserError
from minicredit.signals import Signals

PIECE = 500                     # steps that a device takes before it is asked how it goes
LIKELY = "platform", "python", "blas"       # differences here are worth a warning


class Forgetful:
    """The keeper of a run that nobody wants to go on with: keeps nothing, but can be stopped.

    Parameters
    ----------
    signals : Signals
    """

    piece = PIECE

    def __init__(self, signals):
        self.signals = signals

    def begin(self, rule, split, batch):
        """From the beginning."""
        return 0, 0.0, []

    def step(self, rule, done, spent, epochs):
        """A step is done, or an epoch measured: stop if somebody wants that."""
        self.signals.heed()

    epoch = step

    def stop(self, rule, done, spent, epochs):
        """Nothing is saved."""

    def last(self):
        """There is none."""


class Keeper:
    """Saves one run in a folder of its own, and brings it back.

    Parameters
    ----------
    folder : path
        Made if it is missing.
    about : dict
        What the run is; see `described`.
    signals : Signals
    steps : int or None
        Save every so many steps too.
    minutes : float or None
        And after so many minutes.
    warn : function of a line
    """

    def __init__(self, folder, about, signals, steps=None, minutes=None, warn=print):
        self.folder, self.about, self.signals, self.warn = folder, about, signals, warn
        self.steps, self.minutes, self.piece = steps, minutes, min(steps or PIECE, PIECE)
        self.path, self.saved, self.when, self.most = None, 0, monotonic(), 0

    def begin(self, rule, split, batch):
        """Bring a new rule to where its run stands, in place.

        Returns
        -------
        done : int, steps
        spent : float, seconds of the epoch under way
        epochs : list of dict, what was measured
        """
        state.warm_up(rule, split, batch)
        self.most = 2 * state.size(rule)        # twice: another network gets a better refusal
        with self.signals.waiting():
            found = checkpoint.newest(self.folder, self.most, self.warn)
            if not found:
                self.save(rule, 0, 0.0, [])
                return 0, 0.0, []
            held, self.path = found
            refuse_other(self.path, held.about, self.about, self.warn)
            put_back(rule, held, self.path)
            self.saved, self.when = held.done, monotonic()
        return held.done, held.spent, held.epochs

    def step(self, rule, done, spent, epochs):
        """A step is done: save if it is time, stop if somebody wants that."""
        late = self.minutes is not None and monotonic() - self.when >= 60 * self.minutes
        if late or self.signals.came or self.steps and done - self.saved >= self.steps:
            self.save(rule, done, spent, epochs)
        self.signals.heed()

    def epoch(self, rule, done, spent, epochs):
        """An epoch is measured: save."""
        with self.signals.waiting():
            self.save(rule, done, spent, epochs)
        self.signals.heed()

    def stop(self, rule, done, spent, epochs):
        """A signal came while nothing was under way that would be lost: save."""
        with self.signals.waiting():
            self.save(rule, done, spent, epochs)

    def save(self, rule, done, spent, epochs):
        """Write a checkpoint.

        Raises
        ------
        NotSaved
            If it cannot be written; says what is left.
        """
        arrays, numbers = state.on_host(rule)
        held = Checkpoint(self.about, done, spent, epochs, numbers, arrays)
        try:
            if not done:
                self.folder.mkdir(parents=True, exist_ok=True)
            self.path = checkpoint.save(self.folder, held, self.path)
        except OSError as error:
            raise NotSaved(f"{self.folder}: step {done} cannot be saved: {error.strerror}; "
                           f"{self.left()}") from None
        self.saved, self.when = done, monotonic()

    def left(self):
        """What somebody could go on with, in words."""
        if self.path and self.path.exists():
            return f"kept: step {self.saved}, {self.path}"
        return "nothing was kept"

    def last(self):
        """The last good checkpoint, read again; None if there is none."""
        found = checkpoint.newest(self.folder, self.most, self.warn)
        return found and found[0]


def put_back(rule, held, path):
    """A checkpoint's state into a rule, in place.

    Raises
    ------
    UserError
        If it is of another rule or network.
    """
    try:
        state.restore(rule, held.arrays, held.numbers)
    except UserError as error:
        raise UserError(f"--resume: {path} is {error}") from None


def described(config, versions, rule, seed):
    """What a run is; dict, as a checkpoint holds it.

    Parameters
    ----------
    config : dict
        Everything that the results depend on.
    versions : dict of str
    rule : str
    seed : int
    """
    plain = {key: value for key, value in config.items() if key != "command"}
    return json.loads(json.dumps({"format": FORMAT, "rule": rule, "seed": seed, **plain,
                                  "versions": {**versions, **libraries(config["backend"])}}))


def libraries(backend):
    """What computes, beside NumPy, and its versions; dict of str."""
    from threadpoolctl import threadpool_info
    found = {"blas": "; ".join(f"{one['internal_api']} {one['version']} "
                               f"{one.get('architecture', '')}, {one['num_threads']} threads"
                               for one in threadpool_info() if one["user_api"] == "blas")}
    if backend == "numba":
        found["numba"] = version("numba")
    if backend == "cuda":
        from minicredit.doctor import devices
        found["card"] = devices()
    return found


def refuse_other(path, there, now, warn):
    """Refuse a checkpoint of another configuration or version; say what differs.

    Raises
    ------
    UserError
    """
    there, now = flat(there), flat(now)
    differ = {key: f"{key} is {there.get(key, 'not there')} in the checkpoint and "
                   f"{now.get(key, 'not there')} now"
              for key in sorted({**there, **now}) if there.get(key) != now.get(key)}
    fatal = [text for key, text in differ.items() if key not in LIKELY]
    if fatal:
        raise UserError(f"--resume: {path} is of another run: {'; '.join(fatal)}")
    if differ:
        warn(f"{path}: {'; '.join(differ.values())}: the last bits may come out otherwise")


def flat(about, inside=""):
    """{"rules": {"bp": {"eta": 1}}} -> {"rules.bp.eta": 1}; versions by their own names."""
    found = {}
    for key, value in about.items():
        name = inside + key
        if isinstance(value, dict) and value:
            found.update(flat(value, "" if name == "versions" else name + "."))
        else:
            found[name] = value
    return found
