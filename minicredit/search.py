"""Hyperparameter search on the validation images, with Optuna (`pip install minicredit[search]`).

A trial draws every option of the rule that has a range below, evenly on a logarithmic scale, trains
one seed and reports the lowest validation error; a trial that is worse than the median of earlier
ones at the same epoch is stopped, but not in the first third of its epochs.

    random      trial n's numbers follow from the study's name and n alone: however many processes
                share the work, and however often it is stopped, it is the same search
                (Bartunov et al. 2018: the best of 60)
    tpe         where earlier trials did well (Bergstra et al. 2011); the first ten as above

The study is kept in a database.  The same command again goes on where it was, in as many processes
as one likes: in a file of SQLite on one machine, in PostgreSQL on many.  A running trial says every
few seconds that it lives; one that has not for a while counts as lost and is made up for.
"""
import hashlib
import json
import re
import warnings
from time import sleep

from minicredit.compare import build
from minicredit.errors import NotSaved, UserError
from minicredit.keeper import Forgetful
from minicredit.rules import RULES
from minicredit.settings import options
from minicredit.signals import Signals
from minicredit.training import Diverged, epochs

RANGES = {                      # name of the option: from, to
    "eta": (1e-4, 1e-2),
    "eta_inverse": (1e-5, 1e-2),
    "eta_mirror": (3e-3, 1e-1),
    "target_step": (1e-2, 1.0),
    "label_step": (1e-2, 1.0),
    "sigma": (1e-2, 5e-1),
    "leak": (1e-6, 1e-3),
}
SAMPLERS = {"tpe": "TPESampler", "random": "RandomSampler"}
WORST = 100.0                   # percent: what a run that diverges counts
HEARTBEAT, GRACE = 10, 60       # seconds between signs of life, and until a trial is lost
POLL = 1.0                      # seconds between two looks at what others do
NOT_ASKED = "command", "seeds", "backend"       # of a configuration: the result is the same


class Surplus(Exception):
    """Others have begun all the trials that were wanted."""


def optuna():
    """The module, or why it cannot be had."""
    try:
        import optuna
    except ImportError:
        raise UserError("search needs Optuna, which is not installed; "
                        "try: pip install 'minicredit[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def searched(name, fixed, asked=()):
    """The options of a rule that a search draws, less those the user fixed; dict of ranges.

    Parameters
    ----------
    fixed : names
    asked : texts like "eta=1e-5:1e-3"
        Other ranges, also for options that have none of themselves.

    Raises
    ------
    UserError
    """
    known = {option.name: option.default for option in options(RULES[name])}
    if name == "tp" and fixed.get("first_target") != "gradient":
        known.pop("target_step")                    # nothing steps towards the label
    ranges = {option: RANGES[option] for option in known
              if option in RANGES and option not in fixed}
    numbers = [option for option, default in known.items() if isinstance(default, float)]
    for text in asked:
        option, _, span = text.partition("=")
        option = option.replace("-", "_")
        if option not in numbers:
            raise UserError(f"--range: wanted one of {name}'s options that are numbers, "
                            f"{', '.join(numbers)}; got {text!r}")
        if option in fixed:
            raise UserError(f"--range: wanted an option that is searched; --{option} is given")
        try:
            low, high = map(float, span.split(":"))
        except ValueError:
            low = high = 0.0
        if not 0 < low < high < float("inf"):
            raise UserError(f"--range: wanted {option}=FROM:TO, both above 0 and the second above "
                            f"the first; got {text!r}")
        ranges[option] = low, high
    return ranges


def try_ends(name, config, data, ranges):
    """Build the rule with the least of every range, and with the most: it may refuse one.

    Raises
    ------
    UserError
    """
    for end in (0, 1):
        drawn = {key: span[end] for key, span in ranges.items()}
        rules = {name: {**config["rules"][name], **drawn}}
        build(name, {**config, "rules": rules}, data.K, seed=0)


def validation_error(name, config, data, trial, signals):
    """Train as the trial says; the lowest validation error, in percent."""
    import optuna
    best = WORST
    try:
        rule = build(name, config, data.K, seed=0)
        for epoch in epochs(rule, data, config["epochs"], config["batch"], config["decay"], 0,
                            keeper=Forgetful(signals)):
            best = min(best, epoch["validation_error"])
            trial.report(best, epoch["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned
    except Diverged:
        return WORST
    return best


class Search:
    """One process's share of a study.

    Parameters
    ----------
    study : optuna.Study
    name : str
        The rule.
    config : dict, as `minicredit.compare` takes it
    data : Dataset
    trials : int
        Finished trials that are wanted of the study, whoever makes them.
    ranges : dict
        Option -> (low, high).
    sampler : {"tpe", "random"}
    told : function of one line, called after every trial
    signals : Signals
        Heeded between two steps, never inside the database's own code, which may swallow them.
    alive : bool
        Whether it can be known of a trial elsewhere that it still runs; otherwise none is waited
        for, and the last ones may be made twice.
    """

    def __init__(self, study, name, config, data, trials, ranges, sampler, told, signals,
                 alive=True):
        self.study, self.name, self.config, self.data = study, name, config, data
        self.trials, self.ranges, self.told, self.signals = trials, ranges, told, signals
        module = optuna()
        self.sampler = getattr(module.samplers, SAMPLERS[sampler])
        self.lost = module.exceptions.UpdateFinishedTrialError     # others gave this trial up
        self.forget = module.storages.fail_stale_trials
        state = module.trial.TrialState
        self.finished = {state.COMPLETE, state.PRUNED}
        self.counted = self.finished | ({state.RUNNING} if alive else set())

    def count(self, states, before=None):
        """The number of trials in one of these states, with numbers below `before`."""
        return sum(trial.state in states and (before is None or trial.number < before)
                   for trial in self.study.get_trials(deepcopy=False))

    def run(self):
        """Make trials, or wait for those of others, until enough are finished."""
        while self.more():
            self.signals.heed()

    def more(self):
        """Make a trial if one is wanted, wait a moment if others make it; whether some are left."""
        with self.signals.waiting():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")                 # Optuna calls this experimental
                self.forget(self.study)
            begun, finished = self.count(self.counted), self.count(self.finished)
            if begun < self.trials:
                self.study.optimize(self.trial, n_trials=1, callbacks=[self.tell],
                                    catch=(Surplus, self.lost))
        if finished < self.trials <= begun:
            sleep(POLL)
        return finished < self.trials

    def trial(self, trial):
        """One trial: its validation error in percent."""
        if self.count(self.counted, before=trial.number) >= self.trials:
            raise Surplus
        self.study.sampler = self.sampler(seed=seed(self.study.study_name, trial.number))
        drawn = {key: digits(trial.suggest_float(key, low, high, log=True))
                 for key, (low, high) in self.ranges.items()}
        rules = {self.name: {**self.config["rules"][self.name], **drawn}}
        return validation_error(self.name, {**self.config, "rules": rules}, self.data, trial,
                                self.signals)

    def tell(self, study, trial):
        """Say how a trial went."""
        if trial.state in self.finished:
            self.told(line(trial, study))


def search(name, config, data, trials, storage, ranges, sampler="tpe", told=print,
           signals=None):
    """Search until the study has `trials` finished trials, made here or elsewhere; the study.

    Parameters
    ----------
    storage : str
        Any storage URL of Optuna, such as sqlite:///search.db.
    name, config, data, trials, ranges, sampler, told, signals
        See `Search`.

    Raises
    ------
    UserError
        If the storage cannot be opened.
    NotSaved
        If it is lost on the way.
    """
    if sampler not in SAMPLERS:
        raise UserError(f"--sampler: wanted one of {', '.join(SAMPLERS)}; got {sampler!r}")
    module = optuna()
    shown = without_password(storage)
    study = begun(module, title(name, config, ranges, sampler), storage, shown,
                  config["epochs"] // 3)
    from sqlalchemy.exc import SQLAlchemyError
    try:
        Search(study, name, config, data, trials, ranges, sampler, told,
               signals or Signals(), alive=not storage.startswith("redis")).run()
    except Exception as error:                      # Optuna's own handling of it may fail as well
        lost = [one for one in chain(error) if isinstance(one, SQLAlchemyError)]
        if not lost:
            raise
        raise NotSaved(f"--storage: {shown} was lost: {first_line(lost[0])}; the trials that were "
                       "told are in it, and the same command goes on") from None
    return study


def begun(module, name, storage, shown, spared):
    """The study of this name, made if it is not there.

    Parameters
    ----------
    spared : int
        Epochs before which no trial is stopped.

    Raises
    ------
    UserError
        If the storage, `shown` in a message, cannot be opened.
    """
    for last in (False, False, True):               # two that begin at once make the tables twice,
        try:                                        # and one of them fails
            return module.create_study(study_name=name, storage=opened(module, storage),
                                       load_if_exists=True, direction="minimize",
                                       pruner=module.pruners.MedianPruner(
                                           n_startup_trials=5, n_warmup_steps=spared))
        except Exception as error:                  # of whatever database the URL names
            if last:
                raise UserError(f"--storage: wanted a storage URL of Optuna that can be opened, "
                                f"such as sqlite:///search.db; got {shown!r}: "
                                f"{first_line(error)}") from None
            sleep(POLL)


def without_password(url):
    """A URL as a message may show it."""
    return re.sub(r"(//[^:/@]*):.*@", r"\1:***@", url)


def opened(module, url):
    """The storage that a URL names; every one but Redis hears which trials live."""
    if url.startswith("redis"):
        return module.storages.get_storage(url)
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)  # the driver we install
    patient = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {
        "pool_pre_ping": True}                      # a connection may die in a long epoch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")             # Optuna calls signs of life experimental
        return module.storages.RDBStorage(url, engine_kwargs=patient, heartbeat_interval=HEARTBEAT,
                                          grace_period=GRACE)


def chain(error):
    """An exception, and those that came before it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def first_line(error):
    """What an exception says, on one line; of a chain, what was at the bottom of it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def seed(study, number):
    """The seed of a trial's draws, a function of the study's name and the trial's number."""
    return int(hashlib.sha256(f"{study} {number}".encode()).hexdigest()[:8], 16)


def digits(value):
    """A number as the command line that is printed has it: three digits, so that it is the run."""
    return float(f"{value:.3g}")


def title(name, config, ranges, sampler):
    """The study's name: what is searched, and a digest of everything that it depends on."""
    asked = {key: value for key, value in config.items() if key not in NOT_ASKED}
    text = json.dumps([asked, ranges, sampler], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{name} {config['data']} {config['net']} {sampler} {digest}"


def line(trial, study):
    """One trial in words."""
    outcome = "stopped early" if trial.state.name == "PRUNED" else f"{trial.value:.2f} %"
    done = [one.value for one in study.get_trials(deepcopy=False) if one.state.name == "COMPLETE"]
    best = f"best {min(done):.2f} %" if done else ""
    settings = "  ".join(f"{key} {digits(value):.2e}" for key, value in trial.params.items())
    return f"trial {trial.number:3}  {settings}  {outcome:>13}  {best}"
