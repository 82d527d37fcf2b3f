"""The hyperparameters of a rule, read from its constructor and its docstring.

What the code calls an option, the command line calls it too, with the same default and the same
explanation, because both come from here.
"""
import re
from inspect import cleandoc, signature
from typing import NamedTuple

from minicredit.errors import UserError
from minicredit.rules import RULES

NOT_OPTIONS = ("self", "net", "seed")


class Option(NamedTuple):
    """One hyperparameter: its name in the code, its default, and what the docstring says of it."""

    name: str
    default: object
    text: str


def options(rule):
    """The hyperparameters of a rule class, in the order of its constructor; list of `Option`."""
    text = described(rule)
    return [Option(name, parameter.default, text.get(name, ""))
            for name, parameter in signature(rule.__init__).parameters.items()
            if name not in NOT_OPTIONS]


def described(rule):
    """What the docstrings of a rule class and its bases say of each parameter; dict of str."""
    text = {}
    for base in rule.__mro__[-2::-1]:               # the class itself last: its word counts
        name = None
        for line in cleandoc(base.__doc__ or "").splitlines():
            heading = re.fullmatch(r"([\w, ]+) : (.*)", line)
            if heading:
                names = heading[1].split(", ")
                for name in names:
                    text[name] = heading[2] + "."
            elif line.startswith("    ") and name:
                for name in names:
                    text[name] += " " + line.strip()
            else:
                name = None
    return text


def parse(option, value):
    """The text of a value as the type of the option's default.

    Raises
    ------
    UserError
        If it is not one.
    """
    kind = type(option.default)
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise UserError(f"{option.name}: wanted true or false; got {value!r}")
        return value.lower() == "true"
    try:
        return kind(value)
    except ValueError:
        wanted = {int: "a whole number", float: "a number"}[kind]
        raise UserError(f"{option.name}: wanted {wanted}; got {value!r}") from None


def hyperparameters(name, given):
    """Every hyperparameter of the rule `name`: its defaults, overridden by `given` (name -> text).

    Raises
    ------
    UserError
        If the rule has no such option, or the value does not fit.
    """
    known = {option.name: option for option in options(RULES[name])}
    for key in given:
        if key not in known:
            raise UserError(f"{name}: wanted one of its options, {', '.join(known)}; got {key!r}")
    return {key: parse(option, given[key]) if key in given else option.default
            for key, option in known.items()}
