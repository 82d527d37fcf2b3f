"""Does Kickback keep up with backprop, and what does it need for that?

    python -m minicredit.experiments.kickback sarcos --seeds 3     about 5 minutes on one core
    python -m minicredit.experiments.kickback mnist --seeds 3      about 7 minutes
    python -m minicredit.experiments.kickback all --out kickback.md

SARCOS  the network of Balduzzi et al. (2015), 21-200-100-10-2, on torques 1, 4 and 7; the published
        test file alone, so that the errors compare rules and nothing else (`data.sarcos`)
MNIST   one coherent network a class, 784-32-16-2; a shared first layer, 784-256-(16-2) x 10; pixels
        standardised by the mean and deviation of all training pixels

Adam, learning rate falling linearly to 2 %; the epoch with the lowest validation error is reported.
Backprop runs on the same coherent network, from the same weights, in the same order of the data,
and is projected like Kickback.  A network whose output units have died, at an error of 1.00 on
SARCOS, tells nobody anything, hence nobody the opposite.
"""
import argparse
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from minicredit import data
from minicredit.coherent import (HE, STANDARDISED, clip, coherent_share, create,
                                 opposite_signs)
from minicredit.data import sarcos
from minicredit.errors import UserError
from minicredit.keys import DATA
from minicredit.measure import evaluate
from minicredit.network import forward
from minicredit.rules.backprop import Backprop
from minicredit.rules.kickback import Kickback
from minicredit.training import Diverged, batches, check, decayed

JOINTS = (1, 4, 7)
WATCHED = 1000                      # test examples on which wrong signs are counted


class Projected(Backprop):
    """Backprop, and a weight above the first layer that got the wrong sign becomes 0."""

    def step(self, x, y):
        """Learn from one batch; returns each example's loss before the update."""
        loss = super().step(x, y)
        clip(self.net)
        return loss


class Trial(NamedTuple):
    """One row of a table: a rule, its options, and those of its network."""

    name: str
    rule: type
    options: dict
    net: dict


OFF, RANDOM, SHARED = {"coherence": "off"}, {"signs": "random"}, {"shared": True}
ON_SARCOS = (
    Trial("backprop", Projected, {}, {}),
    Trial("Kickback", Kickback, {}, {}),
    Trial("backprop, not projected", Backprop, {}, {}),
    Trial("Kickback, not projected", Kickback, OFF, {}),
    Trial("backprop, random signs", Backprop, {}, RANDOM),
    Trial("Kickback, random signs", Kickback, OFF, RANDOM),
)
ON_MNIST = (
    Trial("backprop", Projected, {}, {}),
    Trial("Kickback", Kickback, {}, {}),
    Trial("Kickback, reward only", Kickback, {"form": "reward"}, {}),
    Trial("Kickback, random signs", Kickback, OFF, RANDOM),
    Trial("backprop, shared layer", Projected, {"eta": 1e-3}, SHARED),
    Trial("Kickback, shared layer", Kickback, {"eta": 1e-3}, SHARED),
)


class Run(NamedTuple):
    """What came of one trial with one seed; NaN or None where it diverged.

    error : of the test, at the epoch with the lowest validation error
    wrong : share of active units told the opposite of backprop at the end, by hidden layer
    coherent : share of weights with the right sign at the end
    """

    task: str
    trial: str
    seed: int
    error: float
    wrong: list
    coherent: float


class Splits(NamedTuple):
    """Three times x and y."""

    train: data.Split
    validation: data.Split
    test: data.Split


def nmse(net, split):
    """Mean squared error over the variance of the targets."""
    return sarcos.nmse(net.output(forward(net, split.x)[net.L]), split.y)


def percent(net, split):
    """The share of wrong answers in percent."""
    return evaluate(net, *split).error


def trained(rule, splits, score, seed, length, batch):
    """Train, in the order and with the rates of `training.epochs`, which would measure more.

    Parameters
    ----------
    rule : the trial's rule, on a fresh network
    splits : `train`, `validation`, `test`
    score : function of (net, split), the error
    seed, length, batch : int
        `length` is the number of epochs.

    Yields
    ------
    (validation error, test error), after every epoch
    """
    N, done = len(splits.train.y), 0
    total = length * -(-N // batch)
    for epoch in range(1, length + 1):
        for rows in batches(N, batch, (seed, DATA, 0, epoch)):
            rule.optimizer.scale = decayed("linear", done / total)
            check(rule.step(splits.train.x[rows], splits.train.y[rows]), rule, epoch, done)
            done += 1
        yield score(rule.net, splits.validation), score(rule.net, splits.test)


def learn(task, trial, rule, splits, score, seed, length, batch, tell):
    """One run: train, choose the epoch, count wrong signs; `tell` is called after every epoch."""
    errors = []
    try:
        for pair in trained(rule, splits, score, seed, length, batch):
            errors.append(pair)
            tell()
    except Diverged:
        return Run(task, trial.name, seed, float("nan"), None, float("nan"))
    x, y = splits.test.x[:WATCHED], splits.test.y[:WATCHED]
    wrong = opposite_signs(rule.net, forward(rule.net, x), y)[1:]
    best = min(errors, key=lambda pair: pair[0])[1]         # the first of equals: blind to the test
    return Run(task, trial.name, seed, best, wrong, coherent_share(rule.net))


def on_sarcos(seed, length, tell):
    """Every trial on every torque, for one seed; yields Runs."""
    for joint in JOINTS:
        splits = sarcos.load(joint, "float32")
        for trial in ON_SARCOS:
            net = create((21, 200, 100, 10, 2), loss="squared", seed=seed, first_scale=HE,
                         **trial.net)
            rule = trial.rule(net, eta=3e-3, seed=seed, **trial.options)
            yield learn(f"SARCOS, torque {joint}", trial, rule, splits, nmse, seed, length, 50,
                        tell)


def standardised(images):
    """The splits, each pixel less the mean and over the deviation of all training pixels."""
    mean, deviation = images.train.x.mean(), images.train.x.std()
    splits = (images.train, images.validation, images.test)
    return Splits(*(data.Split((x - mean) / deviation, y) for x, y in splits))


def on_mnist(seed, length, tell):
    """Every trial on MNIST, for one seed; yields Runs."""
    splits = standardised(data.load("mnist"))
    for trial in ON_MNIST:
        sizes = (784, 256, 16, 2) if "shared" in trial.net else (784, 32, 16, 2)
        net = create(sizes, classes=10, seed=seed, first_scale=STANDARDISED, **trial.net)
        rule = trial.rule(net, seed=seed, **{"eta": 3e-3, **trial.options})
        yield learn("MNIST", trial, rule, splits, percent, seed, length, 100, tell)


# (function, epochs, epochs of one seed over all trials)
EXPERIMENTS = {"sarcos": (on_sarcos, 100, len(JOINTS) * len(ON_SARCOS)),
               "mnist": (on_mnist, 12, len(ON_MNIST))}


def mean(runs, task, trial):
    """Mean test error over the seeds."""
    return statistics.mean(run.error for run in runs if (run.task, run.trial) == (task, trial))


def deviation(errors):
    """The sample standard deviation over seeds; 0 for one."""
    return statistics.stdev(errors) if len(errors) > 1 else 0.0


def table(runs):
    """A Markdown table, a row for each task and trial."""
    lines = ["| task | rule | test error, mean +- sd | each seed | told the opposite of backprop, "
             "by hidden layer | weights of the right sign |", "|---|---|---|---|---|---|"]
    for task, trial in dict.fromkeys((run.task, run.trial) for run in runs):
        same = [run for run in runs if (run.task, run.trial) == (task, trial)]
        errors, whole = [run.error for run in same], [run for run in same if run.wrong]
        form = "{:.2f} %" if task == "MNIST" else "{:.4f}"
        wrong = [statistics.mean(layer) for layer in zip(*(run.wrong for run in whole))]
        lines.append(" | ".join((
            f"| {task}", trial,
            f"{form} +- {form}".format(statistics.mean(errors), deviation(errors)),
            " ".join(map(form.format, errors)), " ".join(f"{share:.3f}" for share in wrong) or "-",
            f"{statistics.mean(run.coherent for run in same):.3f} |")))
    return "\n".join(lines)


def demands(runs):
    """What is asked of the figures, as (sentence, measured, at most); means over the seeds."""
    asked = []
    for joint in JOINTS:
        task = f"SARCOS, torque {joint}"
        if any(run.task == task for run in runs):
            bp, kb = mean(runs, task, "backprop"), mean(runs, task, "Kickback")
            asked.append((f"{task}: Kickback / backprop", kb / bp, 1.10))
            asked.append((f"{task}: Kickback / Kickback from random signs",
                          kb / mean(runs, task, "Kickback, random signs"), 1 / 3))
            if joint == 1:
                asked.append((f"{task}: Kickback, normalised squared error", kb, 0.035))
    if any(run.task == "MNIST" for run in runs):
        bp, kb = mean(runs, "MNIST", "backprop"), mean(runs, "MNIST", "Kickback")
        reward, shared = (mean(runs, "MNIST", f"Kickback, {what}")
                          for what in ("reward only", "shared layer"))
        asked += [("MNIST: Kickback, % wrong", kb, 2.6),
                  ("MNIST: Kickback - backprop, points", kb - bp, 0.3),
                  ("MNIST: reward only, % wrong", reward, 3.5),
                  ("MNIST: shared layer, % wrong", shared, 2.0)]
    return asked


def verdict(asked):
    """The demands as a Markdown table."""
    lines = ["| demand | measured | at most | met |", "|---|---|---|---|"]
    for sentence, measured, most in asked:
        met = "yes" if measured <= most else "**no**"
        lines.append(f"| {sentence} | {measured:.4f} | {most:.4f} | {met} |")
    return "\n".join(lines)


def run_all(names, seeds, length, console):
    """Run the experiments called `names`; shows how far they are, returns a list of Runs."""
    runs = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        for name in names:
            experiment, usual, trials = EXPERIMENTS[name]
            bar = progress.add_task(name, total=seeds * trials * (length or usual))
            for seed in range(seeds):
                for run in experiment(seed, length or usual, lambda: progress.advance(bar)):
                    runs.append(run)
                    console.print(f"{run.task}: {run.trial}, seed {seed}: {run.error:.4f}")
    return runs


def main(arguments=None):
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m minicredit.experiments.kickback",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=(*EXPERIMENTS, "all"))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... (default 3)")
    parser.add_argument("--epochs", type=int, help="default 100 (sarcos), 12 (mnist)")
    parser.add_argument("--out", type=Path, help="write the tables to this file too")
    given = parser.parse_args(arguments)
    if given.seeds < 1 or given.epochs is not None and given.epochs < 1:
        parser.error("--seeds and --epochs: wanted 1 or more")
    names = tuple(EXPERIMENTS) if given.what == "all" else (given.what,)
    try:
        runs = run_all(names, given.seeds, given.epochs, Console(stderr=True))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    text = f"{table(runs)}\n\n{verdict(demands(runs))}\n"
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
