"""Hyperparameter search on the validation images, with Optuna (`pip install minicredit[search]`).

A trial draws every option of the rule that has a range below, evenly on a logarithmic scale, trains
one seed and reports the lowest validation error; a trial that is worse than the median of earlier
ones at the same epoch is stopped.  The study is kept in a database, so a search can be stopped and
goes on where it was when the same command is typed again, and several processes can share it.
"""
import hashlib
import json

from minicredit.compare import build
from minicredit.errors import UserError
from minicredit.rules import RULES
from minicredit.settings import options
from minicredit.training import Diverged, epochs

RANGES = {                      # name of the option: from, to
    "eta": (1e-4, 1e-2),
    "eta_inverse": (1e-4, 1e-2),
    "eta_mirror": (3e-3, 1e-1),
    "target_step": (1e-2, 1.0),
    "label_step": (1e-2, 1.0),
    "sigma": (1e-2, 5e-1),
    "leak": (1e-6, 1e-3),
}
WORST = 100.0                   # percent: what a run that diverges counts


def optuna():
    """The module, or why it cannot be had."""
    try:
        import optuna
    except ImportError:
        raise UserError("search needs Optuna, which is not installed; "
                        "try: pip install 'minicredit[search]'") from None
    return optuna


def searched(name, fixed):
    """The options of a rule that a search draws, less those the user fixed; dict of ranges."""
    ranges = {option.name: RANGES[option.name] for option in options(RULES[name])
              if option.name in RANGES and option.name not in fixed}
    if name == "tp" and fixed.get("first_target") != "gradient":
        ranges.pop("target_step", None)             # nothing steps towards the label
    return ranges


def validation_error(name, config, data, trial):
    """Train as the trial says; the lowest validation error, in percent."""
    import optuna
    best = WORST
    try:
        rule = build(name, config, data.K, seed=0)
        for epoch in epochs(rule, data, config["epochs"], config["batch"], config["decay"], 0):
            best = min(best, epoch["validation_error"])
            trial.report(best, epoch["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned
    except Diverged:
        return WORST
    return best


def search(name, config, data, trials, storage, ranges, told=print):
    """Search until the study has `trials` finished trials; the study.

    Parameters
    ----------
    name : str
        The rule.
    config : dict, as `minicredit.compare` takes it
    data : Dataset
    trials : int
    storage : str
        Any storage URL of Optuna, such as sqlite:///search.db.
    ranges : dict
        Option -> (low, high).
    told : function of one line, called after every trial
    """
    module = optuna()
    module.logging.set_verbosity(module.logging.WARNING)
    try:
        study = module.create_study(study_name=title(name, config, ranges), storage=storage,
                                    load_if_exists=True, direction="minimize",
                                    pruner=module.pruners.MedianPruner(n_startup_trials=5))
    except Exception as error:                      # of whatever database the URL names
        first = str(error).splitlines()[0]
        raise UserError(f"--storage: wanted a storage URL of Optuna that can be opened, such as "
                        f"sqlite:///search.db; got {storage!r}: {first}") from None
    study.sampler = module.samplers.TPESampler(seed=len(study.trials))
    while sum(trial.state.is_finished() for trial in study.trials) < trials:
        trial = study.ask()
        drawn = {key: trial.suggest_float(key, low, high, log=True)
                 for key, (low, high) in ranges.items()}
        tried = {**config, "rules": {name: {**config["rules"][name], **drawn}}}
        try:
            value = validation_error(name, tried, data, trial)
            study.tell(trial, value)
        except module.TrialPruned:
            study.tell(trial, state=module.trial.TrialState.PRUNED)
            value = None
        told(line(trial.number, drawn, value, study))
    return study


def title(name, config, ranges):
    """The study's name: what is searched, and a digest of everything that it depends on."""
    asked = {key: value for key, value in config.items() if key not in ("command", "seeds")}
    text = json.dumps([asked, ranges], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{name} {config['data']} {config['net']} {digest}"


def line(number, drawn, value, study):
    """One trial in words."""
    outcome = "stopped early" if value is None else f"{value:.2f} %"
    done = [trial for trial in study.trials if trial.value is not None]
    best = f"best {min(trial.value for trial in done):.2f} %" if done else ""
    settings = "  ".join(f"{key} {value:.2e}" for key, value in drawn.items())
    return f"trial {number:3}  {settings}  {outcome:>13}  {best}"
