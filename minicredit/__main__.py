"""The command line: `minicredit ...` or `python -m minicredit ...`.

Exit codes: 0 done; 2 something handed in is wrong, said in one line; 3 every run diverged;
130 interrupted, with what was finished saved.
"""
import argparse
import os
import shlex
import sys
from datetime import datetime
from pathlib import Path

from minicredit.errors import UserError
from minicredit.rules import RULES
from minicredit.settings import hyperparameters, options

DATA = ("digits", "mnist", "fashion-mnist", "cifar10")
EPOCHS = {"digits": 40, "mnist": 10, "fashion-mnist": 10, "cifar10": 10}
SEEDS = {"digits": 3}
BATCH = {"digits": 32}


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message):
        """Raise instead of printing the usage and leaving."""
        raise UserError(f"{message}; see `{self.prog} --help`")


def positive(text):
    """A whole number of at least 1."""
    if not text.isdecimal() or not 1 <= int(text) <= 10**9:
        raise argparse.ArgumentTypeError(f"wanted a whole number of at least 1; got {text!r}")
    return int(text)


def add_job_options(parser):
    """The options that `compare` and `train` share."""
    add = parser.add_argument
    add("--data", default="digits", metavar="NAME", help=f"{', '.join(DATA)} (digits)")
    add("--net", metavar="SIZES", help="64-32-10, 784-5x256-10, or a preset: mnist-fc, cifar-fc, "
        "lee (a default for each data set)")
    add("--activation", default="tanh", metavar="F", help="of the hidden layers: tanh, relu (tanh)")
    add("--init", default="glorot", metavar="NAME", help="glorot, orthogonal (glorot)")
    add("--epochs", type=positive, metavar="N", help="(40 for digits, else 10)")
    add("--batch", type=positive, metavar="N", help="images a step (32 for digits, else 128)")
    add("--decay", default="cosine", metavar="NAME",
        help="of the learning rates: constant, linear (to 2 %%), cosine (to 0) (cosine)")
    add("--seeds", type=positive, metavar="K", help="runs of each rule (3 for digits, else 1)")
    add("--limit", type=positive, metavar="N", help="use only the first N training images")
    add("--backend", default="numpy", metavar="NAME", help="see `minicredit doctor` (numpy)")
    add("--dtype", default="float32", metavar="NAME", help="float32, float64 (float32)")
    add("--out", type=Path, metavar="DIR", help="where the results go (runs/<time>)")
    add("--quiet", action="store_true", help="print only where the results are")


def add_rules(parser):
    """A parser for each rule below `parser`, with its hyperparameters; the list."""
    rules = parser.add_subparsers(dest="rule", metavar="RULE", required=True, parser_class=Parser)
    made = []
    for name, rule in RULES.items():
        one = rules.add_parser(name, help=rule.idea, description=f"{rule.title}: {rule.idea} "
                               f"({rule.paper}).")
        add_job_options(one)
        group = one.add_argument_group(f"hyperparameters of {name}")
        for option in options(rule):
            text = f"{option.text} (default {option.default})".replace("%", "%%")
            spellings = {f"--{option.name}", f"--{option.name.replace('_', '-')}"}
            group.add_argument(*sorted(spellings, reverse=True), dest=f"option {option.name}",
                               metavar="X", help=text)
        made.append(one)
    return made


def parser():
    """The whole command line."""
    top = Parser(prog="minicredit", description="Who gets the credit? Learning rules for brains "
                 "and machines, side by side.")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True,
                                  parser_class=Parser)
    compare = commands.add_parser("compare", help="train the same network by every rule")
    compare.add_argument("--rules", default="all", metavar="A,B", help=f"all, or some of "
                         f"{', '.join(RULES)} (all)")
    compare.add_argument("--set", action="append", default=[], metavar="RULE.OPTION=VALUE",
                         help="a hyperparameter of one rule; may be repeated")
    add_job_options(compare)
    add_rules(commands.add_parser("train", help="train by one rule, with its hyperparameters"))
    search = commands.add_parser("search", help="search a rule's hyperparameters on validation "
                                 "images")
    for one in add_rules(search):
        one.add_argument("--trials", type=positive, default=30, metavar="N", help="(30)")
        one.add_argument("--storage", default="sqlite:///search.db", metavar="URL",
                         help="any storage of Optuna; the same again goes on (sqlite:///search.db)")
    commands.add_parser("rules", help="what rules there are, and what each needs")
    commands.add_parser("doctor", help="which backends load here, cores, libraries, data")
    data = commands.add_parser("data", help="list or download data sets")
    what = data.add_subparsers(dest="what", metavar="list|get", required=True, parser_class=Parser)
    what.add_parser("list", help="what there is, and what is on this machine")
    what.add_parser("get", help="download").add_argument("name", metavar="NAME")
    return top


def given_options(args):
    """{option: text}: the hyperparameters that the command line names."""
    return {key[7:]: value for key, value in vars(args).items()
            if key.startswith("option ") and value is not None}


def chosen(args):
    """{rule: {option: value}} that the command line asks for."""
    if args.command != "compare":
        return {args.rule: hyperparameters(args.rule, given_options(args))}
    names = list(RULES) if args.rules == "all" else args.rules.split(",")
    for name in names:
        if name not in RULES:
            raise UserError(f"--rules: wanted all or some of {', '.join(RULES)}; got {name!r}")
    given = {name: {} for name in names}
    for text in args.set:
        where, equals, value = text.partition("=")
        name, dot, option = where.partition(".")
        if not (equals and dot and name in given):
            raise UserError(f"--set: wanted RULE.OPTION=VALUE with a rule of this comparison; "
                            f"got {text!r}")
        given[name][option] = value
    return {name: hyperparameters(name, given[name]) for name in given}


def configuration(args, command):
    """Everything that the results depend on, as plain values."""
    from minicredit.presets import DEFAULT_NET
    from minicredit.training import DECAYS
    for name, value, known in (("--data", args.data, DATA), ("--decay", args.decay, DECAYS)):
        if value not in known:
            raise UserError(f"{name}: wanted one of {', '.join(known)}; got {value!r}")
    return {"command": command, "data": args.data, "net": args.net or DEFAULT_NET[args.data],
            "activation": args.activation, "init": args.init,
            "epochs": args.epochs or EPOCHS[args.data], "batch": args.batch or
            BATCH.get(args.data, 128), "decay": args.decay,
            "seeds": args.seeds or SEEDS.get(args.data, 1), "limit": args.limit,
            "backend": args.backend, "dtype": args.dtype, "rules": chosen(args)}


def load_data(config):
    """The data set, cut to `limit` training images."""
    from dataclasses import replace

    from minicredit import data
    if config["dtype"] not in ("float32", "float64"):
        raise UserError(f"--dtype: wanted float32 or float64; got {config['dtype']!r}")
    loaded = data.load(config["data"], config["dtype"])
    n = config["limit"]
    if n:
        train = type(loaded.train)(loaded.train.x[:n], loaded.train.y[:n])
        loaded = replace(loaded, train=train)
    return loaded


def folder_for(out):
    """The folder of the results, made and seen to be writable.

    Raises
    ------
    UserError
        If it cannot be made or written to.
    """
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
    from minicredit import compare, report, screen, summary
    config = configuration(args, command)
    data = load_data(config)
    compare.check(config, data)
    for name in config["rules"]:
        compare.build(name, config, data.K, seed=0)         # refuses what cannot be, before --out
    folder = folder_for(args.out)
    results = {"config": config, "versions": compare.versions(), "runs": []}
    interrupted = False
    try:
        with screen.screen(config, args.quiet) as shown:
            for record in compare.runs(config, data, shown):
                results["runs"].append(record)
    except KeyboardInterrupt:
        interrupted = True
    order = list(config["rules"])
    results["runs"].sort(key=lambda run: (order.index(run["rule"]), run["seed"]))
    if results["runs"]:
        report.write(results, folder, compare.about())
        if not args.quiet:
            print_summary(summary.summary(results))
        print(f"results: {folder / 'report.html'}")
    if interrupted:
        print("interrupted: finished runs are saved" if results["runs"] else
              "interrupted before the first run was finished: nothing saved", file=sys.stderr)
        return 130
    return 3 if all("failed" in run for run in results["runs"]) else 0


def look_for(args, command):
    """`search`: what was not given is searched for."""
    from minicredit import compare, search
    search.optuna()
    config = configuration(args, command)
    data = load_data(config)
    compare.check(config, data)
    compare.build(args.rule, config, data.K, seed=0)
    told = (lambda text: None) if args.quiet else lambda text: print(text, flush=True)
    ranges = search.searched(args.rule, given_options(args))
    study = search.search(args.rule, config, data, args.trials, args.storage, ranges, told)
    print(f"best: {study.best_value:.2f} % validation error: minicredit train {args.rule} "
          + " ".join(f"--{key} {value:.3g}" for key, value in study.best_params.items()))
    return 0


def print_summary(rows):
    """The table at the end: one row a rule, best first."""
    from rich.table import Table

    from minicredit.screen import console, degrees
    table = Table(title="test error at the epoch with the lowest validation error")
    table.add_column("rule")
    for column in ("test error", "training error", "best epoch", "angle to backprop", "seconds",
                   "memory"):
        table.add_column(column, justify="right")
    for row in rows:
        if row["test_error"] is None:
            table.add_row(row["rule"], "diverged")
            continue
        sd = "" if row["test_error_sd"] is None else f" ± {row['test_error_sd']:.2f}"
        table.add_row(row["rule"], f"{row['test_error']:.2f}{sd} %", f"{row['train_error']:.2f} %",
                      str(row["best_epoch"]), degrees(row["angle_to_backprop"]),
                      f"{row['seconds']:.1f}", f"{row['peak_memory_bytes'] / 2**20:.1f} MiB")
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
    try:
        args = parser().parse_args(argv)
        jobs = {"rules": show_rules, "doctor": show_doctor, "data": show_data}
        if args.command in jobs:
            return jobs[args.command](args)
        job = look_for if args.command == "search" else work
        return job(args, shlex.join(["minicredit", *argv]))
    except (UserError, ImportError) as error:
        print(f"minicredit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minicredit: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
