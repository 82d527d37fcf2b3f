"""The numbers of a comparison: runs become rows, one a rule.

Every number is taken at a run's chosen epoch, the one with the lowest validation error; the test
set is never used to choose.  A run that failed is in no average.  A number that is not finite is
missing from every mean.
"""
import itertools
import math
import statistics
from collections import defaultdict


def plain(x):
    """`x` in the types JSON knows: arrays become lists, and numbers that are not finite null."""
    if hasattr(x, "tolist"):                                # NumPy's arrays and scalars
        x = x.tolist()
    if isinstance(x, dict):
        return {str(key): plain(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(value) for value in x]
    if isinstance(x, float):
        return x if math.isfinite(x) else None
    return x if x is None or isinstance(x, (int, str)) else str(x)


def in_order(results):
    """`results` with its runs by rule, as the configuration names them, then by seed."""
    config, runs = results.get("config", {}), results.get("runs", [])
    rules = list(dict.fromkeys([*config.get("rules", {}), *(run["rule"] for run in runs)]))
    runs = sorted(runs, key=lambda run: (rules.index(run["rule"]), run.get("seed") or 0))
    return {"config": config, "versions": {}, **results, "runs": runs}


def summary(results):
    """One row per rule, lowest mean test error first, rules without a finished run last.

    Returns
    -------
    list of dict
        rule; seeds and failed, the numbers of finished and failed runs; test_error (mean, percent)
        and test_error_sd (None for one seed); test_error_top5 (mean, percent; None where there are
        ten classes or fewer); train_error (mean, percent); seconds (mean per run);
        best_epoch (median) and best_epochs (sorted); peak_memory_bytes (largest);
        angle_to_backprop (degrees per layer, mean over seeds).  None where nothing was measured.
    """
    by_rule = runs_by_rule(plain(results))
    rows = [summarise(rule, runs) for rule, runs in by_rule.items()]
    return sorted(rows, key=lambda row: (row["test_error"] is None, row["test_error"] or 0))


def summarise(rule, runs):
    """The row of one rule; see `summary`."""
    done = [run for run in runs if finished(run)]
    test = numbers(done, "test_error")
    epochs = sorted(numbers(done, "best_epoch"))
    return {
        "rule": rule,
        "seeds": len(done),
        "failed": len(runs) - len(done),
        "test_error": mean(test),
        "test_error_sd": statistics.stdev(test) if len(test) > 1 else None,
        "test_error_top5": mean(numbers(done, "test_error_top5")),
        "train_error": mean(numbers(done, "train_error")),
        "seconds": mean(numbers(done, "seconds")),
        "best_epoch": statistics.median_low(epochs) if epochs else None,
        "best_epochs": epochs,
        "peak_memory_bytes": max(numbers(done, "peak_memory_bytes"), default=None),
        "angle_to_backprop": [mean(seeds) for seeds in angles(done)],
    }


def runs_by_rule(results):
    """rule -> its runs, in the order of `results`."""
    by_rule = defaultdict(list)
    for run in results["runs"]:
        by_rule[run["rule"]].append(run)
    return dict(by_rule)


def finished(run):
    """Whether the run has a result: it did not fail, and its test error is a number."""
    return run.get("failed") is None and run.get("test_error") is not None


def numbers(rows, key):
    """What `rows` hold under `key`, without the missing."""
    return [row[key] for row in rows if row.get(key) is not None]


def mean(values):
    """The mean, or None of nothing."""
    return statistics.fmean(values) if values else None


def chosen(run):
    """The run's record of its chosen epoch, or an empty one."""
    rows = (row for row in run.get("epochs") or [] if row["epoch"] == run.get("best_epoch"))
    return next(rows, {})


def angles(runs):
    """For every layer 1..L, the angles to backprop at each run's chosen epoch where defined."""
    lists = [chosen(run).get("angle_to_backprop") or [] for run in runs]
    layers = itertools.zip_longest(*lists)                  # seeds of one rule may differ in depth
    return [[angle for angle in layer if angle is not None] for layer in layers]


def curve(runs):
    """[(epoch, mean, lowest, highest)] of the validation error over the runs still going."""
    seeds = defaultdict(list)
    for run in runs:
        for row in run.get("epochs") or []:
            if row.get("validation_error") is not None:
                seeds[row["epoch"]].append(row["validation_error"])
    return [(k, mean(seeds[k]), min(seeds[k]), max(seeds[k])) for k in sorted(seeds)]
