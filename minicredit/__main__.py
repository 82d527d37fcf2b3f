"""The command line: `minicredit ...` or `python -m minicredit ...`.

Exit codes: 0 done; 1 `kernels check` found a fault; 2 something handed in is wrong, said in one
line; 3 every run diverged; 4 the disk is full or gone, with what was kept; 130 and 143 stopped by
SIGINT and SIGTERM, with a checkpoint and the command that goes on.
"""
import errno
import os
import shlex
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from minicredit import kernel_command, lesson_command
from minicredit.arguments import configuration, given_options, parser, shared_options
from minicredit.errors import NotSaved, UserError
from minicredit.rules import RULES
from minicredit.signals import Signals, Stopped

# what is wrong with a file that somebody named; anything else is the disk's fault
NAMED = (errno.ENOENT, errno.ENAMETOOLONG, errno.EACCES, errno.ENOTDIR, errno.EISDIR, errno.ELOOP,
         errno.EINVAL, errno.EPERM)


def load_data(config):
    """The data set, cut to `limit` training images; `net` learns how large its images are.

    Raises
    ------
    UserError
    """
    from minicredit import data
    from minicredit.data.augment import Augmented
    from minicredit.presets import PRESETS
    if config["dtype"] not in ("float32", "float64"):
        raise UserError(f"--dtype: wanted float32 or float64; got {config['dtype']!r}")
    loaded = data.load(config["data"], config["dtype"], config["image_size"])
    train = loaded.train.first(config["limit"]) if config["limit"] else loaded.train
    if config["augment"] and not config["data"].startswith("folder:"):
        train = Augmented(train, loaded.shape, flip=len(loaded.shape) == 3)     # digits have sides
    if "{" in PRESETS.get(config["net"], ""):
        config["net"] = PRESETS[config["net"]].format(S=loaded.shape[0], K=loaded.K)
    return replace(loaded, train=train)


def folder_for(out, resume=False):
    """The folder of the results, made and seen to be writable.

    Raises
    ------
    UserError
        If it cannot be made or written to, or should be there to go on with and is not.
    """
    if resume and not out:
        raise UserError("--resume: wanted the folder to go on with, --out DIR; got none")
    if resume and not (out / "checkpoints").is_dir():
        raise UserError(f"--resume: wanted a folder with checkpoints; got {out}, which has none")
    folder = out or Path("runs") / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / ".writable"
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise UserError(f"--out: wanted a folder that can be written to; got {folder}: "
                        f"{error.strerror}") from None
    return folder


def work(args, command):
    """`compare` and `train`: run, show, save."""
    from minicredit import compare
    from minicredit.job import Job
    config = configuration(args, command)
    with Signals() as signals:
        data = load_data(config)
        compare.check(config, data)
        needs = foreseen(config, data, args.memory)
        folder = folder_for(args.out, args.resume)
        with Job(folder, config, compare.versions(), signals, args.resume, args.checkpoint_steps,
                 args.checkpoint_minutes, warn) as job:
            return finish(job, config, data, needs, args.quiet)


def finish(job, config, data, needs, quiet):
    """Every run of a job that is not done, and then the report; the exit code."""
    from minicredit import compare, screen
    results = {"config": config, "versions": job.versions, "runs": []}
    try:
        # a number that is not finite stops its run, which says more than NumPy's warning
        with np.errstate(all="ignore"), screen.screen(config, quiet) as shown:
            for record in compare.runs(config, data, shown, needs, job):
                results["runs"].append(record)
    except NotSaved as error:
        raise NotSaved(f"{error}; to go on: {job.command}") from None
    except KeyboardInterrupt as stop:
        stopped = getattr(stop, "number", 2)
        save(results, data, job, quiet)
        warn(f"stopped by {stop or 'SIGINT'}; {job.kept()}")
        return 128 + stopped
    save(results, data, job, quiet)
    job.finished()
    failed = [run["failed"] for run in results["runs"] if "failed" in run]
    if len(failed) < len(results["runs"]):
        return 0
    warn(f"every run diverged: {failed[0]}")
    return 3


def save(results, data, job, quiet):
    """The report of the runs that are done; said where it is.

    Raises
    ------
    NotSaved
        If it cannot be written; what was learned is in the checkpoints.
    """
    from minicredit import compare, report, summary
    results["damaged_pictures"] = damaged(data)
    order = list(results["config"]["rules"])
    results["runs"].sort(key=lambda run: (order.index(run["rule"]), run["seed"]))
    if not results["runs"]:
        return
    try:
        report.write(results, job.folder, compare.about())
    except OSError as error:
        raise NotSaved(f"{job.folder}: the report cannot be written: {error.strerror}; "
                       f"{job.kept()}") from None
    if not quiet:
        print_summary(summary.summary(results))
    print(f"results: {job.folder / 'report.html'}")


def warn(text):
    """A line on stderr; what would break it, or do something to a terminal, is spelled out."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
    print(f"minicredit: {text}", file=sys.stderr)


def foreseen(config, data, most):
    """The memory that every rule will need; dict of `Need`.

    Parameters
    ----------
    config : dict
    data : Dataset
    most : int or None
        Bytes that may be used; None: what is free on this machine.

    Raises
    ------
    UserError
        If a rule cannot be, or needs more.
    """
    from minicredit import memory
    needs = memory.needs(config, data)
    if most is None and config["backend"] != "cuda":        # whose arrays are not in this memory
        most = memory.available()
    memory.refuse_above(most, config, needs)
    return needs


def damaged(data):
    """The pictures that could not be decoded and were left out; said on stderr."""
    names = [name for split in (data.train, data.validation, data.test)
             for name in getattr(split, "damaged", [])]
    if names:
        print(f"left out {len(names)} damaged pictures: {', '.join(map(str, names[:3]))}"
              f"{', ...' if len(names) > 3 else ''}", file=sys.stderr)
    return [str(name) for name in names]


def look_for(args, command):
    """`search`: what was not given is searched for."""
    from minicredit import compare, search
    search.optuna()
    config = configuration(args, command)
    data = load_data(config)
    compare.check(config, data)
    foreseen(config, data, args.memory)
    told = (lambda text: None) if args.quiet else lambda text: print(text, flush=True)
    ranges = search.searched(args.rule, given_options(args), args.range)
    if args.range:                                  # ours are of values that every rule takes
        search.try_ends(args.rule, config, data, ranges)
    try:
        with Signals() as signals:
            study = search.search(args.rule, config, data, args.trials, args.storage, ranges,
                                  args.sampler, told, signals)
    except KeyboardInterrupt as stop:
        warn(f"stopped by {stop or 'SIGINT'}; kept: the trials that were told; to go on: {command}")
        return 128 + getattr(stop, "number", 2)
    found = " ".join(f"--{key} {value:.3g}" for key, value in study.best_params.items())
    job = f"{as_training(command)} {found}".rstrip()
    print(f"best: {study.best_value:.2f} % validation error: {job}")
    return 0


def run_again(args, command):
    """`reproduce`: every row of a table that is not there yet, then the table."""
    from minicredit import reproduce
    from minicredit.job import unfinished
    table = reproduce.read(args.table)
    rows, out = reproduce.rows_of(table, args.rows), args.out or Path("runs") / args.table
    for row in rows:
        words = reproduce.words(table, row, shared_options(args)) + ["--out", str(out / row)]
        job = parser().parse_args(words + ["--quiet"] * args.quiet)
        command = shlex.join(["minicredit", *words])
        if reproduce.finished(out / row, configuration(job, command)):
            continue
        job.resume = unfinished(out / row)
        if not args.quiet:
            print(f"{row}: {command}", flush=True)
        code = work(job, command)
        if code not in (0, 3):                      # 3: it diverged, and the table says so
            return code
    print("\n".join(reproduce.write(table, out)))
    return 0


OF_SEARCH = "--trials", "--storage", "--sampler", "--range"


def as_training(command):
    """The `train` command that takes the same options as this `search` command."""
    words, kept = iter(shlex.split(command)), []
    for word in words:
        if word in OF_SEARCH:
            next(words)
        elif word.partition("=")[0] not in (*OF_SEARCH, "--quiet"):
            kept.append("train" if word == "search" else word)
    return shlex.join(kept)


def print_summary(rows):
    """The table at the end: one row a rule, best first."""
    from rich.table import Table

    from minicredit.screen import console, degrees
    table = Table(title="test error at the epoch with the lowest validation error")
    top5 = any(row["test_error_top5"] is not None for row in rows)
    table.add_column("rule")
    for column in ("test error", *["top-5 error"] * top5, "training error", "best epoch",
                   "angle to backprop", "seconds", "memory"):
        table.add_column(column, justify="right")
    for row in rows:
        if row["test_error"] is None:
            table.add_row(row["rule"], "diverged")
            continue
        sd = "" if row["test_error_sd"] is None else f" ± {row['test_error_sd']:.2f}"
        beyond = [f"{row['test_error_top5']:.2f} %"] if top5 else []
        table.add_row(row["rule"], f"{row['test_error']:.2f}{sd} %", *beyond,
                      f"{row['train_error']:.2f} %", str(row["best_epoch"]),
                      degrees(row["angle_to_backprop"]), f"{row['seconds']:.1f}",
                      f"{row['peak_memory_bytes'] / 2**20:.1f} MiB")
    console().print(table)


def show_rules(_):
    """`rules`."""
    from rich.markup import escape
    from rich.table import Table

    from minicredit.screen import console
    table = Table("name", "paper", "idea", "needs", "cannot", show_lines=True)
    for name, rule in RULES.items():
        table.add_row(f"[bold]{name}[/]\n{rule.title}", *map(escape, (
            rule.paper, rule.idea, rule.needs, rule.cannot)))
    console().print(table)
    return 0


def show_doctor(_):
    """`doctor`."""
    from minicredit.doctor import show
    show()
    return 0


def show_data(args):
    """`data list` and `data get NAME`."""
    from minicredit import data
    if args.what == "get":
        print(data.get(args.name))
        return 0
    from rich.table import Table

    from minicredit.screen import console
    table = Table("name", "images", "shape", "classes", "on this machine", "download", "terms")
    for row in data.table():
        table.add_row(row["name"], " + ".join(f"{n:,}" for n in row["images"]),
                      " x ".join(map(str, row["shape"])), str(len(row["classes"])),
                      str(row["found"] or f"no: minicredit data get {row['name']}"),
                      f"{row['size_bytes'] / 1e6:.1f} MB", row["terms"])
    console().print(table)
    return 0


def main(argv=None):
    """Run the command line; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if hasattr(sys.stdout, "reconfigure"):              # a file's name need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        args = parser().parse_args(argv)
        jobs = {"rules": show_rules, "doctor": show_doctor, "data": show_data,
                "kernels": kernel_command.run, "lesson": lesson_command.run,
                "lessons": lesson_command.contents}
        if args.command in jobs:
            return jobs[args.command](args)
        job = {"search": look_for, "reproduce": run_again}.get(args.command, work)
        return job(args, shlex.join(["minicredit", *argv]))
    except MemoryError as error:
        warn(f"not enough memory: {error}")
        return 2
    except (UserError, ImportError) as error:
        warn(error)
        return 2
    except NotSaved as error:
        warn(error)
        return 4
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        warn(f"{where}{error.strerror or error}")
        return 2 if error.errno in NAMED else 4
    except Stopped as stop:
        warn(f"stopped by {stop}")
        return 128 + stop.number
    except KeyboardInterrupt:
        warn("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
