"""The words of the command line, and the configuration that they come to.

What the code calls an option, the command line calls it too: the hyperparameters of a rule are read
from its constructor, with their defaults and explanations.
"""
import argparse
import re
from pathlib import Path

from minicredit import kernel_command, lesson_command
from minicredit.errors import UserError
from minicredit.presets import DEFAULT_NET, PRESETS
from minicredit.reproduce import TABLES
from minicredit.rules import RULES
from minicredit.settings import hyperparameters, options

DATA = ("digits", "mnist", "fashion-mnist", "cifar10")      # or folder:PATH
EPOCHS = {"digits": 40}            # of the others: 10
SEEDS = {"digits": 3}
BATCH = {"digits": 32}

SHARED = {"--data": "where the pictures are, for imagenet-lc: folder:PATH",
          "--memory": "refuse a row that needs more, like 16GiB",
          **{option: "in the place of the table's own" for option in (
              "--image-size", "--epochs", "--batch", "--limit", "--seeds", "--backend",
              "--dtype")}}                          # what `reproduce` hands on to each row


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


def n_bytes(text):
    """A size like 16GiB, in bytes; a bare number is one of bytes."""
    units = {"": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]*)", text.lower())
    if not match or match[2] not in units or not float(match[1]):
        raise argparse.ArgumentTypeError(f"wanted a size like 16GiB or 500MiB; got {text!r}")
    return int(float(match[1]) * units[match[2]])


def add_job_options(parser, kept=True):
    """The options that `compare`, `train` and `search` share; `kept`: several runs, with a folder.
    """
    add = parser.add_argument
    add("--data", default="digits", metavar="NAME", help=f"{', '.join(DATA)}, or folder:PATH with "
        "a folder of pictures for each class (digits)")
    add("--image-size", type=positive, metavar="N", help="rows and columns that the pictures of a "
        "folder are brought to (64)")
    add("--augment", action="store_true", help="random crops, and flips from left to right, of the "
        "training images (of folders always)")
    add("--net", metavar="SIZES", help="64-32-10, 784-5x256-10, 28x28x1-lc3x32s2-1024-10, or a "
        f"preset: {', '.join(PRESETS)} (a default for each data set)")
    add("--activation", default="tanh", metavar="F",
        help="of the hidden layers: tanh, relu, linear (tanh)")
    add("--init", default="glorot", metavar="NAME", help="glorot, orthogonal (glorot)")
    add("--epochs", type=positive, metavar="N", help="(40 for digits, else 10)")
    add("--batch", type=positive, metavar="N", help="images a step (32 for digits, else 128)")
    add("--decay", default="cosine", metavar="NAME",
        help="of the learning rates: constant, linear (to 2 %%), cosine (to 0) (cosine)")
    add("--limit", type=positive, metavar="N", help="use only the first N training images")
    add("--backend", default="numpy", metavar="NAME", help="see `minicredit doctor` (numpy)")
    add("--dtype", default="float32", metavar="NAME", help="float32, float64 (float32)")
    add("--memory", type=n_bytes, metavar="SIZE", help="refuse a rule that needs more, like 16GiB "
        "(what is free on this machine)")
    if kept:
        add("--seeds", type=positive, metavar="K", help="runs of each rule (3 for digits, else 1)")
        add("--out", type=Path, metavar="DIR", help="where the results go, in the place of earlier "
            "ones there (runs/<time>)")
        add("--resume", action="store_true", help="go on with the work in --out that was stopped")
        add("--checkpoint-steps", type=positive, metavar="N", help="save every N steps, and not "
            "after every epoch alone")
        add("--checkpoint-minutes", type=positive, metavar="N", help="save every N minutes too")
    else:
        parser.set_defaults(seeds=1, out=None)
    add("--quiet", action="store_true", help="print only where the results are")


def add_rules(parser, kept=True):
    """A parser for each rule below `parser`, with its hyperparameters; the list."""
    rules = parser.add_subparsers(dest="rule", metavar="RULE", required=True, parser_class=Parser)
    made = []
    for name, rule in RULES.items():
        one = rules.add_parser(name, help=rule.idea, description=f"{rule.title}: {rule.idea} "
                               f"({rule.paper}).")
        add_job_options(one, kept)
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
    for one in add_rules(search, kept=False):
        one.add_argument("--trials", type=positive, default=30, metavar="N", help="finished "
                         "trials of the study, whoever makes them (30)")
        one.add_argument("--sampler", default="tpe", metavar="NAME", help="tpe, random (tpe)")
        one.add_argument("--range", action="append", default=[], metavar="NAME=FROM:TO",
                         help="search this option, here; may be given several times")
        one.add_argument("--storage", default="sqlite:///search.db", metavar="URL",
                         help="any storage of Optuna, shared by all who name it, such as "
                         "postgresql://HOST/NAME; the same again goes on (sqlite:///search.db)")
    reproduce = commands.add_parser("reproduce", help="run a published table again, row by row; "
                                    "rows that are done are kept")
    reproduce.add_argument("table", metavar="TABLE", help=", ".join(TABLES))
    reproduce.add_argument("--rows", default="all", metavar="A,B", help="(all)")
    for option, text in SHARED.items():
        reproduce.add_argument(option, metavar="X", help=text)
    reproduce.add_argument("--out", type=Path, metavar="DIR", help="(runs/TABLE)")
    reproduce.add_argument("--quiet", action="store_true", help="print only the table")
    kernel_command.add(commands, Parser)
    lesson_command.add(commands)
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


def shared_options(args):
    """What a `reproduce` command hands on to each of its rows, as words."""
    given = [(option, getattr(args, option[2:].replace("-", "_"))) for option in SHARED]
    return [word for pair in given if pair[1] is not None for word in pair]


def chosen(args):
    """{rule: {option: value}} that the command line asks for."""
    if args.command == "compare":
        return rules_and_options(args.rules, args.set)
    return {args.rule: hyperparameters(args.rule, given_options(args))}


def rules_and_options(rules, settings):
    """{rule: {option: value}} of "bp,fa" or "all", and texts like "fa.eta=0.01".

    Raises
    ------
    UserError
        If a rule or an option is unknown, or a value does not fit.
    """
    names = list(RULES) if rules == "all" else [name.strip() for name in rules.split(",")]
    for name in names:
        if name not in RULES:
            raise UserError(f"--rules: wanted all or some of {', '.join(RULES)}; got {name!r}")
    given = {name: {} for name in names}
    for text in settings:
        where, equals, value = text.partition("=")
        name, dot, option = where.partition(".")
        if not (equals and dot and name in given):
            raise UserError(f"--set: wanted RULE.OPTION=VALUE with a rule of this comparison; "
                            f"got {text!r}")
        given[name][option.replace("-", "_")] = value
    return {name: hyperparameters(name, given[name]) for name in given}


def configuration(args, command):
    """Everything that the results depend on, as plain values."""
    from minicredit.training import DECAYS
    folder = args.data.startswith("folder:")
    if not folder and args.data not in DATA:
        raise UserError(f"--data: wanted one of {', '.join(DATA)}, or folder:PATH; "
                        f"got {args.data!r}")
    if args.decay not in DECAYS:
        raise UserError(f"--decay: wanted one of {', '.join(DECAYS)}; got {args.decay!r}")
    if args.image_size and not folder:
        raise UserError(f"--image-size: wanted with folder:PATH alone; got it with {args.data}")
    size = args.image_size or 64
    net = args.net or DEFAULT_NET.get(args.data, "imagenet-lc")
    return {"command": command, "data": args.data, "image_size": size if folder else None,
            "augment": args.augment or folder, "net": net,
            "activation": args.activation, "init": args.init,
            "epochs": args.epochs or EPOCHS.get(args.data, 10),
            "batch": args.batch or BATCH.get(args.data, 128), "decay": args.decay,
            "seeds": args.seeds or SEEDS.get(args.data, 1), "limit": args.limit,
            "backend": args.backend, "dtype": args.dtype, "rules": chosen(args)}
